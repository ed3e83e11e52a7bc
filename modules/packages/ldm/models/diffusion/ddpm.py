"""engine: `ldm.models.diffusion.ddpm`: what `shared.sd_model` is."""

from ldm.modules.diffusionmodules.util import extract_into_tensor

from modules.sd_models_types import DiffusionWrapper
from modules.sd_models_types import WebuiSdModel as LatentDiffusion

__all__ = ["DiffusionWrapper", "LatentDiffusion", "extract_into_tensor"]
