"""pure: what a model family is, as data: how its files look, how its latents are scaled, which text encoders it reads.

A row is everything the loader needs to know beside the weights themselves; sizes come from the shapes of the weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from modules.sampling.denoisers import edm_sigma_table, flow_sigma_table

Shapes = Mapping[str, tuple[int, ...]]
"""Key of a weight in its file -> its shape."""

ShapePattern = tuple[int | None, ...] | None
"""A shape in which None stands for any size; None for any shape."""

MASKED, EDITED, DEPTH, EMBEDDED = "masked", "edited", "depth", "embedded"
"""What of an image a denoiser sees beside the latent: mask and masked image, the image to edit, a map of distances,
what CLIP makes of it. All but the last are further channels of its input."""


@dataclass(frozen=True)
class LatentFormat:
    """The latents of a VAE as its U-Nets see them.

    Model space is `(z - shift) * scale` of the VAE's own z. means, deviations: where channels differ, what z has of
    each; model space is `(z - mean) / deviation * scale` then. downscale: pixels per latent cell and side. rgb_rows:
    per channel the red, green and blue it stands for, rgb_bias: the colour of zeros; together -1..1. approx_url:
    weights of the small preview network, under the name that v1.10.1 looks for; taesd: first part of the file names of
    the tiny autoencoder in https://github.com/madebyollin/taesd; None where nobody made one.
    """

    channels: int
    scale: float
    shift: float
    downscale: int
    rgb_rows: tuple[tuple[float, float, float], ...]
    rgb_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    approx_url: str | None = None
    taesd: str | None = None
    means: tuple[float, ...] | None = None
    deviations: tuple[float, ...] | None = None

    def cells(self, width: int, height: int) -> tuple[int, int, int]:
        """Returns the shape (channels, h, w) of the latent of an image; pixels beyond the last whole cell are cut."""
        return self.channels, height // self.downscale, width // self.downscale

    def reads(self, other: LatentFormat) -> bool:
        """Says whether latents of another format mean the same in this one, whatever previews make of them."""
        ours, theirs = ((f.channels, f.scale, f.shift, f.means, f.deviations, f.downscale) for f in (self, other))
        return ours == theirs

    def to_vae(self, latent: torch.Tensor) -> torch.Tensor:
        """Takes latents (..., C, h, w) from model space to the VAE's space."""
        z = latent / self.scale
        if self.deviations is not None:
            z = z * per_channel(self.deviations, z)
        return z + (self.shift if self.means is None else per_channel(self.means, z))

    def from_vae(self, z: torch.Tensor) -> torch.Tensor:
        """Takes latents (..., C, h, w) from the VAE's space to model space."""
        centred = z - (self.shift if self.means is None else per_channel(self.means, z))
        if self.deviations is not None:
            centred = centred / per_channel(self.deviations, z)
        return centred * self.scale

    def to_rgb(self, latent: torch.Tensor) -> torch.Tensor:
        """Returns rough colours (..., 3, h, w), about -1..1, of latents (..., C, h, w): one linear map, no network."""
        rows = torch.tensor(self.rgb_rows, dtype=latent.dtype, device=latent.device)
        bias = torch.tensor(self.rgb_bias, dtype=latent.dtype, device=latent.device)
        return torch.einsum("...chw,cr->...rhw", latent, rows) + bias[:, None, None]


