"""engine: from checkpoint files to a model: which family it is, how large its networks are, their weights on a device.

A model is a denoiser and named modules, a VAE and text encoders, which may all be in one file or each in its own. Two
steps, so that a model in use need not be given up for a file that turns out to be none: `prepare` reads what is in the
files and checks it completely without copying a weight, `build` copies. No global state.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from modules import (
    cpu_layers,
    denoisers,
    diffusers_folders,
    image_readers,
    model_families,
    quantized,
    sd_hijack_clip,
    sd_hijack_open_clip,
    sd_hijack_optimizations,
    sd_models_config,
    sd_models_sd3,
    sd_models_xl,
    text_encoders,
    torchvision_ops,
    weights,
    whole_text,
)
from modules.adapter_files import LayerNames
from modules.denoisers import Convert
from modules.errors import ModelLoadError
from modules.model_families import (
    DENOISER,
    SIZE_NUMBERS,
    VAE,
    Family,
    NoiseSchedule,
    Schedule,
    Shapes,
    diffusers_names,
    module_files,
    shapes,
)
from modules.model_families.base import EMBEDDED
from modules.placement import Placement
from modules.sampling.conditioning import SIZE_WIDTH
from modules.sd_disable_initialization import InitializeOnMeta
from modules.sd_models_types import WebuiSdModel, WeightPlace
from modules.text_encoders import clip

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

logger = logging.getLogger(__name__)

StateDict = weights.StateDict
MAX_KEYS_NAMED = 5


@dataclass
class Part:
    """Weights still in their file, under the keys of a family's single-file layout."""

    filename: str
    tensors: StateDict


@dataclass
class Network:
    """A network without weights, and its weights still in their file.

    weights: parameter name -> tensor. scales: what a weight is multiplied with, of those that have a scale.
    parameters: key of a weight in the single-file layout -> parameters it is for.
    """

    filename: str
    module: torch.nn.Module
    weights: StateDict
    parameters: dict[str, tuple[str, ...]]
    scales: StateDict = field(default_factory=dict)


@dataclass
class PreparedModel:
    """A checkpoint that was found to be complete.

    networks: by the names of `Family.prefixes`. schedule, alphas_cumprod: as trained. parameterization: what the
    denoiser predicts, None where it has to be asked.
    """

    filename: str
    family: Family
    networks: dict[str, Network]
    schedule: Schedule
    alphas_cumprod: torch.Tensor
    parameterization: str | None
    config: str

    @property
    def denoiser(self) -> Network:
        """The network that predicts noise."""
        return self.networks[DENOISER]

    @property
    def vae(self) -> Network:
        """The network between images and latents."""
        return self.networks[VAE]

    @property
    def encoders(self) -> dict[str, Network]:
        """The text encoders by name, in the order of the family's row."""
        names = [encoder.name for encoder in self.family.text_encoders if encoder.name in self.networks]
        return {name: self.networks[name] for name in names}

    @property
    def files(self) -> tuple[str, ...]:
        """The files its networks came from, apart from the checkpoint's own."""
        names = dict.fromkeys(network.filename for network in self.networks.values())
        return tuple(name for name in names if name != self.filename)

    @property
    def is_sdxl(self) -> bool:
        """Whether it will be an XL model."""
        return self.family.architecture == "sdxl"


