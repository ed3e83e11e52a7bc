"""engine: CLIP's image encoder as transformers has it, and the noise that unCLIP lays over what it says.

Rombach et al.'s Stable unCLIP: an image is told to the denoiser as one vector, and how much noise was laid over it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from modules import torchvision_ops
from modules.image_readers.base import Kind
from modules.model_families import ImageReader, Shapes, shapes
from modules.sampling.conditioning import sinusoids
from modules.sd_disable_initialization import InitializeOnMeta
from modules.text_encoders import clip
from modules.weights import StateDict

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection

MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the colours of the images that CLIP was trained on."""


class ImageEmbedder(torch.nn.Module):
    """CLIP's image encoder. width: of the vector it makes of an image."""

    def __init__(self, model: CLIPVisionModelWithProjection):
        super().__init__()
        self.model = model
        self.width: int = model.config.projection_dim

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Returns vectors (B, width) of pixels (B, 3, H, W) in -1..1, which are squeezed to the encoder's square."""
        weight = self.model.visual_projection.weight
        side = self.model.config.image_size
        squeezed = F.interpolate(pixels.float(), (side, side), mode="bicubic", antialias=True)
        mean, deviation = (torch.tensor(values).view(3, 1, 1).to(squeezed) for values in (MEAN, DEVIATION))
        return self.model((((squeezed + 1) / 2 - mean) / deviation).to(weight)).image_embeds


class NoiseAugmentor(torch.nn.Module):
    """Lays noise over vectors of images, in the statistics of those it was trained on.

    mean, deviation: (width,) of such vectors. The shares of noise are those of Nichol & Dhariwal 2021
    (arXiv:2102.09672), eq. 17.
    """

    levels = 1000

    def __init__(self, width: int):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.empty(width), requires_grad=False)
        self.deviation = torch.nn.Parameter(torch.empty(width), requires_grad=False)

    @staticmethod
    def alphas_cumprod() -> torch.Tensor:
        """Returns, (levels,) float32, how much of a vector's variance is left at each level."""
        t = torch.linspace(0, 1, NoiseAugmentor.levels + 1, dtype=torch.float64)
        share = torch.cos((t + 0.008) / 1.008 * torch.pi / 2) ** 2
        betas = (1 - share[1:] / share[:-1]).clamp(max=0.999)
        return torch.cumprod(1 - betas, dim=0).float()

    def forward(self, vectors: torch.Tensor, level: int = 0, generator: torch.Generator | None = None) -> torch.Tensor:
        """Returns (B, 2 * width): vectors (B, width) with the noise of a level, and the level as sinusoids."""
        noise = torch.randn(vectors.shape, generator=generator).to(vectors)
        share = self.alphas_cumprod()[level]
        mean, deviation = self.mean.to(vectors), self.deviation.to(vectors)
        noisy = (vectors - mean) / deviation * share.sqrt() + noise * (1 - share).sqrt()
        numbers = torch.full((len(vectors), 1), float(level), device=vectors.device)
        return torch.cat([noisy * deviation + mean, sinusoids(numbers, vectors.shape[1]).to(vectors)], dim=1)


def build(facts: ImageReader, found: Shapes) -> ImageEmbedder:
    """Makes the network of these shapes, without weights. Raises UnreadableShapes."""
    torchvision_ops.declare_missing()
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(**shapes.clip_vision_config(found, facts))
    with InitializeOnMeta():
        model = CLIPVisionModelWithProjection(config)
    # Not among the weights: which row of the position embedding belongs to which patch.
    embeddings = model.vision_model.embeddings
    embeddings.position_ids = torch.arange(embeddings.num_positions)[None]
    return ImageEmbedder(model)


VISION_NAMES = {
    "transformer.resblocks.": "encoder.layers.",
    "conv1.": "embeddings.patch_embedding.",
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_pre.": "pre_layrnorm.",
    "ln_post.": "post_layernorm.",
    ".ln_1.": ".layer_norm1.",
    ".ln_2.": ".layer_norm2.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
    ".attn.": ".self_attn.",
}
"""Parts of names in OpenCLIP's layout -> in transformers'."""


def convert(facts: ImageReader, tensors: StateDict) -> StateDict:
    """Takes weights from OpenCLIP's names to those of the network; its half for texts is left out."""
    visual = facts.prefix + "visual."
    bare = {key.removeprefix(visual): tensor for key, tensor in tensors.items() if key.startswith(visual)}
    projection = bare.pop("proj", None)
    named = clip.from_open_clip(bare, VISION_NAMES)
    weights = {f"model.vision_model.{key}": tensor for key, tensor in named.items()}
    if projection is not None:
        weights["model.visual_projection.weight"] = projection.T
    return weights


def build_augmentor(facts: ImageReader, found: Shapes) -> NoiseAugmentor:
    """Makes what lays noise over vectors of these shapes, without its numbers. Raises UnreadableShapes."""
    with InitializeOnMeta():
        return NoiseAugmentor(shapes.find(found, f"{facts.prefix}data_mean")[-1])


def convert_augmentor(facts: ImageReader, tensors: StateDict) -> StateDict:
    """Takes the numbers of a file to their names here; the table of noise beside them is the same in all files."""
    names = {"mean": "data_mean", "deviation": "data_std"}
    stored = {name: tensors.get(facts.prefix + key) for name, key in names.items()}
    return {name: tensor.flatten() for name, tensor in stored.items() if tensor is not None}


KIND = Kind(build, convert)
NOISE_AUGMENTOR = Kind(build_augmentor, convert_augmentor)
