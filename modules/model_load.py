"""engine: from a checkpoint file to a model: which family it is, how large its networks are, their weights on a device.

Two steps, so that a model in use need not be given up for a file that turns out to be none: `prepare` reads what is in
the file and checks it completely without copying a weight, `build` copies. No global state.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from modules import (
    model_families,
    sd_hijack_clip,
    sd_hijack_optimizations,
    sd_hijack_unet,
    sd_models_config,
    text_encoders,
    torchvision_ops,
    weights,
)
from modules.errors import ModelLoadError
from modules.model_families import shapes
from modules.placement import Placement
from modules.sd_models_types import WebuiSdModel

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

logger = logging.getLogger(__name__)

StateDict = weights.StateDict
Converter = Callable[[StateDict, Mapping[str, Any]], StateDict]

MAX_KEYS_NAMED = 5


@dataclass
class Network:
    """A network without weights, and its weights still in their file: parameter name -> tensor."""

    module: torch.nn.Module
    weights: StateDict


@dataclass
class PreparedModel:
    """A checkpoint that was found to be complete."""

    filename: str
    family: model_families.Family
    unet: Network
    vae: Network
    text_encoder: Network
    alphas_cumprod: torch.Tensor
    parameterization: str
    config: str

    @property
    def is_sdxl(self) -> bool:
        return self.family.architecture == "sdxl"


def prepare(
    filename: str, metadata: Mapping[str, Any], config: str | None = None, state_dict: StateDict | None = None
) -> PreparedModel:
    """Finds out what a checkpoint is and checks that nothing is missing. Reads the header, weights stay in the file.

    config: architecture file beside it, if any. state_dict: its content, if it was read already. Raises ModelLoadError
    naming the file and what was found in it.
    """
    tensors = weights.read_state_dict(filename) if state_dict is None else state_dict
    family, tensors = identify(filename, tensors)
    overrides = sd_models_config.read_overrides(config, metadata)
    found = weights.shapes_of(tensors)
    try:
        unet = prepare_unet(tensors, found, family)
        vae = prepare_vae(tensors, found, family.vae_prefix)
        text_encoder = prepare_text_encoder(tensors, found, family.text_encoders[0])
    except shapes.UnreadableShapes as e:
        raise ModelLoadError(f"{filename} looks like {family.title}, but {e}") from e

    networks = {"U-Net": unet, "VAE": vae, "text encoder": text_encoder}
    for name, network in networks.items():
        check_complete(f"{filename}, {name} of {family.title}", network)
    report_unused(filename, tensors, [network.weights for network in networks.values()], family)
    return PreparedModel(
        filename=filename,
        family=family,
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        alphas_cumprod=alphas_cumprod_of(tensors, overrides.schedule or family.schedule),
        parameterization=overrides.parameterization or family.parameterization,
        config=config or os.path.join(sd_models_config.sd_configs_path, family.config),
    )


def identify(filename: str, tensors: StateDict) -> tuple[model_families.Family, StateDict]:
    """The family of a checkpoint, and its weights under today's keys."""
    tensors = weights.replace_prefixes(tensors, model_families.OLD_PREFIXES)
    found = weights.shapes_of(tensors)
    family = model_families.detect(found)
    if family is None:
        known = ", ".join(family.title for family in model_families.FAMILIES)
        raise ModelLoadError(
            f"{filename} is no checkpoint of a kind that can be loaded ({known}; all in the original single-file "
            f"layout). It holds: {shapes.describe(found)}"
        )
    return family, tensors


def prepare_unet(tensors: StateDict, found: model_families.Shapes, family: model_families.Family) -> Network:
    torchvision_ops.declare_missing()
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    config = shapes.unet_config(found, family.unet_prefix, family.unet)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    sd_hijack_unet.fit_decoder_to_skips(unet)
    sd_hijack_optimizations.use_selected_attention(unet)
    return Network(unet, convert_ldm_unet_checkpoint(with_prefix(tensors, family.unet_prefix), unet.config))


def prepare_vae(tensors: StateDict, found: model_families.Shapes, prefix: str) -> Network:
    torchvision_ops.declare_missing()
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    with torch.device("meta"):
        vae = AutoencoderKL(**shapes.vae_config(found, prefix))
    sd_hijack_optimizations.use_selected_attention(vae)
    return Network(vae, convert_ldm_vae_checkpoint(with_prefix(tensors, prefix), vae.config))


def prepare_text_encoder(
    tensors: StateDict, found: model_families.Shapes, facts: model_families.TextEncoder
) -> Network:
    kind = text_encoders.KINDS[facts.kind]
    return Network(kind.build(facts, found), kind.convert(facts, with_prefix(tensors, facts.prefix)))