def prepare(
    filename: str,
    metadata: Mapping[str, Any],
    config: str | None = None,
    state_dict: StateDict | None = None,
    modules: Sequence[str] = (),
    spare: Sequence[str] = (),
    left_out: Collection[str] = (),
) -> PreparedModel:
    """Finds out what a checkpoint is and checks that nothing is missing. Reads the header, weights stay in the file.

    config: architecture file beside it, if any. state_dict: its content, if it was read already. modules: files of a
    VAE or of text encoders that are used in place of the checkpoint's, whichever they are. spare: such files for what
    is missing then. A file of the denoiser alone needs them all. left_out: text encoders that take no part even if they
    are there. Raises ModelLoadError naming the file and what was
    found in it.
    """
    cpu_layers.install_activations()
    checkpoint, own = read_checkpoint(filename) if state_dict is None else (Part(filename, state_dict), [])
    tensors = checkpoint.tensors
    chosen, others = ([read_module(path) for path in paths] for paths in (modules, spare))
    check_supported(filename, tensors)
    family, parts, strangers = identify(checkpoint, chosen, [*others, *own])
    parts = {name: part for name, part in parts.items() if name not in left_out}
    overrides = sd_models_config.read_overrides(config, metadata, tensors)
    networks = {name: prepare_network(family, name, part) for name, part in parts.items()}
    check_fit(filename, family, networks)
    report_unused(filename, strangers, family, parts, networks)
    schedule = schedule_of(tensors, family, overrides)
    is_told = isinstance(schedule, NoiseSchedule)  # the others leave no choice
    return PreparedModel(
        filename=filename,
        family=family,
        networks=networks,
        schedule=schedule,
        alphas_cumprod=alphas_cumprod_of(tensors, family, schedule, overrides.zero_terminal_snr),
        parameterization=(overrides.parameterization if is_told else None) or family.parameterization,
        config=config or os.path.join(sd_models_config.sd_configs_path, family.config),
    )


def read_checkpoint(filename: str) -> tuple[Part, list[Part]]:
    """Reads a checkpoint: one file, or the denoiser of a folder of diffusers and the other modules in there."""
    if not diffusers_folders.is_one(filename):
        return in_original_layout(filename, weights.read_once(filename)), []
    denoiser = in_original_layout(filename, diffusers_folders.read(diffusers_folders.denoiser(filename)))
    others = [
        in_original_layout(files[0], diffusers_folders.read(files)) for files in diffusers_folders.modules(filename)
    ]
    return denoiser, others


def in_original_layout(filename: str, tensors: StateDict) -> Part:
    """Returns the weights of a file, or of the files of one module, under the keys of the original layout."""
    if tensors.keys() & diffusers_names.REWRITES.keys():
        tensors = quantized.renamed(filename, tensors, diffusers_names.original)
    return Part(filename, tensors)


def read_module(filename: str) -> Part:
    """Reads a file of a VAE or of text encoders. Raises ModelLoadError for one that holds neither."""
    part = in_original_layout(filename, weights.read_once(filename))
    found = weights.shapes_of(part.tensors)
    if not module_files.contents(found):
        raise ModelLoadError(
            f"{filename} holds no VAE and no text encoder of a known kind. It holds: {shapes.describe(found)}"
        )
    return part


def identify(
    checkpoint: Part, chosen: Sequence[Part] = (), spare: Sequence[Part] = ()
) -> tuple[Family, dict[str, Part], list[str]]:
    """Returns the family of a checkpoint, the weights of each of its modules, and the keys that belong to none.

    chosen: files of modules that replace the checkpoint's, spare: of modules it may lack. Raises ModelLoadError for a
    checkpoint of no family, or without a module.
    """
    for family in model_families.FAMILIES:
        parts, strangers = lay_out(family, checkpoint, chosen, spare)
        missing = [name for name in family.prefixes if name not in parts and not family.is_optional(name)]
        # What seems to be missing beside strangers may be there under other names: then it is another family.
        if not is_of(family, checkpoint, parts, is_whole=bool(missing and strangers)):
            continue
        check_modules(checkpoint.filename, family, missing)
        used = {part.filename for part in parts.values()}
        for part in chosen:
            if part.filename not in used:
                logger.warning("%s is for no module of %s and not used", part.filename, family.title)
        return family, parts, strangers
    known = ", ".join(family.title for family in model_families.FAMILIES)
    found = weights.shapes_of(checkpoint.tensors)
    raise ModelLoadError(
        f"{checkpoint.filename} is no checkpoint of a kind that can be loaded ({known}). It holds {len(found)} "
        f"weights: {shapes.describe(found)}"
    )


def is_of(family: Family, checkpoint: Part, parts: Mapping[str, Part], *, is_whole: bool) -> bool:
    """Returns whether a checkpoint, of which a family would take these parts, is of that family.

    is_whole: only if all its modules are in the file itself.
    """
    own = {name: part for name, part in parts.items() if part.filename == checkpoint.filename}
    found = weights.shapes_of({key: checkpoint.tensors[key] for key in family.keys if key in checkpoint.tensors})
    for part in own.values():
        found |= weights.shapes_of(part.tensors)
    elsewhere = family.prefixes.keys() - own.keys() - set(family.own_modules)
    return family.matches(found) if is_whole else family.matches(found, without=elsewhere)