def per_channel(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """Returns (C, 1, 1) of one number for each channel, in the type of a latent."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


@dataclass(frozen=True)
class TextEncoder:
    """One text encoder of a family: where its weights are, who builds it, and what their shapes cannot say.

    name: what the model calls it, "clip_l". kind: who builds it, a row of `modules.text_encoders.KINDS`. prefix: first
    part of its keys in a checkpoint. tokenizer: folder of its vocabulary among the embedded files; encoders of one
    tokenizer cut texts alike. head_width: of an attention head. activation: as transformers names it.

    layer: which hidden state is read, counted from the last as clip skip counts: 1 is the last, 2 the one before.
    cut_layers: how many there are in files that leave out the last, which nothing reads; None without such files.
    clip_skip: whether the setting of that name decides instead: "always", "optional" if the setting sdxl_clip_l_skip
    is on too, "never". final_norm: whether what is read goes through the norm after the last layer. pooled: whether the
    text is also summed up in one vector. projection: whether that vector goes through a projection of the file.
    pad_token: what fills up a text behind its end; None for more of the token that ends it.

    embedding_key: under which name files of word vectors keep those of this encoder, None if it takes none. ignored:
    first parts of keys below prefix that no network needs. renamed: first parts that files of older programs have
    there, and what they are called today.

    padded: its vectors, beside those of its neighbours, are filled up with zeros to the width that the denoiser reads.
    optional: a model loads without it. file_width: of its vectors in full size, by which files of encoders of one kind
    are told apart. enabled_by: setting without which it is left out, None for one that always takes
    part.
    """

    name: str
    kind: str
    prefix: str
    tokenizer: str
    head_width: int = 64
    activation: str = "quick_gelu"
    layer: int = 1
    cut_layers: int | None = None
    clip_skip: str = "always"
    final_norm: bool = True
    pooled: bool = False
    projection: bool = False
    pad_token: int | None = None
    embedding_key: str | None = None
    ignored: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    padded: bool = False
    optional: bool = False
    file_width: int | None = None
    enabled_by: str | None = None


@dataclass(frozen=True)
class ImageReader:
    """A network that looks at an image for the denoiser.

    name: what the model calls it. kind: who builds it, a row of `modules.image_readers.KINDS`. prefix: first part of
    its keys in a checkpoint. activation: as transformers names it. ignored: first parts of keys below prefix that it
    does not need.
    """

    name: str
    kind: str
    prefix: str
    activation: str = "gelu"
    head_width: int = 64
    ignored: tuple[str, ...] = ()


class Denoiser:
    """What the shapes of a denoiser's weights cannot say. One subclass for each kind of network.

    title: what people call such a network. patch: cells of a latent, a side, that it takes as one.
    """

    title: ClassVar[str]
    patch: ClassVar[int] = 1


@dataclass(frozen=True)
class Unet(Denoiser):
    """A U-Net.

    heads: attention heads of every layer; where it is None, head_width tells how wide each is, so that wider layers
    have more. size_embedding: channels to which each number of the size conditioning is embedded, before it joins the
    pooled text; None where `label_emb` takes a vector as it is.
    """

    title = "U-Net"

    heads: int | None = None
    head_width: int | None = None
    size_embedding: int | None = None

    def heads_of(self, channels: Sequence[int]) -> int | tuple[int, ...]:
        """Returns the attention heads of levels of these channels: one number for all, or one a level."""
        if self.heads is not None:
            return self.heads
        if self.head_width is None:
            raise ValueError("the row of a U-Net has to name its heads, or their width")
        return tuple(max(1, width // self.head_width) for width in channels)


@dataclass(frozen=True)
class Mmdit(Denoiser):
    """A transformer over image and text, each with weights of its own: Esser et al. 2024 (arXiv:2403.03206)."""

    title = "transformer"
    patch = 2

    head_width: int = 64


class Schedule:
    """How noise and time belong together in training. One subclass for each way to train."""

    timesteps: int

    def alphas_cumprod(self) -> torch.Tensor:
        """Returns, (timesteps,) float32, the share of the image left at each timestep."""
        raise NotImplementedError


@dataclass(frozen=True)
class NoiseSchedule(Schedule):
    """Betas of training: linear in their square roots from linear_start to linear_end."""

    linear_start: float = 0.00085
    linear_end: float = 0.0120
    timesteps: int = 1000

    def alphas_cumprod(self) -> torch.Tensor:
        """Returns, (timesteps,) float32, the share of the image's variance left at each timestep.

        Computed in double precision.
        """
        start, end = self.linear_start**0.5, self.linear_end**0.5
        betas = torch.linspace(start, end, self.timesteps, dtype=torch.float64) ** 2
        return torch.cumprod(1.0 - betas, dim=0).float()


@dataclass(frozen=True)
class FlowSchedule(Schedule):
    """Rectified flow: x is on the straight line from latent to noise. shift: moves the timesteps towards the noise."""

    shift: float = 1.0
    timesteps: int = 1000

    def alphas_cumprod(self) -> torch.Tensor:
        """Returns, (timesteps,) float32, the latent's part of x at each timestep."""
        return 1 - flow_sigma_table(self.shift, self.timesteps)


@dataclass(frozen=True)
class EdmSchedule(Schedule):
    """Noise levels of any size, as Karras et al. 2022 (arXiv:2206.00364) train; the network is told a quarter of ln σ.

    sigma_data: standard deviation of latents.
    """

    sigma_min: float
    sigma_max: float
    sigma_data: float
    timesteps: int = 1000

    def alphas_cumprod(self) -> torch.Tensor:
        """Returns, (timesteps,) float32, the share of a unit variance left at each of as many noise levels."""
        return 1 / (edm_sigma_table(self.sigma_min, self.sigma_max, self.timesteps) ** 2 + 1)


ZERO_TERMINAL_ALPHA = 4.8973451890853435e-08
"""Share of the image left at the last timestep under "Zero Terminal SNR"; zero would have no noise level."""


def zero_terminal(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Returns alphas_cumprod with nearly nothing of the image left at the last timestep.

    The square roots are shifted to end at zero and scaled to begin as before: Lin et al. 2023 (arXiv:2305.08891).
    """
    roots = alphas_cumprod.sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    rescaled = ((roots - last) * (first / (first - last))) ** 2
    rescaled[-1] = ZERO_TERMINAL_ALPHA
    return rescaled


DENOISER = "denoiser"
VAE = "vae"
"""Names of the two modules that every model has beside its text encoders."""


SIZE_NUMBERS = {
    "original_size_as_tuple": 2,
    "crop_coords_top_left": 2,
    "target_size_as_tuple": 2,
    "aesthetic_score": 1,
}
"""How many numbers each part of the size conditioning has: Podell et al. 2023 (arXiv:2307.01952)."""


@dataclass(frozen=True)
class Family:
    """One row: a kind of checkpoint in its original single-file layout.

    A model of it is a denoiser and named modules: a VAE and text encoders. Each may also come in a file of its own; its
    keys are those of the single-file layout, with or without its prefix.

    keys: shapes a file must have to be of this family. architecture: "sd1", "sd2", "sdxl" or "sd3". denoiser: facts of
    it. image: what of an image it sees beside the latent, one of the constants above. image_readers: networks that
    look at it, for what is no latent. image_is_scaled: the image to
    edit is a latent of model space, else one of the VAE's own. conditioning_key: "hybrid" for
    models of SD1 and SD2 that see an image, else "crossattn". cond_stage_key: "edit" for models that follow
    instructions, else "txt". joined_by: what makes one conditioning of all text encoders', a row of
    `modules.model_load.JOINED`. size_keys: names of the numbers about the image that stand behind the pooled text, keys
    of SIZE_NUMBERS. config: the architecture file of this kind in v1.10.1.

    parameterization: what the denoiser predicts, a row of `modules.sampling.denoisers.SIGMA_DENOISERS`; None where its
    weights tell "eps" from "v". schedule_keys: field of the schedule -> weight of the file that holds its value.
    has_own_schedule: a table alphas_cumprod in the file counts.

    ignored: first parts of keys that many files have and no network needs. unsupported: first parts of keys of files
    that look alike, but are told or sampled in a way that is not known here -> what such files are.
    """

    name: str
    title: str
    keys: Mapping[str, ShapePattern]
    architecture: str
    latent_format: LatentFormat
    text_encoders: tuple[TextEncoder, ...]
    denoiser: Denoiser
    conditioning_key: str
    config: str
    image: str | None = None
    image_readers: tuple[ImageReader, ...] = ()
    image_is_scaled: bool = False
    cond_stage_key: str = "txt"
    joined_by: str = "one"
    size_keys: tuple[str, ...] = ()
    parameterization: str | None = "eps"
    has_own_schedule: bool = True
    schedule: Schedule = field(default_factory=NoiseSchedule)
    schedule_keys: Mapping[str, str] = field(default_factory=dict, hash=False)
    unet_prefix: str = "model.diffusion_model."
    vae_prefix: str = "first_stage_model."
    ignored: tuple[str, ...] = ()
    unsupported: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def prefixes(self) -> dict[str, str]:
        """Name of each module -> first part of its keys in a checkpoint."""
        encoders = {encoder.name: encoder.prefix for encoder in (*self.text_encoders, *self.image_readers)}
        return {DENOISER: self.unet_prefix, VAE: self.vae_prefix, **encoders}

    @property
    def own_modules(self) -> tuple[str, ...]:
        """Names of the modules that only files of this family have, and have always."""
        return (DENOISER, *(reader.name for reader in self.image_readers))

    @property
    def renamed(self) -> dict[str, str]:
        """First parts of keys in files of older programs -> what they are today."""
        return {
            encoder.prefix + old: encoder.prefix + new for encoder in self.text_encoders for old, new in encoder.renamed
        }

    def called(self, name: str) -> str:
        """Returns what people call a module of this family."""
        if name in [reader.name for reader in self.image_readers]:
            return f"image encoder ({name})"
        encoder = "text encoder" if len(self.text_encoders) == 1 else f"text encoder {name}"
        return {DENOISER: self.denoiser.title, VAE: "VAE"}.get(name, encoder)

    @property
    def adds_channels(self) -> bool:
        """Whether an image is further channels of the denoiser's input."""
        return self.image in (MASKED, EDITED, DEPTH)

    @property
    def cell(self) -> int:
        """Pixels, a side, of the smallest piece the denoiser takes: sizes of images are multiples of it."""
        return self.latent_format.downscale * self.denoiser.patch

    def matches(self, shapes: Shapes, without: Collection[str] = ()) -> bool:
        """Says whether a file with these shapes is of this family; `without`: apart from the modules of these names."""
        left_out = tuple(self.prefixes[name] for name in without)
        return all(
            key in shapes and fits(shapes[key], pattern)
            for key, pattern in self.keys.items()
            if not key.startswith(left_out)
        )

    def is_optional(self, name: str) -> bool:
        """Says whether a model works without the module of this name."""
        return any(encoder.name == name and encoder.optional for encoder in self.text_encoders)

    def is_ignored(self, key: str) -> bool:
        """Says whether a weight of a file is one that no network needs."""
        below = tuple(
            encoder.prefix + part for encoder in (*self.text_encoders, *self.image_readers) for part in encoder.ignored
        )
        return key.startswith((*self.ignored, *below))


def fits(shape: tuple[int, ...], pattern: ShapePattern) -> bool:
    """Says whether a shape has the dimensions of a pattern, and the sizes it names."""
    return (
        pattern is None
        or len(shape) == len(pattern)
        and all(wanted in (None, size) for size, wanted in zip(shape, pattern, strict=True))
    )
