"""pure: the package k_diffusion as far as extensions use it: our own samplers and wrappers of models."""

from . import external, sampling, utils

__all__ = ["external", "sampling", "utils"]