def lay_out(
    family: Family, checkpoint: Part, chosen: Sequence[Part] = (), spare: Sequence[Part] = ()
) -> tuple[dict[str, Part], list[str]]:
    """Returns the weights of each module of a family that is there, and the keys beside them.

    The modules of `chosen` files go before those of the checkpoint, and these before those of `spare` files.
    """
    own = {name: with_prefix(checkpoint.tensors, prefix) for name, prefix in family.prefixes.items()}
    is_bare = not own[DENOISER]
    if is_bare:  # a file of the denoiser alone
        own[DENOISER] = {family.unet_prefix + key: tensor for key, tensor in checkpoint.tensors.items()}
    parts = {name: Part(checkpoint.filename, tensors) for name, tensors in own.items() if tensors}
    from_chosen = taken_from(family, chosen, own=parts)
    parts = {**taken_from(family, spare, own={**parts, **from_chosen}), **parts, **from_chosen}
    for part in parts.values():
        part.tensors = weights.replace_prefixes(part.tensors, family.renamed)
    prefixes = tuple(family.prefixes.values())
    strangers = [key for key in checkpoint.tensors if not key.startswith(prefixes) and not family.is_ignored(key)]
    return {name: parts[name] for name in family.prefixes if name in parts}, [] if is_bare else strangers


def taken_from(family: Family, files: Sequence[Part], own: Collection[str]) -> dict[str, Part]:
    """Returns the modules of a family that are in files of their own, under the keys of the single-file layout.

    own: modules that are there already, see `module_files.chosen`.
    """
    inside = [module_files.contents(weights.shapes_of(part.tensors)) for part in files]
    taken = {}
    for name, source in module_files.chosen(family, inside, own).items():
        part, prefix = files[source.file], family.prefixes[name]
        tensors = with_prefix(part.tensors, source.prefix)
        taken[name] = Part(
            part.filename, {prefix + key.removeprefix(source.prefix): tensor for key, tensor in tensors.items()}
        )
    return taken


MODULES_SETTING = "forge_additional_modules"


def check_modules(filename: str, family: Family, missing: list[str]) -> None:
    """Raises ModelLoadError if modules are missing that a model of this family needs."""
    if missing:
        there = " and ".join(family.called(name) for name in family.prefixes if name not in missing)
        there = "the denoiser" if there == family.called(DENOISER) else there
        rest = " and ".join(f"a {family.called(name)}" for name in missing)
        stem = os.path.splitext(os.path.basename(filename))[0]
        raise ModelLoadError(
            f"{filename} is a file of {family.title} that holds {there} only: choose {rest} in the setting "
            f'"VAE and text encoders" ({MODULES_SETTING}), or put files beside it that are named '
            f"{' and '.join(f'{stem}.{name}.safetensors' for name in missing)}"
        )


def check_supported(filename: str, tensors: StateDict) -> None:
    """Raises ModelLoadError for a file of a known kind that would not load, or give images of nothing."""
    kinds = {prefix: kind for family in model_families.FAMILIES for prefix, kind in family.unsupported.items()}
    for prefix, kind in kinds.items():
        marker = next((key for key in tensors if key.startswith(prefix)), None)
        if marker is not None:
            raise ModelLoadError(f"{filename} is {kind} (it holds {marker!r}), which is not supported")


def prepare_network(family: Family, name: str, part: Part) -> Network:
    """Makes one module of a family, without weights, and finds its weights. Raises ModelLoadError."""
    try:
        return network_of(family, name, part)
    except shapes.UnreadableShapes as e:
        raise ModelLoadError(f"{part.filename} looks like {family.title}, but {e}") from e


