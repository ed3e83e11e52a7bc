"""engine: solvers that did not come with k-diffusion."""

from modules.sampling.restart import sample_restart as restart_sampler

__all__ = ["restart_sampler"]
