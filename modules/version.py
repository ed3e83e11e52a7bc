"""base: the program's version. Knows nothing else."""

__version__ = "0.1.0"

# Readers of infotext see the part before the first "-", 1.10.1, and apply the rules of that version to our images.
PROGRAM_VERSION = f"v1.10.1-serena-{__version__}"