def network_of(family: Family, name: str, part: Part) -> Network:
    """Does the same; raises UnreadableShapes where the weights are those of another network."""
    part.tensors, scales = quantized.split_scales(part.filename, part.tensors)
    found = weights.shapes_of(part.tensors)
    if name == DENOISER:
        module, convert = denoisers.kind_of(family).build(family, found)
    elif name == VAE:
        module, convert = vae_of(family, found)
    elif name in [reader.name for reader in family.image_readers]:
        module, convert = image_reader_of(family, name, found)
    else:
        module, convert = text_encoder_of(family, name, found)
    network = Network(part.filename, module, convert(part.tensors), traced(part.tensors, convert))
    if scales:
        one = torch.ones(())
        spread = {key: scales.get(key, one.expand(shape)) for key, shape in found.items()}
        network.scales = {
            name: scale
            for name, scale in convert(spread).items()
            if any(name in network.parameters[key] for key in scales)
        }
    check_complete(f"{part.filename}, {family.called(name)} of {family.title}", network)
    return network


def vae_of(family: Family, found: Shapes) -> tuple[torch.nn.Module, Convert]:
    """Makes the VAE of these shapes, and what takes weights to its parameters."""
    torchvision_ops.declare_missing()
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from ldm.modules.diffusionmodules.model import adopt

    with InitializeOnMeta():
        vae = AutoencoderKL(**shapes.vae_config(found, family.vae_prefix))
    adopt(vae)
    sd_hijack_optimizations.use_selected_attention(vae)
    return vae, functools.partial(convert_ldm_vae_checkpoint, config=vae.config)


def text_encoder_of(family: Family, name: str, found: Shapes) -> tuple[torch.nn.Module, Convert]:
    """Makes the text encoder of that name, and what takes weights to its parameters."""
    facts = next(encoder for encoder in family.text_encoders if encoder.name == name)
    kind = text_encoders.KINDS[facts.kind]
    return kind.build(facts, found), functools.partial(kind.convert, facts)


def image_reader_of(family: Family, name: str, found: Shapes) -> tuple[torch.nn.Module, Convert]:
    """Makes the network of that name that looks at images, and what takes weights to its parameters."""
    facts = next(reader for reader in family.image_readers if reader.name == name)
    kind = image_readers.KINDS[facts.kind]
    return kind.build(facts, found), functools.partial(kind.convert, facts)


def traced(tensors: StateDict, convert: Convert) -> dict[str, tuple[str, ...]]:
    """Returns, for each key of a file, the names of the parameters that its weight goes to, () for none.

    Instead of weights their numbers are converted, as long as the weights and 1 wide, which needs no memory: what
    arrives under a name tells where it came from, also if it was cut or turned on the way.
    """
    keys = list(tensors)
    numbers = torch.arange(len(keys))
    shapes_there = weights.shapes_of(tensors)
    numbered = {key: number.expand(narrowed(shapes_there[key])) for key, number in zip(keys, numbers, strict=True)}
    places: dict[str, tuple[str, ...]] = dict.fromkeys(keys, ())
    for name, tensor in convert(numbered).items():
        if tensor.numel():
            places[keys[int(tensor[(0,) * tensor.ndim])]] += (name,)
    return places


def narrowed(shape: Sequence[int]) -> tuple[int, ...]:
    """Returns a shape that is 1 wide wherever it is not first; nothing stays nothing."""
    return tuple(size if axis == 0 else min(size, 1) for axis, size in enumerate(shape))


