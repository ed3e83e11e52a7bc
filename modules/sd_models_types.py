"""engine: the object behind `shared.sd_model`: diffusers' and transformers' networks under the names extensions know.

Computes with what it was given; which file that is and where the parts are moved is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from modules import backends, denoisers, devices, memory_plan, model_families, model_patches, sd_unet, text_encoders
from modules.denoisers import Told
from modules.model_families import DENOISER, VAE, diffusers_names
from modules.model_families.base import EMBEDDED, MASKED
from modules.placement import Placement
from modules.sampling.conditioning import Cond, Conditioning, with_size
from modules.weight_patches import WeightPlace

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

    from modules.adapter_files import LayerNames
    from modules.checkpoints import CheckpointInfo
    from modules.sd_hijack_clip import TextConditionalModel

Condition = Cond | Conditioning | Sequence[torch.Tensor] | Mapping[str, Any]
"""What a U-Net is told beside the latent, in any form that `Conditioning.of` reads."""


@dataclass(frozen=True)
class Posterior:
    """What the VAE's encoder says of pixels: a Gaussian for each latent value. mean, std: (B, C, h, w).

    generator: gives the noise of `sample`, on the CPU; torch's global one by default.
    """

    mean: torch.Tensor
    std: torch.Tensor
    generator: torch.Generator | None = None

    def sample(self) -> torch.Tensor:
        """Returns a latent drawn from the Gaussian. The noise is float32 from the CPU, the same on every device."""
        noise = torch.randn(self.mean.shape, generator=self.generator)
        return self.mean + self.std * noise.to(self.mean)

    def mode(self) -> torch.Tensor:
        """Returns the most probable latent."""
        return self.mean


class DiffusionWrapper(torch.nn.Module):
    """The denoiser (`diffusion_model`) as extensions know it, and how conditions reach it.

    network: the denoiser as diffusers has it. conditioning_key: as v1.10.1 calls it. runner: what calls it.
    """

    def __init__(self, network: torch.nn.Module, family: model_families.Family):
        super().__init__()
        self.diffusion_model = denoisers.kind_of(family).lay_out(network)
        self.family = family
        self.conditioning_key = family.conditioning_key
        self.runner = backends.Runner()

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        c_concat: Sequence[torch.Tensor] | None = None,
        c_crossattn: Sequence[torch.Tensor] | None = None,
        c_adm: torch.Tensor | None = None,
        time_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Returns the raw output (B, C, h, w) of the denoiser for latents x (B, C, h, w) and timesteps t (B,).

        The images of c_concat are more channels of x, or what is told beside the time; models that see no image leave
        them alone, because all are given some. c_adm: the vector (B, D), time_ids: the size (B, 6), see `Conditioning`.
        A U-Net that an extension put in place gets the vector as `y`, with the size in it. Raises ConditioningError
        for parts that are missing, or that the denoiser has no place for.
        """
        if self.family.adds_channels:
            x = torch.cat([x, *(c_concat or ())], dim=1)
        elif self.family.image == EMBEDDED and c_concat:
            c_adm = torch.cat(list(c_concat), dim=1)
        context = torch.cat(list(c_crossattn), dim=1) if c_crossattn else None  # (B, T, width)
        substitute = sd_unet.selection.unet
        if substitute is not None:
            vector = with_size(c_adm, time_ids)
            return substitute(x, t, context=context, **({} if vector is None else {"y": vector}))
        kind = denoisers.kind_of(self.family)
        places, names = kind.arguments(self.diffusion_model, t, Told(context, c_adm, time_ids))
        output = self.runner.of(self.diffusion_model, x.device)(x, *places, **names)
        return output if isinstance(output, torch.Tensor) else output[0]


def before(table: torch.Tensor) -> torch.Tensor:
    """Returns the share of the image at the step before each, which begins with the whole of it."""
    return torch.cat([table.new_ones(1), table[:-1]])


