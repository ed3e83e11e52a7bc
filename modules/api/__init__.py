"""face: the REST API: request and response models, one router per area, and the class that puts them together."""
