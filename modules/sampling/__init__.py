"""pure: samplers and schedules as functions of tensors, in the calling convention and under the names of k-diffusion.

Extensions look solvers up here by name and add their own, under the name `k_diffusion.sampling`.
"""

import torch
from tqdm.auto import tqdm, trange

from modules.sampling.ddim import sample_ddim, sample_ddim_cfgpp, sample_plms
from modules.sampling.dpm import sample_dpm_adaptive, sample_dpm_fast
from modules.sampling.dpmpp import (
    sample_dpmpp_2m,
    sample_dpmpp_2m_sde,
    sample_dpmpp_2s_ancestral,
    sample_dpmpp_3m_sde,
    sample_dpmpp_sde,
)
from modules.sampling.karras import (
    sample_dpm_2,
    sample_dpm_2_ancestral,
    sample_euler,
    sample_euler_ancestral,
    sample_heun,
)
from modules.sampling.lcm import sample_lcm
from modules.sampling.lms import linear_multistep_coeff, sample_lms
from modules.sampling.noise import BrownianTreeNoiseSampler
from modules.sampling.restart import sample_restart
from modules.sampling.schedules import get_sigmas_exponential, get_sigmas_karras, get_sigmas_polyexponential
from modules.sampling.steps import append_dims, append_zero, default_noise_sampler, get_ancestral_step, to_d
from modules.sampling.unipc import sample_unipc

__all__ = [
    "BrownianTreeNoiseSampler",
    "append_dims",
    "append_zero",
    "default_noise_sampler",
    "get_ancestral_step",
    "get_sigmas_exponential",
    "get_sigmas_karras",
    "get_sigmas_polyexponential",
    "linear_multistep_coeff",
    "sample_ddim",
    "sample_ddim_cfgpp",
    "sample_dpm_2",
    "sample_dpm_2_ancestral",
    "sample_dpm_adaptive",
    "sample_dpm_fast",
    "sample_dpmpp_2m",
    "sample_dpmpp_2m_sde",
    "sample_dpmpp_2s_ancestral",
    "sample_dpmpp_3m_sde",
    "sample_dpmpp_sde",
    "sample_euler",
    "sample_euler_ancestral",
    "sample_heun",
    "sample_lcm",
    "sample_lms",
    "sample_plms",
    "sample_restart",
    "sample_unipc",
    "to_d",
    "torch",
    "tqdm",
    "trange",
]
