"""engine: Textual inversion: word vectors learned from images, kept in files of several formats."""
