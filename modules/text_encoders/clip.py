"""engine: CLIP's text encoder as transformers has it, from files in its layout and in OpenCLIP's."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from modules import torchvision_ops
from modules.model_families import Shapes, TextEncoder, shapes
from modules.paths_internal import embedded_dir
from modules.sd_disable_initialization import InitializeOnMeta
from modules.text_encoders.base import Encoded, Kind, TextNetwork
from modules.weights import StateDict

if TYPE_CHECKING:
    from transformers import CLIPTextModel
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    from modules.text_encoders.clip_tokenizer import Tokenizer


class ClipTransformer(torch.nn.Module):
    """A text model under the name that checkpoints and networks for them know: `text_model`."""

    name_or_path = "openai/clip-vit-large-patch14"
    """Where v1.10.1 has the first encoder from, which extensions look for the rest of CLIP by."""

    def __init__(self, text_model: CLIPTextModel):
        super().__init__()
        self.text_model = text_model
        self.text_projection: torch.nn.Linear | None = None

    def forward(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Calls the text model."""
        return self.text_model(*args, **kwargs)


class ClipTokens(TextNetwork):
    """What CLIP makes of texts before it encodes them: as long as its layers are not there, all that it does."""

    max_length = 77

    def __init__(self, facts: TextEncoder, tokenizer: Tokenizer):
        super().__init__(facts, tokenizer)
        self.comma_token = tokenizer.backend_tokenizer.token_to_id(",</w>")
        self.id_start = tokenizer.bos_token_id
        self.id_end = tokenizer.eos_token_id
        self.id_pad = self.id_end if facts.pad_token is None else facts.pad_token

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """As CLIP was trained: with broken encodings, curly quotes, full-width letters and HTML entities repaired."""
        import ftfy  # not needed before the first prompt

        # The tokenizer's own lower case, character by character, knows no final sigma.
        repaired = [ftfy.fix_text(text).lower() for text in texts]
        return self.tokenizer(repaired, add_special_tokens=False, verbose=False)["input_ids"]


class ClipNetwork(ClipTokens):
    """CLIP; its parameters have their names in SD1 checkpoints, `transformer.text_model.*`.

    layer: which is read by default, 1 for the last: that of the row, or the same in a file without the last layer.
    """

    def __init__(self, facts: TextEncoder, text_model: CLIPTextModel, tokenizer: Tokenizer):
        super().__init__(facts, tokenizer)
        self.transformer = ClipTransformer(text_model)
        config = text_model.config
        if facts.projection:
            self.transformer.text_projection = torch.nn.Linear(config.hidden_size, config.projection_dim, bias=False)
        self.layers = config.num_hidden_layers
        self.layer = facts.layer - 1 if self.layers == facts.cut_layers else facts.layer
        self.width = config.hidden_size
        if facts.pooled:
            self.pooled_width = config.projection_dim if facts.projection else config.hidden_size

    def encode(self, tokens: torch.Tensor, layer: int | None = None) -> Encoded:
        """Encodes token ids (B, 77); an earlier layer goes through the final norm if the row says so."""
        layer = self.layer if layer is None else layer
        is_plain = layer == 1 and self.facts.final_norm
        output = self.transformer(input_ids=tokens, output_hidden_states=not is_plain)
        return Encoded(
            output.last_hidden_state if is_plain else self._hidden(output, layer),
            self._pooled(output) if self.facts.pooled else None,
        )

    def _hidden(self, output: BaseModelOutputWithPooling, layer: int) -> torch.Tensor:
        hidden = output.hidden_states[-layer]
        return self.transformer.text_model.final_layer_norm(hidden) if self.facts.final_norm else hidden

    def _pooled(self, output: BaseModelOutputWithPooling) -> torch.Tensor:
        """Returns the last layer's vector of each text's end token, whatever layer the tokens are read from."""
        project = self.transformer.text_projection
        return output.pooler_output if project is None else project(output.pooler_output)

    def token_embedding(self) -> torch.nn.Module:
        """Returns the layer that turns token ids (B, T) into vectors (B, T, width)."""
        return self.transformer.text_model.embeddings.token_embedding

    def set_token_embedding(self, layer: torch.nn.Module) -> None:
        """Puts a layer in the place of the token embedding."""
        self.transformer.text_model.embeddings.token_embedding = layer