def with_prefix(tensors: StateDict, prefix: str) -> StateDict:
    return {key: tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def check_complete(what: str, network: Network) -> None:
    """Raises ModelLoadError unless there is a weight of the right shape for each parameter; others are dropped."""
    expected = weights.shapes_of(network.module.state_dict())
    for key in network.weights.keys() - expected.keys():
        del network.weights[key]
    missing = [key for key in expected if key not in network.weights]
    if missing:
        raise ModelLoadError(f"{what}: {named(missing, 'weights are')} missing")
    for key, tensor in network.weights.items():
        if tuple(tensor.shape) != expected[key]:
            raise ModelLoadError(f"{what}: {key} has shape {tuple(tensor.shape)}, expected {expected[key]}")


def report_unused(filename: str, tensors: StateDict, used: list[StateDict], family: model_families.Family) -> None:
    """Logs which weights of a file went into no network, once, by name."""
    places = {tensor.data_ptr() for part in used for tensor in part.values()}
    unknown = [key for key, tensor in tensors.items() if tensor.data_ptr() not in places and not family.is_ignored(key)]
    if unknown:
        logger.warning("%s: %s not known and not used", filename, named(unknown, "weights are"))


def named(keys: list[str], what: str) -> str:
    """ "3 weights are (a, b, c)", the first few by name."""
    more = ", ..." if len(keys) > MAX_KEYS_NAMED else ""
    return f"{len(keys)} {what} ({', '.join(keys[:MAX_KEYS_NAMED])}{more})"


def alphas_cumprod_of(tensors: StateDict, schedule: model_families.NoiseSchedule) -> torch.Tensor:
    """(timesteps,) float32: the table in the file if it has one, else the schedule's."""
    stored = tensors.get("alphas_cumprod")
    return schedule.alphas_cumprod() if stored is None else stored.detach().to("cpu", torch.float32, copy=True)


def build(prepared: PreparedModel, placement: Placement) -> WebuiSdModel:
    """Copies the weights to their device and type, one at a time; `prepared` is used up."""
    unet = materialize(prepared.unet, placement.device, placement.dtype)
    text_encoder = materialize(prepared.text_encoder, placement.device, placement.dtype_text)
    vae = materialize(prepared.vae, placement.device, placement.dtype_vae)
    if placement.channels_last:
        unet.to(memory_format=torch.channels_last)
        vae.to(memory_format=torch.channels_last)
    if placement.fp8:
        store_in_fp8(unet, placement.dtype)
        store_in_fp8(text_encoder, placement.dtype_text)
    return WebuiSdModel(
        family=prepared.family,
        unet=unet,
        vae=vae,
        cond_stage_model=sd_hijack_clip.FrozenCLIPEmbedderWithCustomWords(text_encoder),
        alphas_cumprod=prepared.alphas_cumprod.to(placement.device),
        parameterization=prepared.parameterization,
        placement=placement,
    ).eval()


@torch.no_grad()
def materialize(network: Network, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    """Fills a network with its weights, which never need gradients."""
    module = network.module
    while network.weights:
        name, tensor = network.weights.popitem()
        owner_name, _, leaf = name.rpartition(".")
        value = tensor.to(device, dtype, copy=True)
        setattr(module.get_submodule(owner_name), leaf, torch.nn.Parameter(value, requires_grad=False))
    return module.to(device).eval()


def store_in_fp8(network: torch.nn.Module, compute_dtype: torch.dtype) -> None:
    """Keeps the weights of linear layers and convolutions in 8 bits, and widens each layer's while it computes."""
    from diffusers.hooks import apply_layerwise_casting

    apply_layerwise_casting(
        network, storage_dtype=torch.float8_e4m3fn, compute_dtype=compute_dtype, skip_modules_pattern=()
    )


def load_vae(filename: str, latent_channels: int, placement: Placement) -> AutoencoderKL:
    """A VAE from its own file, in the original layout; a whole checkpoint gives its VAE.

    Raises ModelLoadError for a file that is none, or one for latents of another number of channels.
    """
    tensors = weights.read_state_dict(filename)
    prefix = model_families.SD1.vae_prefix
    tensors = with_prefix(tensors, prefix) or {prefix + key: tensor for key, tensor in tensors.items()}
    found = weights.shapes_of(tensors)
    try:
        network = prepare_vae(tensors, found, prefix)
    except shapes.UnreadableShapes as e:
        raise ModelLoadError(f"{filename} is no VAE: {e}. It holds: {shapes.describe(found)}") from e
    check_complete(f"{filename}, VAE", network)
    channels = network.module.config.latent_channels
    if channels != latent_channels:
        raise ModelLoadError(
            f"{filename} is a VAE for latents of {channels} channels, the checkpoint's have {latent_channels}"
        )
    report_unused(filename, tensors, [network.weights], model_families.SD1)
    vae = materialize(network, placement.device, placement.dtype_vae)
    return vae.to(memory_format=torch.channels_last) if placement.channels_last else vae
