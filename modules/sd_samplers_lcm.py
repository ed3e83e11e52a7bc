"""engine: the sampler for latent consistency models: LCM's solver over the 50 timesteps such models are trained for."""

from __future__ import annotations

from modules import sd_samplers_common
from modules.errors import InvalidInput
from modules.model_families import NoiseSchedule
from modules.sampling.denoisers import LCMDenoiser
from modules.sampling.lcm import sample_lcm
from modules.sd_samplers_cfg_denoiser import CFGDenoiser
from modules.sd_samplers_kdiffusion import KDiffusionSampler


class CFGDenoiserLCM(CFGDenoiser):
    """Guidance over the output of a consistency model."""

    @property
    def inner_model(self) -> LCMDenoiser:
        """The model in the wrapper of consistency models, whatever it predicts."""
        if self.model_wrap is None:
            model = self.sampler.sd_model
            if not isinstance(model.schedule, NoiseSchedule):
                raise InvalidInput(
                    f"LCM does not work with {model.family.title}: choose another sampler, like Euler", "sampler_name"
                )
            self.model_wrap = LCMDenoiser(model)
        return self.model_wrap


class LCMSampler(KDiffusionSampler):
    """Runs LCM's solver over a schedule of noise levels."""

    denoiser_class = CFGDenoiserLCM


samplers_lcm = [("LCM", sample_lcm, ["k_lcm"], {})]
"""(name, solver, aliases, options)"""

samplers_data_lcm = [
    sd_samplers_common.SamplerData(label, lambda model, solver=solver: LCMSampler(solver, model), aliases, options)
    for label, solver, aliases, options in samplers_lcm
]

LCMCompVisDenoiser = LCMDenoiser  # A1111 name