def with_prefix(tensors: StateDict, prefix: str) -> StateDict:
    """Returns the tensors whose keys begin with a prefix."""
    return {key: tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def check_complete(what: str, network: Network) -> None:
    """Raises ModelLoadError unless there is a weight of the right shape for each parameter; others are dropped."""
    expected = weights.shapes_of(network.module.state_dict())
    for key in network.weights.keys() - expected.keys():
        del network.weights[key]
    for key, names in network.parameters.items():
        network.parameters[key] = tuple(name for name in names if name in expected)
    missing = [key for key in expected if key not in network.weights]
    if missing:
        raise ModelLoadError(f"{what}: {named(missing, 'weights are')} missing")
    for key, tensor in network.weights.items():
        shape = quantized.shape_of(tensor)
        if shape != expected[key]:
            raise ModelLoadError(f"{what}: {key} has shape {shape}, expected {expected[key]}")


def check_fit(filename: str, family: Family, networks: Mapping[str, Network]) -> None:
    """Raises ModelLoadError unless the modules of a model, which may come from several files, understand each other."""
    reads = denoisers.kind_of(family).reads(networks[DENOISER].module.config)
    encoders = [networks[encoder.name].module for encoder in family.text_encoders if encoder.name in networks]
    padded = sum(encoder.width for encoder in encoders if encoder.facts.padded)
    whole = sum(encoder.width for encoder in encoders if not encoder.facts.padded)
    if padded > reads.text or whole not in ((0, reads.text) if padded else (reads.text,)):
        raise ModelLoadError(
            f"{filename} reads text of {reads.text} channels, its text encoder gives {whole or padded}: they are of "
            "different models"
        )
    pooled = sum(encoder.pooled_width for encoder in encoders)
    gives = pooled + SIZE_WIDTH * sum(SIZE_NUMBERS[key] for key in family.size_keys)
    if family.image == EMBEDDED:
        gives += 2 * networks[family.image_readers[0].name].module.width
    if reads.vector not in (None, gives):
        raise ModelLoadError(
            f"{filename} looks like {family.title}, but reads a vector of {reads.vector} numbers beside the text "
            f"instead of {gives}: it is no such model, or its text encoder is of another one"
        )
    check_latents(networks[VAE], family)


def check_latents(vae: Network, family: Family) -> None:
    """Raises ModelLoadError for a VAE of other latents than the family's."""
    channels, wanted = vae.module.config.latent_channels, family.latent_format.channels
    if channels != wanted:
        raise ModelLoadError(
            f"{vae.filename} is a VAE for latents of {channels} channels, the checkpoint's have {wanted}"
        )


def report_unused(
    filename: str,
    strangers: list[str],
    family: Family,
    parts: Mapping[str, Part],
    networks: Mapping[str, Network],
) -> None:
    """Logs which weights of each file went into no network, by name, once for a file.

    strangers: keys of the checkpoint that belong to no module.
    """
    unused = {filename: list(strangers)}
    for name, part in parts.items():
        known = networks[name].parameters
        unused.setdefault(part.filename, []).extend(
            key for key in part.tensors if not known[key] and not family.is_ignored(key)
        )
    for file, keys in unused.items():
        if keys:
            logger.warning("%s: %s not known and not used", file, named(keys, "weights are"))


def named(keys: list[str], what: str) -> str:
    """Returns "3 weights are (a, b, c)", the first few by name."""
    more = ", ..." if len(keys) > MAX_KEYS_NAMED else ""
    return f"{len(keys)} {what} ({', '.join(keys[:MAX_KEYS_NAMED])}{more})"


def schedule_of(tensors: StateDict, family: Family, overrides: sd_models_config.ConfigOverrides) -> Schedule:
    """Returns how noise and time belong together, with what the file says of it."""
    if isinstance(family.schedule, NoiseSchedule):
        return overrides.schedule or family.schedule
    stored = {name: float(tensors[key]) for name, key in family.schedule_keys.items() if key in tensors}
    return replace(family.schedule, **stored)


def alphas_cumprod_of(
    tensors: StateDict, family: Family, schedule: Schedule, zero_terminal_snr: bool = False
) -> torch.Tensor:
    """Returns, (timesteps,) float32, the table in the file if it has one that counts, else the schedule's."""
    stored = tensors.get("alphas_cumprod") if family.has_own_schedule else None
    if stored is None:
        table = schedule.alphas_cumprod()
    else:
        table = stored.detach().to("cpu", torch.float32, copy=True)
    return model_families.zero_terminal(table) if zero_terminal_snr else table


def build(prepared: PreparedModel, placement: Placement) -> WebuiSdModel:
    """Copies the weights to their device and type, one at a time; `prepared` is used up."""
    narrow = (DENOISER, *prepared.encoders) if placement.fp8 else ()
    in_blocks = {name for name in narrow if any(map(quantized.is_in_blocks, prepared.networks[name].weights.values()))}
    for name in narrow:
        if name not in in_blocks:
            store_in_fp8(prepared.networks[name].module, placement.dtype_of(name))
    modules = {
        name: materialize(network, placement.device_of(name), placement.dtype_of(name), placement.keeps_fp16)
        for name, network in prepared.networks.items()
    }
    if placement.channels_last:
        for name in (DENOISER, VAE):
            modules[name].to(memory_format=torch.channels_last)
    parameterization = prepared.parameterization or predicted_by(modules[DENOISER], placement.dtype)
    for name in in_blocks:  # some of whose layers are others now
        store_in_fp8(modules[name], placement.dtype_of(name))
    model = WebuiSdModel(
        family=prepared.family,
        denoiser=modules[DENOISER],
        vae=modules[VAE],
        cond_stage_model=prompt_encoder(
            prepared.family, [modules[name] for name in prepared.encoders], modules[DENOISER].config
        ),
        alphas_cumprod=prepared.alphas_cumprod.to(placement.device_of(DENOISER)),
        parameterization=parameterization,
        placement=placement,
        schedule=prepared.schedule,
        image_readers={reader.name: modules[reader.name] for reader in prepared.family.image_readers},
    )
    model.weight_places = weight_places(prepared.networks)
    turned = denoisers.kind_of(prepared.family).turned(modules[DENOISER])
    model.layer_names = LayerNames(prepared.family, modules, model.weight_places, turned)
    return model.eval()


@torch.no_grad()
def predicted_by(unet: UNet2DConditionModel, dtype: torch.dtype) -> str:
    """Returns what a U-Net predicts of a grey latent at the last timestep, which it takes for noise: "eps" or "v".

    dtype: what it computes in. What is left of such an image is almost nothing: eps is about the latent itself, v the
    image with its sign turned.
    """
    place = {"device": unet.device, "dtype": dtype}
    latent = torch.full((1, 4, 8, 8), 0.5, **place)
    text = torch.full((1, 2, unet.config.cross_attention_dim), 0.5, **place)
    output = unet(latent, torch.tensor([999], device=unet.device), text, return_dict=False)[0]
    return "v" if float((output - latent).float().mean()) < V_SHIFT else "eps"


V_SHIFT = -1.0
"""Mean of output less input, below which a U-Net predicts v: the test and its number are those of v1.10.1."""


Joined = Callable[[Family, list[sd_hijack_clip.TextConditionalModel], int], sd_hijack_clip.TextConditionalModel]
"""Takes a family, its encoders, and the channels of text that its denoiser reads to what reads prompts."""

JOINED: dict[str, Joined] = {
    "one": lambda family, encoders, width: encoders[0],
    "xl": lambda family, encoders, width: sd_models_xl.GeneralConditioner(encoders, family.size_keys),
    "sd3": lambda family, encoders, width: sd_models_sd3.JointConditioner(encoders, width),
}
"""By `Family.joined_by`."""


def reader_of(network: text_encoders.TextNetwork) -> type[sd_hijack_clip.FrozenCLIPEmbedderWithCustomWords]:
    """Returns the class that reads prompts for a network: all do the same, and extensions tell networks by them."""
    if not isinstance(network, clip.OpenClipNetwork):
        return sd_hijack_clip.FrozenCLIPEmbedderWithCustomWords
    if network.facts.pooled:
        return sd_hijack_open_clip.FrozenOpenCLIPEmbedder2WithCustomWords
    return sd_hijack_open_clip.FrozenOpenCLIPEmbedderWithCustomWords


def prompt_encoder(
    family: Family, networks: list[text_encoders.TextNetwork], config: Mapping[str, Any]
) -> sd_hijack_clip.TextConditionalModel:
    """Returns what reads prompts for these text encoders: one alone, or what joins the vectors of several.

    config: of the denoiser that will be told of them.
    """
    encoders = [
        reader_of(network)(network) if network.is_chunked else whole_text.WholeTextEncoder(network)
        for network in networks
    ]
    return JOINED[family.joined_by](family, encoders, denoisers.kind_of(family).reads(config).text)


def token_reader(family: Family) -> sd_hijack_clip.TextConditionalModel:
    """Returns what cuts prompts into tokens as the encoders of a family do. It has no networks, so it encodes none."""
    facts = [encoder for encoder in family.text_encoders if encoder.kind == "clip"]
    readers = [sd_hijack_clip.FrozenCLIPEmbedderWithCustomWords(clip.tokens_of(encoder)) for encoder in facts]
    return JOINED[family.joined_by](family, readers, 0)


def family_of(filename: str, modules: Sequence[str] = (), spare: Sequence[str] = ()) -> Family:
    """Returns the family of a checkpoint, for which its header is read. modules, spare: see `prepare`.

    Raises ModelLoadError.
    """
    checkpoint, own = read_checkpoint(filename)
    chosen, others = ([read_module(path) for path in paths] for paths in (modules, spare))
    return identify(checkpoint, chosen, [*others, *own])[0]


def weight_places(networks: Mapping[str, Network]) -> dict[str, tuple[WeightPlace, ...]]:
    """Returns, for each key of the single-file layout that is used, where in the networks its weight is."""
    places = {}
    for network in networks.values():
        owners = dict(network.module.named_modules(remove_duplicate=False))
        for key, names in network.parameters.items():
            split = [name.rpartition(".") for name in names]
            if split:
                places[key] = tuple(WeightPlace(owners[owner], leaf) for owner, _, leaf in split)
    return places


RELEASED_BYTES = 2**26
"""So much of a file is read before the memory of it is given back."""


@torch.no_grad()
def materialize(
    network: Network, device: torch.device, dtype: torch.dtype, keeps_fp16: bool = False
) -> torch.nn.Module:
    """Fills a network with its weights, which never need gradients; those that it stores in 8 bits, in these.

    keeps_fp16: the layers get these in float16 beside, in main memory, see `WeightPlace.exact`.
    """
    module, read = network.module, 0
    owners = dict(module.named_modules(remove_duplicate=False))
    while network.weights:
        name, tensor = network.weights.popitem()
        owner_name, _, leaf = name.rpartition(".")
        owner = owners[owner_name]
        in_blocks = quantized.layer_in_blocks(owner, leaf, tensor, dtype)
        if in_blocks is not None:
            module.set_submodule(owner_name, in_blocks)
            owners[owner_name] = in_blocks
            continue
        tensor = quantized.values(tensor)
        if name in network.scales:
            tensor = tensor.to(device, torch.float32) * network.scales[name].to(device)
        value = tensor.to(device, dtype, copy=True, memory_format=torch.contiguous_format)
        narrow = getattr(owner, leaf).dtype
        if narrow.itemsize == 1:
            if keeps_fp16:
                WeightPlace(owner, leaf).keep_exact(value)
            value = value.to(narrow)
        setattr(owner, leaf, torch.nn.Parameter(value, requires_grad=False))
        read += tensor.nbytes
        if read > RELEASED_BYTES or not network.weights:
            weights.release(network.filename)
            read = 0
    return module.to(device).eval()


def store_in_fp8(network: torch.nn.Module, compute_dtype: torch.dtype) -> None:
    """Keeps the weights of linear layers and convolutions in 8 bits, and widens each layer's while it computes."""
    from diffusers.hooks import apply_layerwise_casting

    apply_layerwise_casting(
        network,
        storage_dtype=torch.float8_e4m3fn,
        compute_dtype=compute_dtype,
        skip_modules_pattern=(),
        skip_modules_classes=quantized.layers_in_blocks(),
    )


def load_vae(filename: str, family: Family, placement: Placement) -> AutoencoderKL:
    """Loads a VAE for models of a family from its own file, in the original layout; a whole checkpoint gives its VAE.

    Raises ModelLoadError for a file that is none, or one for latents of another number of channels.
    """
    tensors = in_original_layout(filename, weights.read_once(filename)).tensors
    prefix = family.vae_prefix
    part = Part(filename, with_prefix(tensors, prefix) or {prefix + key: tensor for key, tensor in tensors.items()})
    try:
        network = network_of(family, VAE, part)
    except shapes.UnreadableShapes as e:
        held = shapes.describe(weights.shapes_of(part.tensors))
        raise ModelLoadError(f"{filename} is no VAE: {e}. It holds: {held}") from e
    check_latents(network, family)
    report_unused(filename, [], family, {VAE: part}, {VAE: network})
    vae = materialize(network, placement.device_of(VAE), placement.dtype_of(VAE))
    return vae.to(memory_format=torch.channels_last) if placement.channels_last else vae