class OpenClipNetwork(ClipNetwork):
    """CLIP whose checkpoints have OpenCLIP's names; `model` has them too, over the layers of transformers."""

    @property
    def model(self) -> SimpleNamespace:
        """The text model under OpenCLIP's names."""
        text, project = self.transformer.text_model, self.transformer.text_projection
        return SimpleNamespace(
            token_embedding=text.embeddings.token_embedding,
            positional_embedding=text.embeddings.position_embedding.weight,
            transformer=SimpleNamespace(resblocks=[open_clip_block(layer) for layer in text.encoder.layers]),
            ln_final=text.final_layer_norm,
            text_projection=None if project is None else project.weight.T,
        )


def open_clip_block(layer: torch.nn.Module) -> SimpleNamespace:
    """Returns the parts of a layer of transformers under OpenCLIP's names."""
    mlp = SimpleNamespace(c_fc=layer.mlp.fc1, gelu=layer.mlp.activation_fn, c_proj=layer.mlp.fc2)
    return SimpleNamespace(ln_1=layer.layer_norm1, attn=layer.self_attn, ln_2=layer.layer_norm2, mlp=mlp)


def tokenizer_dir(facts: TextEncoder) -> str:
    """Returns the folder of an encoder's vocabulary."""
    return os.path.join(embedded_dir, facts.tokenizer)


@functools.cache
def tokenizer_in(folder: str) -> Tokenizer:
    """Returns the tokenizer of a vocabulary, one for all encoders: to read it takes longer than to make a network."""
    from modules.text_encoders.clip_tokenizer import Tokenizer

    return Tokenizer.from_pretrained(folder)


def tokens_of(facts: TextEncoder) -> ClipTokens:
    """Returns what cuts texts as an encoder does, without the encoder."""
    return ClipTokens(facts, tokenizer_in(tokenizer_dir(facts)))


def build(facts: TextEncoder, found: Shapes) -> ClipNetwork:
    """Makes the network of these shapes, without weights. Raises UnreadableShapes."""
    torchvision_ops.declare_missing()
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(**shapes.clip_config(found, facts))
    tokenizer = tokenizer_in(tokenizer_dir(facts))
    kind = OpenClipNetwork if facts.prefix.endswith(".model.") else ClipNetwork
    with InitializeOnMeta():
        network = kind(facts, CLIPTextModel(config), tokenizer)
    # Not among the weights: which row of the position embedding belongs to which token.
    positions = torch.arange(config.max_position_embeddings)[None]
    network.transformer.text_model.embeddings.position_ids = positions
    return network


OPEN_CLIP_NAMES = {
    "token_embedding.": "text_model.embeddings.token_embedding.",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.": "text_model.final_layer_norm.",
    "transformer.resblocks.": "text_model.encoder.layers.",
    ".ln_1.": ".layer_norm1.",
    ".ln_2.": ".layer_norm2.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
    ".attn.": ".self_attn.",
}
"""Parts of names in OpenCLIP's layout -> in transformers'."""

FUSED = ".self_attn.in_proj_"
"""Stands before "weight" and "bias" of queries, keys and values, one above the other."""


def convert(facts: TextEncoder, tensors: StateDict) -> StateDict:
    """Takes weights from the keys of their file, in either layout, to the names of the network's parameters."""
    bare = {key.removeprefix(facts.prefix): tensor for key, tensor in tensors.items()}
    if "positional_embedding" in bare:
        bare = from_open_clip(bare)
    return {"transformer." + key: tensor for key, tensor in bare.items()}


def from_open_clip(tensors: StateDict, names: Mapping[str, str] = OPEN_CLIP_NAMES) -> StateDict:
    """Takes weights from OpenCLIP's names to transformers', which keeps queries, keys and values apart.

    names: parts of names there -> here.
    """
    converted = {}
    for key, tensor in tensors.items():
        name = key
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        if key == "text_projection":
            converted["text_projection.weight"] = tensor.T
        elif FUSED in name:
            layer, _, leaf = name.partition(FUSED)
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                converted[f"{layer}.self_attn.{letter}_proj.{leaf}"] = part
        else:
            converted[name] = tensor
    return converted


KIND = Kind(build, convert)
