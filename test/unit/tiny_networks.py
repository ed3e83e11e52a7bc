"""Small networks for tests: text encoders, the parts of a model around them, and hypernetworks."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from modules import torchvision_ops
from modules.model_families import SD1, TextEncoder
from modules.model_patches import ModelPatches
from modules.placement import Placement
from modules.sampling.conditioning import SIZE_WIDTH
from modules.sd_hijack_clip import EncoderExchange, FrozenCLIPEmbedderWithCustomWords, TextConditionalModel
from modules.sd_models_types import WebuiSdModel
from modules.text_encoders.clip import ClipNetwork, tokenizer_dir, tokenizer_in

START, END, COMMA, BREAK, EMBEDDING = 49406, 49407, 267, 900, 801


class ToyEncoder(TextConditionalModel):
    """A token per word: wN -> 1000 + N, "," -> 267, break -> 900, emb1 -> 801, others -> 500 + their first
    letter's code. A token is encoded to one number, itself.
    """

    def __init__(self, hijack: EncoderExchange | None = None, id_pad: int = END):
        super().__init__(hijack)
        self.id_start, self.id_end, self.id_pad, self.comma_token = START, END, id_pad, COMMA
        self.seen_tokens: list[torch.Tensor] = []

    def tokenize(self, texts):
        return [[self.token(word) for word in re.findall(r"[^\s,]+|,", text.lower())] for text in texts]

    @staticmethod
    def token(word: str) -> int:
        known = {",": COMMA, "break": BREAK, "emb1": EMBEDDING}
        if word in known:
            return known[word]
        return 1000 + int(word[1:]) if re.fullmatch(r"w\d+", word) else 500 + ord(word[0])

    def encode_with_transformers(self, tokens):
        self.seen_tokens.append(tokens)
        return tokens[..., None].float()


def tiny_clip_network(facts: TextEncoder = SD1.text_encoders[0], width: int = 16, **config) -> ClipNetwork:
    """CLIP of two layers with random weights."""
    torchvision_ops.declare_missing()
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {"hidden_size": width, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text_model = CLIPTextModel(CLIPTextConfig(**sizes, **config))
        network = ClipNetwork(facts, text_model, tokenizer_in(tokenizer_dir(facts)))
    for layer_norm in network.eval().requires_grad_(False).modules():
        if isinstance(layer_norm, nn.LayerNorm):
            layer_norm.bias.fill_(0.1)  # with means away from zero, as trained models have them
    return network


def tiny_clip(hijack: EncoderExchange | None = None, width: int = 16) -> FrozenCLIPEmbedderWithCustomWords:
    """The text encoder of SD1 around CLIP of two layers with random weights."""
    return FrozenCLIPEmbedderWithCustomWords(tiny_clip_network(width=width), hijack)


class TwoClips(TextConditionalModel):
    """The text encoders of a model with two: CLIP of 16 channels, and one of 24 with a matrix of its own."""

    def __init__(self):
        super().__init__()
        second = replace(SD1.text_encoders[0], name="clip_g", embedding_key="clip_g", pooled=True)
        self.first = tiny_clip()
        self.second = FrozenCLIPEmbedderWithCustomWords(tiny_clip_network(second, width=24))

    @property
    def encoders(self):
        return {encoder.name: encoder for encoder in (self.first, self.second)}


def model_with(encoder: nn.Module) -> nn.Module:
    """What of a loaded model the encoding part needs: `cond_stage_model`, `patches`, and convolutions."""
    model = nn.Module()
    model.patches = ModelPatches(model)
    model.cond_stage_model = encoder
    model.model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 4, 1))
    return model


def job(**attributes) -> SimpleNamespace:
    """What of `p` the networks of prompts need."""
    defaults = {
        "scripts": None,
        "iteration": 0,
        "prompts": ["a"],
        "seeds": [1],
        "subseeds": [2],
        "all_prompts": ["a", "b"],
    }
    comments: list[str] = []
    return SimpleNamespace(comments=comments, comment=comments.append, **{**defaults, **attributes})


class TinyAttention(nn.Module):
    """What hypernetworks need of a diffusers attention layer; returns queries, keys and values."""

    def __init__(self, query_width: int, context_width: int):
        super().__init__()
        self.to_q = nn.Linear(query_width, query_width)
        self.to_k = nn.Linear(context_width, query_width)
        self.to_v = nn.Linear(context_width, query_width)

    def forward(self, x, context):
        return self.to_q(x), self.to_k(context), self.to_v(context)


def hypernetwork_state(dim: int, structure: Sequence[float] = (1, 2, 1), seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights of a hypernetwork's linear layers, without anything between them."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for i, (a, b) in enumerate(zip(structure, structure[1:], strict=False)):
        state[f"linear.{i}.weight"] = torch.randn(int(dim * b), int(dim * a), generator=generator)
        state[f"linear.{i}.bias"] = torch.randn(int(dim * b), generator=generator)
    return state


def save_hypernetwork(path: Path, size: int = 4, **description) -> None:
    """A hypernetwork file for contexts of one width."""
    torch.save({size: (hypernetwork_state(size, seed=1), hypernetwork_state(size, seed=2)), **description}, path)


POOLED = 8
"""Width of the pooled text of tiny_xl_unet."""


def tiny_xl_unet(embeds_size: bool = False) -> nn.Module:
    """A U-Net of the XL layout with random weights: transformer blocks of other depth per level, and a vector.

    It reads 16 wide tokens. Its vector is the pooled text with six size numbers as sinusoids behind it; with
    embeds_size it makes those of the numbers by itself, with the same weights.
    """
    torchvision_ops.declare_missing()
    from diffusers import UNet2DConditionModel

    vector = POOLED + 6 * SIZE_WIDTH
    kind = (
        {"addition_embed_type": "text_time", "addition_time_embed_dim": SIZE_WIDTH}
        if embeds_size
        else {"class_embed_type": "projection"}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return (
            UNet2DConditionModel(
                block_out_channels=(8, 16),
                norm_num_groups=4,
                layers_per_block=1,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                transformer_layers_per_block=(1, 2),
                attention_head_dim=(1, 2),
                use_linear_projection=True,
                cross_attention_dim=16,
                projection_class_embeddings_input_dim=vector,
                **kind,
            )
            .eval()
            .requires_grad_(False)
        )


def tiny_xl_model(unet: nn.Module, dtype: torch.dtype = torch.float32) -> WebuiSdModel:
    """A model around a U-Net of tiny_xl_unet, which computes in dtype, without what sampling does not need."""
    family = replace(SD1, architecture="sdxl", conditioning_key="crossattn")
    alphas_cumprod = family.schedule.alphas_cumprod()
    placement = replace(Placement.from_flags(torch.device("cpu")), dtype=dtype)
    return WebuiSdModel(family, unet, nn.Identity(), nn.Identity(), alphas_cumprod, "eps", placement)
