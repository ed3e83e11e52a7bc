"""pure: `k_diffusion.external`: the wrappers that the samplers call, under the names of k-diffusion."""

from modules.sampling.denoisers import DiscreteSchedule
from modules.sampling.denoisers import EpsDenoiser as CompVisDenoiser
from modules.sampling.denoisers import VDenoiser as CompVisVDenoiser

__all__ = ["CompVisDenoiser", "CompVisVDenoiser", "DiscreteSchedule"]