SCHEDULE_TABLES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "alphas_cumprod_prev": before,
    "betas": lambda table: 1 - table / before(table),
    "sqrt_alphas_cumprod": torch.sqrt,
    "sqrt_one_minus_alphas_cumprod": lambda table: torch.sqrt(1 - table),
    "log_one_minus_alphas_cumprod": lambda table: torch.log(1 - table),
    "sqrt_recip_alphas_cumprod": torch.rsqrt,
    "sqrt_recipm1_alphas_cumprod": lambda table: torch.sqrt(1 / table - 1),
}
"""Tables (timesteps,) of the noise schedule that extensions read off a model -> how they follow from alphas_cumprod."""


@dataclass
class LoadedVae:
    """Which VAE a model uses: the file it came from, None for the checkpoint's; `own`: the latter, kept aside then."""

    file: str | None = None
    own: AutoencoderKL | None = None


class WebuiSdModel(torch.nn.Module):
    """A loaded checkpoint.

    family: its row in the table of families. parameterization: what the denoiser predicts, a row of
    `modules.sampling.denoisers.SIGMA_DENOISERS`. schedule: how noise and time belong together, by default as the row
    says. image_readers: networks that look at images, by the names they get here. alphas_cumprod: (timesteps,) share of
    the image's variance left at each timestep, as the running job wants it; alphas_cumprod_original: as trained.
    loaded_as: the placement it was loaded with. offload: what of it was to wait in main memory when it was loaded, and
    why; lowvram: its parts take turns on the device. left_out: text encoders that the settings left out.
    modules_chosen: files of VAE and text encoders that were chosen for it, modules_used: those of them that are in it.
    weight_places: key of a weight in the original single-file layout, in which files of networks name it -> where it is
    in the modules that the checkpoint came with. layer_names: these layers by all names that files of networks have for
    them, None while it is being made. patches: what is changed for the time of a job, and what rests after one.
    """

    def __init__(
        self,
        family: model_families.Family,
        denoiser: torch.nn.Module,
        vae: AutoencoderKL,
        cond_stage_model: TextConditionalModel,
        alphas_cumprod: torch.Tensor,
        parameterization: str,
        placement: Placement,
        schedule: model_families.Schedule | None = None,
        image_readers: Mapping[str, torch.nn.Module] | None = None,
    ):
        super().__init__()
        self.family = family
        self.model = DiffusionWrapper(denoiser, family)
        self.first_stage_model = vae
        self.cond_stage_model = cond_stage_model
        for name, reader in (image_readers or {}).items():
            self.add_module(name, reader)
        self.cond_stage_key = family.cond_stage_key
        self.parameterization = parameterization
        self.schedule = schedule or family.schedule
        self.alphas_cumprod = alphas_cumprod
        self.alphas_cumprod_original = alphas_cumprod
        self.loaded_as = placement

        self.offload = memory_plan.Choice()
        self.lowvram: bool = False
        self.left_out: frozenset[str] = frozenset()
        self.sd_checkpoint_info: CheckpointInfo | None = None
        self.sd_model_checkpoint: str | None = None
        self.sd_model_hash: str | None = None
        self.filename: str | None = None
        self.used_config: str | None = None
        self.cond_stage_model_empty_prompt: Cond | None = None
        self.loaded_vae = LoadedVae()
        self.modules_chosen: tuple[str, ...] = ()
        self.modules_used: tuple[str, ...] = ()
        self.weight_places: dict[str, tuple[WeightPlace, ...]] = {}
        self.layer_names: LayerNames | None = None
        self.patches = model_patches.ModelPatches(self)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> WebuiSdModel:
        """Takes the originals of patched weights along wherever the model is moved, to "meta" too."""
        self.patches.weights.move(fn)
        return super()._apply(fn, recurse)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Returns all weights, with what is patched now and without what only rests, by the keys of checkpoints.

        Those of T5 and of denoisers that are transformers are the keys of their libraries.
        """
        self.patches.use()
        weights = super().state_dict(*args, **kwargs)
        paths = {module: path for path, module in self.named_modules()}
        for name, module in {VAE: self.first_stage_model, **self.cond_stage_model.encoders}.items():
            here, in_files = paths[module] + ".", self.family.prefixes[name]
            own = {key.removeprefix(here): weights.pop(key) for key in list(weights) if key.startswith(here)}
            weights.update(diffusers_names.of_loaded_module(own, in_files))
        return weights

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Takes weights by the keys of checkpoints, as `state_dict` gives them, or by the names of the modules.

        Returns missing and unexpected keys, by the names of the modules. Raises RuntimeError where a weight does not
        fit, and if `strict` where one is missing or has no place.
        """
        self.patches.use()
        self.patches.weights.forget_exact()
        own = super().state_dict().keys()
        attached = {key.replace("token_embedding.wrapped.", "token_embedding."): key for key in own}
        paths = {module: path for path, module in self.named_modules()}
        given = dict(state_dict)
        for name, module in {VAE: self.first_stage_model, **self.cond_stage_model.encoders}.items():
            in_files = self.family.prefixes[name]
            theirs = {key: given.pop(key) for key in list(given) if key.startswith(in_files) and key not in own}
            inner = f"{paths[module]}.wrapped." if hasattr(module, "wrapped") else f"{paths[module]}."
            for key, tensor in self._from_checkpoint(name, theirs).items():
                given[attached.get(inner + key, inner + key)] = tensor
        return super().load_state_dict(given, strict, assign)

    def _from_checkpoint(self, name: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Returns weights of the VAE or of a text encoder, which have the keys of checkpoints, by the names of its
        parameters.
        """
        if not tensors:
            return {}
        if name == VAE:
            from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

            return convert_ldm_vae_checkpoint(tensors, self.first_stage_model.config)
        facts = next(encoder for encoder in self.family.text_encoders if encoder.name == name)
        return text_encoders.KINDS[facts.kind].convert(facts, tensors)

    def __getattr__(self, name: str) -> Any:
        """Returns a table of SCHEDULE_TABLES; extensions may put their own in its place."""
        if name in SCHEDULE_TABLES:
            return SCHEDULE_TABLES[name](self.alphas_cumprod)
        return super().__getattr__(name)

    @property
    def is_sd1(self) -> bool:
        """Whether it is laid out as Stable Diffusion 1."""
        return self.family.architecture == "sd1"

    @property
    def is_sd2(self) -> bool:
        """Whether it is laid out as Stable Diffusion 2."""
        return self.family.architecture == "sd2"

    @property
    def is_sdxl(self) -> bool:
        """Whether it is laid out as Stable Diffusion XL."""
        return self.family.architecture == "sdxl"

    @property
    def is_ssd(self) -> bool:
        """Whether it is a U-Net of the XL layout with blocks removed."""
        return self.family.name == "ssd"

    @property
    def is_sd3(self) -> bool:
        """Whether it is laid out as Stable Diffusion 3."""
        return self.family.architecture == "sd3"

    @property
    def is_sdxl_inpaint(self) -> bool:
        """Whether it is an XL model that sees mask and masked image beside the latent."""
        return self.is_sdxl and self.family.image == MASKED

    @property
    def conditioner(self) -> TextConditionalModel:
        """What reads prompts, for XL models only: extensions tell them by this name."""
        if not self.is_sdxl:
            raise AttributeError("only XL models have a conditioner")
        return self.cond_stage_model

    @property
    def latent_format(self) -> model_families.LatentFormat:
        """How its latents are sized and scaled."""
        return self.family.latent_format

    @property
    def latent_channels(self) -> int:
        """The number of channels of a latent."""
        return self.latent_format.channels

    @property
    def scale_factor(self) -> float:
        """The factor that gives the VAE's latents a standard deviation of 1."""
        return self.family.latent_format.scale

    @property
    def num_timesteps(self) -> int:
        """The number of noise levels it was trained on."""
        return len(self.alphas_cumprod)

    @property
    def device(self) -> torch.device:
        """Where the U-Net computes."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type the U-Net computes in."""
        return self.loaded_as.dtype

    @property
    def fp8(self) -> bool:
        """Whether the weights of U-Net and text encoders are stored in 8 bits."""
        return self.loaded_as.fp8

    @property
    def placement(self) -> Placement:
        """Where and in which types it computes now.

        The VAE's type is asked of the VAE: it changes when the VAE overflows or is replaced, and extensions convert it.
        """
        return replace(self.loaded_as, device=self.device, dtype_vae=self.dtype_vae)

    @property
    def dtype_vae(self) -> torch.dtype:
        """The type the VAE computes in, which is that of its weights. Its own `dtype` looks through all its modules."""
        weight = next(self.first_stage_model.parameters(), None)
        return self.first_stage_model.dtype if weight is None else weight.dtype

    def network(self, name: str) -> torch.nn.Module:
        """Returns one of its modules: the denoiser, as diffusers has it, the VAE, a text encoder or an image reader."""
        if name == DENOISER:
            return getattr(self.model.diffusion_model, "unet", self.model.diffusion_model)
        if name in [reader.name for reader in self.family.image_readers]:
            return getattr(self, name)
        return self.first_stage_model if name == VAE else self.cond_stage_model.encoders[name]

    def bring(self, device: torch.device) -> None:
        """Moves it to a device, apart from the modules that compute elsewhere, which go there."""
        self.to(device)
        for name, elsewhere in self.loaded_as.devices.items():
            self.network(name).to(elsewhere)

    def get_learned_conditioning(self, texts: Sequence[str]) -> Cond:
        """Encodes texts: (B, 77 * chunks, width), or a dict of tensors."""
        self.patches.use()
        return self.cond_stage_model(texts)

    def apply_model(self, x: torch.Tensor, t: torch.Tensor, cond: Condition) -> torch.Tensor:
        """Returns the U-Net's prediction for latents x (B, C, h, w), noisy as timesteps t (B,) say, in the type of x.

        All is cast to the U-Net's type: in half precision fractional timesteps are rounded. Raises ConditioningError
        naming a part of cond that is not known, missing, or has no place in this model.
        """
        self.patches.use()
        dtype = self.dtype
        parts = Conditioning.of(cond).to(dtype)
        arguments = {
            "c_crossattn": [parts.tokens],
            "c_concat": None if parts.concat is None else [parts.concat],
            "c_adm": parts.vector,
            "time_ids": parts.size,
        }
        given = {name: part for name, part in arguments.items() if part is not None}
        with devices.without_autocast():
            return self.model(x.to(dtype), t.to(dtype), **given).to(x.dtype)

    def decode_first_stage(self, z: torch.Tensor) -> torch.Tensor:
        """Returns pixels (B, 3, H, W), about -1..1, of latents (B, C, h, w), on their device. Both are in the VAE's
        type.
        """
        self.patches.use(self.first_stage_model)
        latent = z.to(self.loaded_as.devices.get(VAE), self.dtype_vae)
        pixels = self.first_stage_model.decode(self.family.latent_format.to_vae(latent), return_dict=False)[0]
        return pixels.to(z.device)

    def encode_first_stage(self, x: torch.Tensor, generator: torch.Generator | None = None) -> Posterior:
        """Returns what the VAE makes of pixels (B, 3, H, W) in -1..1, in its own type, on their device.

        generator: of the noise when the result is sampled.
        """
        self.patches.use(self.first_stage_model)
        pixels = x.to(self.loaded_as.devices.get(VAE), self.dtype_vae)
        posterior = self.first_stage_model.encode(pixels, return_dict=False)[0]
        return Posterior(posterior.mean.to(x.device), posterior.std.to(x.device), generator)

    def get_first_stage_encoding(self, encoder_posterior: Posterior | torch.Tensor) -> torch.Tensor:
        """Returns a latent (B, C, h, w) in model space, drawn from what encode_first_stage returned."""
        z = encoder_posterior.sample() if isinstance(encoder_posterior, Posterior) else encoder_posterior
        return self.family.latent_format.from_vae(z)
