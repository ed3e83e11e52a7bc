"""base: the program's version. Knows nothing else."""

__version__ = "0.1.0"

# Readers of infotext compare the part before the first "-" with 1.10.1, so they apply that version's rules to our pictures.
PROGRAM_VERSION = f"v1.10.1-serena-{__version__}"
