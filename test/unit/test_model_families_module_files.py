"""Files of VAEs and text encoders: what is in them, and which module of a family each is for."""

import pytest

from modules.model_families import SD1, SD2, SDXL, VAE, module_files
from modules.model_families.module_files import ModuleWeights, Source

LAYER = "text_model.encoder.layers.0.mlp.fc1.weight"
OPEN_CLIP = "transformer.resblocks.0.mlp.c_fc.weight"


def of(kind, width, prefix=""):
    return [ModuleWeights(kind, prefix, width)]


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({LAYER: (3072, 768)}, of("clip", 768)),
        ({f"cond_stage_model.transformer.{LAYER}": (3072, 768)}, of("clip", 768, "cond_stage_model.transformer.")),
        ({OPEN_CLIP: (5120, 1280), f"visual.{OPEN_CLIP}": (1, 1)}, of("clip", 1280)),
        ({"encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}, of("t5", 4096)),
        ({"first_stage_model.decoder.conv_in.weight": (512, 16, 3, 3)}, of(VAE, 16, "first_stage_model.")),
        ({"vision_model.encoder.layers.0.mlp.fc1.weight": (4, 4), "xdecoder.conv_in.weight": (1, 1)}, []),
    ],
)
def test_contents(shapes, expected):
    assert module_files.contents(shapes) == expected


def test_full_sized_encoders_are_told_by_their_width():
    files = [of("clip", 1280), of("t5", 4096), of(VAE, 4), of("clip", 768)]
    assert module_files.chosen(SDXL, files) == {VAE: Source(2, ""), "clip_g": Source(0, ""), "clip_l": Source(3, "")}
    assert module_files.chosen(SD1, files) == {VAE: Source(2, ""), "clip_l": Source(3, "")}
    assert module_files.chosen(SD2, files) == {VAE: Source(2, "")}


def test_other_widths_go_by_their_order():
    wide, narrow = of("clip", 64), of("clip", 32)
    assert module_files.chosen(SDXL, [wide, narrow]) == {"clip_l": Source(1, ""), "clip_g": Source(0, "")}
    assert module_files.chosen(SDXL, [wide]) == {"clip_l": Source(0, "")}
    assert module_files.chosen(SDXL, [wide], own=["clip_l"]) == {"clip_g": Source(0, "")}
    assert module_files.chosen(SDXL, [wide, of("clip", 768)]) == {"clip_l": Source(1, ""), "clip_g": Source(0, "")}


def test_the_last_vae_of_these_latents_counts():
    files = [of(VAE, 4), of(VAE, 4, "first_stage_model."), of(VAE, 16)]
    assert module_files.chosen(SD1, files) == {VAE: Source(1, "first_stage_model.")}
