"""pure: `k_diffusion.utils`."""

from modules.sampling.steps import append_dims

__all__ = ["append_dims"]
