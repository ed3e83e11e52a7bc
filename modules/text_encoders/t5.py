"""engine: T5's encoder (Raffel et al. 2020, arXiv:1910.10683) as transformers has it.

Its vocabulary, tokenizer.json, is no part of the program: it is found in the models folder or downloaded into it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from modules import preview_files, torchvision_ops
from modules.errors import ModelLoadError, NotFound
from modules.model_families import Shapes, TextEncoder, shapes
from modules.sd_disable_initialization import InitializeOnMeta
from modules.text_encoders.base import Encoded, Kind, TextNetwork
from modules.weights import StateDict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast
    from transformers.models.t5.modeling_t5 import T5Stack

FOLDER = "text_encoder"
VOCABULARY_URL = "https://huggingface.co/google-t5/t5-base/resolve/main/tokenizer.json"
"""All sizes of T5, and those of version 1.1 too, have this one."""


class T5Transformer(torch.nn.Module):
    """An encoder under the name that checkpoints and networks for them know: `encoder`."""

    def __init__(self, encoder: T5Stack):
        super().__init__()
        self.encoder = encoder


class T5Network(TextNetwork):
    """T5's encoder; its parameters have their names in checkpoints, `transformer.encoder.*`.

    It reads a text of any length, with one token that ends it.
    """

    is_chunked = False
    id_end = 1
    id_pad = 0

    def __init__(self, facts: TextEncoder, encoder: T5Stack, tokenizer: PreTrainedTokenizerFast):
        super().__init__(facts, tokenizer)
        self.transformer = T5Transformer(encoder)
        self.layers = encoder.config.num_layers
        self.width = encoder.config.d_model

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Returns the token ids of each text, without the token that ends it."""
        return self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]

    def encode(self, tokens: torch.Tensor, layer: int | None = None) -> Encoded:
        """Encodes token ids (B, T), all of which are looked at, those behind the end too."""
        return Encoded(self.transformer.encoder(input_ids=tokens).last_hidden_state)

    def token_embedding(self) -> torch.nn.Module:
        """Returns the layer that turns token ids (B, T) into vectors (B, T, width)."""
        return self.transformer.encoder.embed_tokens

    def set_token_embedding(self, layer: torch.nn.Module) -> None:
        """Puts a layer in the place of the token embedding."""
        self.transformer.encoder.embed_tokens = layer


def read_tokenizer(facts: TextEncoder) -> Any:
    """Returns the tokenizer. Raises ModelLoadError if its vocabulary is not there and cannot be had."""
    from transformers import PreTrainedTokenizerFast

    try:
        path = preview_files.get(os.path.join(FOLDER, facts.tokenizer), VOCABULARY_URL)
    except NotFound as e:
        raise ModelLoadError(f"T5 needs its vocabulary, or turn off the setting {facts.enabled_by}: {e}") from e
    return PreTrainedTokenizerFast(tokenizer_file=path)


def build(facts: TextEncoder, found: Shapes) -> T5Network:
    """Makes the network of these shapes, without weights. Raises UnreadableShapes, and ModelLoadError as above."""
    torchvision_ops.declare_missing()
    from transformers import T5Config, T5EncoderModel

    config = T5Config(**shapes.t5_config(found, facts.prefix))
    tokenizer = read_tokenizer(facts)
    with InitializeOnMeta():
        return T5Network(facts, T5EncoderModel(config).encoder, tokenizer)


def convert(facts: TextEncoder, tensors: StateDict) -> StateDict:
    """Takes weights from the keys of their file to the names of the network's parameters."""
    bare = {key.removeprefix(facts.prefix): tensor for key, tensor in tensors.items()}
    shared = bare.pop("shared.weight", None)
    if shared is not None:
        bare["encoder.embed_tokens.weight"] = shared
    return {"transformer." + key: tensor for key, tensor in bare.items()}


KIND = Kind(build, convert)
