import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from modules import shared, upscaler_utils


class Doubler(nn.Module):
    """Repeats every pixel, and notes the size of what it is given."""

    def __init__(self, offset=0.0):
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(offset))
        self.sizes = []

    def forward(self, x):
        self.sizes.append(tuple(x.shape[-2:]))
        return x.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2) + self.offset


@pytest.fixture
def image():
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(0, 256, (40, 52, 3), dtype=np.uint8))


def doubled(image):
    return np.asarray(image).repeat(2, axis=0).repeat(2, axis=1)


def test_tensors_are_bgr_and_back(image):
    tensor = upscaler_utils.pil_image_to_torch_bgr(image)
    assert tensor.shape == (3, 40, 52)
    assert tensor[0, 0, 0] == image.getpixel((0, 0))[2] / 255
    assert np.array_equal(np.asarray(upscaler_utils.torch_bgr_to_pil_image(tensor[None])), np.asarray(image))


def test_values_outside_are_clipped_and_rounded():
    tensor = torch.tensor([-1.0, 2.0, 0.4999])[:, None, None]
    assert upscaler_utils.torch_bgr_to_pil_image(tensor).getpixel((0, 0)) == (127, 255, 0)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 4, 4), (3, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="does not describe"):
        upscaler_utils.torch_bgr_to_pil_image(torch.zeros(shape))


@pytest.mark.parametrize("tile", [0, 16, 40, 64])
def test_tiles_give_the_same_as_the_whole(image, tile):
    model = Doubler()
    enlarged = upscaler_utils.upscale_with_model(model, image, tile_size=tile, tile_overlap=8)
    assert np.array_equal(np.asarray(enlarged), doubled(image))
    assert set(model.sizes) == {(tile, tile) if tile else (40, 52)}


@pytest.mark.parametrize("tile", [0, 16, 64])
def test_averaged_tiles_give_the_same_as_the_whole(image, tile):
    model = Doubler()
    enlarged = upscaler_utils.upscale_2(image, model, tile_size=tile, tile_overlap=8, scale=2, desc="x")
    assert np.array_equal(np.asarray(enlarged), doubled(image))
    assert set(model.sizes) == {(40, 52) if tile == 0 else (min(tile, 40),) * 2}


def test_overlaps_are_averaged():
    class Counter(Doubler):
        def forward(self, x):
            super().forward(x)
            return torch.full_like(x, float(len(self.sizes)))

    result = upscaler_utils.tiled_upscale_2(
        torch.zeros(1, 3, 4, 6),
        Counter(),
        tile_size=4,
        tile_overlap=2,
        scale=1,
        device=torch.device("cpu"),
    )
    assert result[0, 0, 0].tolist() == [1, 1, 1.5, 1.5, 2, 2]


def test_interrupt_returns_the_picture_itself(image, monkeypatch):
    monkeypatch.setattr(shared.state, "interrupted", True)
    assert upscaler_utils.upscale_with_model(Doubler(), image, tile_size=16, tile_overlap=4) is image
    assert upscaler_utils.upscale_2(image, Doubler(), tile_size=16, tile_overlap=4, scale=2, desc="x") is image


def test_type_of_the_weights_is_the_type_of_the_input(image):
    model = Doubler().to(torch.bfloat16)
    assert upscaler_utils.upscale_pil_patch(model, image).size == (104, 80)


@pytest.mark.parametrize("is_shown", [True, False])
def test_setting_shows_the_progress(image, capsys, is_shown):
    with shared.opts.overlay({"enable_upscale_progressbar": is_shown}):
        upscaler_utils.upscale_with_model(Doubler(), image, tile_size=40, tile_overlap=8, desc="whole or not")
        upscaler_utils.upscale_2(image, Doubler(), tile_size=40, tile_overlap=8, scale=2, desc="averaged tiles")
    shown = capsys.readouterr().err
    assert ("whole or not" in shown) is is_shown
    assert ("averaged tiles" in shown) is is_shown


@pytest.mark.parametrize("overlap", [0, 8, 15, 40])
def test_every_pixel_is_covered_whatever_the_overlap(image, overlap):
    enlarged = upscaler_utils.upscale_2(image, Doubler(), tile_size=16, tile_overlap=overlap, scale=2, desc="x")
    assert np.array_equal(np.asarray(enlarged), doubled(image))


def test_skipping_ends_averaged_tiles_too(image, monkeypatch):
    monkeypatch.setattr(shared.state, "skipped", True)
    assert upscaler_utils.upscale_2(image, Doubler(), tile_size=16, tile_overlap=4, scale=2, desc="x") is image


def test_grey_and_transparent_images_are_taken_as_rgb():
    for mode in ("L", "RGBA", "P"):
        enlarged = upscaler_utils.upscale_pil_patch(Doubler(), Image.new(mode, (4, 2)))
        assert (enlarged.mode, enlarged.size) == ("RGB", (8, 4))


def test_weight_is_found_inside_a_descriptor():
    class Descriptor:
        model = Doubler(0.25)

    assert upscaler_utils.parameter_of(Descriptor()).item() == 0.25
    assert upscaler_utils.parameter_of(Doubler(0.5)).item() == 0.5


def test_batch_of_several_is_no_image():
    with pytest.raises(ValueError, match="BCHW tensor of one image"):
        upscaler_utils.torch_bgr_to_pil_image(torch.zeros(2, 3, 4, 4))
