"""engine: Textual inversion: word vectors learned from pictures, kept in files of several formats."""
