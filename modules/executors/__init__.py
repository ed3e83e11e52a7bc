"""job: processes beside this one that carry out requests, each with one device and one model."""
