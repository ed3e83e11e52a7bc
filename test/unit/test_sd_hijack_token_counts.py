"""What the token counter says of prompts, for each family of models."""

import pytest

from modules import checkpoints, model_load
from modules.sd_hijack import model_hijack

KINDS = ("sd2", "sdxl", "sdxl-refiner", "sd3")

LONG = "cat " * 70 + ", a red apple on the white table"
"""78 tokens; what is behind its comma fits no more into the first 75."""

TEXTS = {"": 0, "a cat": 2, "a (red:1.3) cat": 3, "cat " * 75: 75, "cat " * 76: 76, "a BREAK cat": 76}
"""Prompt -> tokens, up to the last one of the chunk it ends in."""

LONG_TOKENS = {"sd1": 75 + 7, "sd2": 75 + 7, "sdxl": 75 + 7, "sdxl-refiner": 75 + 7, "sd3": 78}
"""Family -> tokens of the long prompt: where commas count the phrase behind one is not cut, but begins a chunk."""


@pytest.mark.usefixtures("loaded_program")
@pytest.mark.parametrize("kind", ["sd1", *KINDS])
def test_counts(files, kind):
    path = checkpoints.embedded_checkpoint if kind == "sd1" else files[0] / f"tiny-{kind}.safetensors"
    prepared = model_load.prepare(str(path), {})
    networks = [network.module for network in prepared.encoders.values()]
    encoder = model_load.prompt_encoder(prepared.family, networks, prepared.denoiser.module.config)
    expected = {**TEXTS, LONG: LONG_TOKENS[kind]}
    for reader in (encoder, model_load.token_reader(model_load.family_of(str(path)))):
        said = {text: model_hijack.get_prompt_lengths(text, reader) for text in expected}
        assert said == {text: (count, 150 if count > 75 else 75) for text, count in expected.items()}
