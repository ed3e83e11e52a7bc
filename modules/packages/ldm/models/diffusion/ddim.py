"""engine: `ldm.models.diffusion.ddim`: the name of a sampler that v1.10.1 does not call either.

Extensions that once replaced its methods still do so, beside those of `modules.sd_samplers_cfg_denoiser`.
"""

from __future__ import annotations

from typing import Any

REASON = "DDIM is a solver of modules.sampling.ddim here, which the samplers of modules.sd_samplers_timesteps call"


class DDIMSampler:
    """What stands for the sampler; it cannot sample."""

    def __init__(self, model: Any = None, **_: Any):
        self.model = model

    def make_schedule(self, *args: Any, **kwargs: Any) -> None:
        """Raises NotImplementedError."""
        raise NotImplementedError(REASON)

    def p_sample_ddim(self, *args: Any, **kwargs: Any) -> None:
        """Raises NotImplementedError."""
        raise NotImplementedError(REASON)
