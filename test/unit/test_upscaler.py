from dataclasses import FrozenInstanceError

import pytest
from PIL import Image

from modules import shared
from modules.upscaler import (
    Tiles,
    Upscaler,
    UpscalerData,
    UpscalerLanczos,
    UpscalerNearest,
    UpscalerNone,
    UpscalerSettings,
)

IMAGE = Image.new("RGB", (30, 20))


class Recorder(Upscaler):
    """Enlarges by its own factor and notes what it was given."""

    name = "Recorder"

    def __init__(self, factor):
        super().__init__()
        self.factor = factor
        self.calls = []

    def do_upscale(self, img, selected_model):
        self.calls.append((img.size, selected_model))
        return img.resize((int(img.width * self.factor), int(img.height * self.factor)))


@pytest.mark.parametrize(
    ("factor", "scale", "passes", "size"),
    [
        (4, 2, 1, (56, 40)),
        (2, 4, 2, (120, 80)),
        (2, 16, 3, (480, 320)),
        (1, 2, 1, (56, 40)),
        (2, 1, 1, (24, 16)),
        (2, 0.5, 0, (8, 8)),
    ],
)
def test_passes_until_large_enough(factor, scale, passes, size):
    upscaler = Recorder(factor)
    assert upscaler.upscale(IMAGE, scale, "model").size == size
    assert len(upscaler.calls) == passes
    assert all(model == "model" for _, model in upscaler.calls)


def test_interrupt_leaves_the_rest_to_plain_resizing(monkeypatch):
    monkeypatch.setattr(shared.state, "interrupted", True)
    upscaler = Recorder(4)
    assert upscaler.upscale(IMAGE, 2).size == (56, 40)
    assert upscaler.calls == []


@pytest.mark.parametrize("cls", [UpscalerNone, UpscalerLanczos, UpscalerNearest])
def test_built_in_ones_offer_themselves(cls):
    (data,) = cls(None).scalers
    assert (data.name, data.data_path, data.scale) == (cls.name, None, 4)
    assert data.scaler.upscale(IMAGE, 2).size == (56, 40)
    assert data.scaler.load_model("x") is None


def test_nearest_keeps_colours_and_none_the_picture():
    checks = Image.new("L", (8, 8))
    checks.putpixel((1, 1), 255)
    assert set(UpscalerNearest().do_upscale(checks).tobytes()) == {0, 255}
    assert UpscalerNone().upscale(checks, 1) is checks


def test_folder_is_named_after_the_upscaler(tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "models_path", str(tmp_path))

    class Named(Upscaler):
        name = "Some"

    upscaler = Named(create_dirs=True)
    assert upscaler.model_path == str(tmp_path / "Some")
    (tmp_path / "Some" / "a.pth").touch()
    assert upscaler.find_models(ext_filter=[".pth"]) == [str(tmp_path / "Some" / "a.pth")]


def test_data_describes_itself():
    data = UpscalerData("n", "p", UpscalerNone(), 2)
    assert repr(data) == "<UpscalerData name=n path=p scale=2>"
    assert data.local_data_path == "p"


def test_settings_are_read_when_they_are_asked_for_and_frozen():
    with shared.opts.overlay({"DAT_tile": 48, "DAT_tile_overlap": 4, "dat_enabled_models": ["DAT x2"]}):
        read = UpscalerSettings.from_opts(shared.opts)
    assert read.tiles("DAT") == Tiles(size=48, overlap=4)
    assert read.dat_enabled_models == ["DAT x2"]
    assert UpscalerSettings.from_opts(shared.opts).tiles("DAT") == (192, 8)
    with pytest.raises(FrozenInstanceError):
        read.DAT_tile = 0
