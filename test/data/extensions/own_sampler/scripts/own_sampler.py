"""A sampler written against k-diffusion, and a change of what the skips of the U-Net meet."""

import k_diffusion.sampling
from k_diffusion.external import CompVisDenoiser
from k_diffusion.utils import append_dims

from modules import sd_samplers, sd_samplers_common, sd_samplers_kdiffusion
from modules.sd_hijack_unet import th

seen = {"denoisers": set(), "joins": 0}


def sample_own(model, x, sigmas, extra_args=None, callback=None, disable=None):
    extra_args = extra_args or {}
    seen["denoisers"].add(isinstance(model.inner_model, CompVisDenoiser))
    for i in k_diffusion.sampling.trange(len(sigmas) - 1, disable=disable):
        denoised = model(x, sigmas[i] * x.new_ones([x.shape[0]]), **extra_args)
        d = k_diffusion.sampling.to_d(x, append_dims(sigmas[i], x.ndim), denoised)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
        x = x + d * (sigmas[i + 1] - sigmas[i])
    return x


def cat(tensors, *args, **kwargs):
    seen["joins"] += 1
    return join(tensors, *args, **kwargs)


join, th.cat = th.cat, cat
k_diffusion.sampling.sample_own = sample_own
own = sd_samplers_common.SamplerData(
    "Own", lambda model: sd_samplers_kdiffusion.KDiffusionSampler("sample_own", model), ["own"], {}
)
sd_samplers.all_samplers = [*(x for x in sd_samplers.all_samplers if x.name != "Own"), own]
sd_samplers.all_samplers_map = {x.name: x for x in sd_samplers.all_samplers}
sd_samplers.set_samplers()
