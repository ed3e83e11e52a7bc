"""engine: an older name of sd_samplers_timesteps, which extensions still import."""

from modules import extension_api
from modules.sd_samplers_timesteps import (  # noqa: F401  # A1111 names
    CFGDenoiserTimesteps,
    CompVisSampler,
    CompVisTimestepsDenoiser,
    CompVisTimestepsVDenoiser,
    VanillaStableDiffusionSampler,
    samplers_data_timesteps,
    samplers_timesteps,
)

extension_api.warn_deprecated(__name__)
