"""The upscalers that ship, each with a tiny network of its real architecture."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from modules import (
    dat_model,
    devices,
    esrgan_model,
    hat_model,
    realesrgan_model,
    scunet_model,
    shared,
    shared_items,
    swinir_model,
    upscaler_files,
)
from test.unit import tiny_upscalers

# Upscaler class, network, file in its folder, size of an enlarged 20x24 picture
CASES = [
    (esrgan_model.UpscalerESRGAN, tiny_upscalers.esrgan, "ESRGAN/m.pth", (80, 96)),
    (esrgan_model.UpscalerESRGAN, tiny_upscalers.compact, "ESRGAN/m.pth", (80, 96)),
    (realesrgan_model.UpscalerRealESRGAN, tiny_upscalers.esrgan, "RealESRGAN/RealESRGAN_x4plus.pth", (80, 96)),
    (dat_model.UpscalerDAT, tiny_upscalers.dat, "DAT/m.pth", (40, 48)),
    (hat_model.UpscalerHAT, tiny_upscalers.hat, "HAT/m.pth", (80, 96)),
    (swinir_model.UpscalerSwinIR, tiny_upscalers.swinir, "SwinIR/m.pth", (80, 96)),
    (scunet_model.UpscalerScuNET, tiny_upscalers.scunet, "ScuNET/m.pth", (20, 24)),
]
IMAGE = Image.linear_gradient("L").resize((20, 24)).convert("RGB")

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid")


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "models_path", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("cls", "network", "file", "size"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_network_enlarges(models, cls, network, file, size):
    tiny_upscalers.save(network, models / file)
    with shared.opts.overlay({"ESRGAN_tile": 16, "DAT_tile": 16, "SWIN_tile": 16, "SCUNET_tile": 16}):
        upscaler = cls(None)
        data = upscaler.scalers[0]
        enlarged = upscaler.do_upscale(IMAGE, data.data_path)
    assert enlarged.size == size
    assert enlarged.mode == "RGB"
    assert upscaler.upscale(IMAGE, 2, data.data_path).size == (40, 48)


@pytest.mark.parametrize("cls", dict.fromkeys(case[0] for case in CASES))
def test_model_that_cannot_be_had_leaves_the_picture(models, cls, caplog, monkeypatch):
    def fail(url, **kwargs):
        raise upscaler_files.NotFound(f"cannot download {url}")

    monkeypatch.setattr(upscaler_files, "load_file_from_url", fail)
    upscaler = cls(None)
    path = upscaler.scalers[0].data_path if upscaler.scalers else "gone.pth"
    assert upscaler.do_upscale(IMAGE, path) is IMAGE
    assert f"Unable to load {cls.name} model" in caplog.text


def test_download_keeps_the_name_of_its_entry(models, monkeypatch):
    def fetch(url, *, model_dir, file_name):
        return str(tiny_upscalers.save(tiny_upscalers.esrgan, models / model_dir / file_name))

    monkeypatch.setattr(upscaler_files, "load_file_from_url", fetch)
    upscaler = esrgan_model.UpscalerESRGAN(None)
    assert [data.name for data in upscaler.scalers] == ["ESRGAN_4x"]
    assert upscaler.do_upscale(IMAGE, upscaler.model_url).size == (80, 96)
    assert [data.name for data in esrgan_model.UpscalerESRGAN(None).scalers] == ["ESRGAN_4x"]


def test_missing_real_esrgan_model_is_downloaded_under_its_own_name(models, monkeypatch):
    asked = []

    def fetch(url, *, model_dir):
        asked.append((url, model_dir))
        return str(tiny_upscalers.save(tiny_upscalers.esrgan, models / "d.pth"))

    monkeypatch.setattr(upscaler_files, "load_file_from_url", fetch)
    upscaler = realesrgan_model.UpscalerRealESRGAN(None)
    data = upscaler.scalers[0]
    upscaler.do_upscale(IMAGE, data.data_path)
    assert asked == [(data.data_path, str(models / "RealESRGAN"))]


def test_swinir_keeps_its_last_model(models):
    path = str(tiny_upscalers.save(tiny_upscalers.swinir, models / "SwinIR" / "m.pth"))
    upscaler = swinir_model.UpscalerSwinIR(None)
    assert upscaler.load_model(path) is upscaler.load_model(path)
    assert not upscaler.prefers_half()
    with shared.opts.overlay({"SWIN_torch_compile": True}):
        compiled = upscaler.load_model(path)
    assert compiled is not upscaler.load_model(path)


def test_half_precision_follows_the_command_line(models, monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "no_half", False)
    assert dat_model.UpscalerDAT(None).prefers_half()
    assert realesrgan_model.UpscalerRealESRGAN(None).prefers_half()
    monkeypatch.setattr(shared.cmd_opts, "upcast_sampling", True)
    assert not dat_model.UpscalerDAT(None).prefers_half()
    assert not esrgan_model.UpscalerESRGAN(None).prefers_half()


def test_settings_choose_among_all_names():
    assert shared_items.dat_models_names() == ["DAT x2", "DAT x3", "DAT x4"]
    assert shared_items.realesrgan_models_names()[-1] == "R-ESRGAN 2x+"
    assert devices.get_device_for("esrgan") == devices.cpu


# Upscaler class -> start of the names of the settings of its tiles
TILES = {
    esrgan_model.UpscalerESRGAN: "ESRGAN",
    realesrgan_model.UpscalerRealESRGAN: "ESRGAN",
    hat_model.UpscalerHAT: "ESRGAN",
    dat_model.UpscalerDAT: "DAT",
    swinir_model.UpscalerSwinIR: "SWIN",
    scunet_model.UpscalerScuNET: "SCUNET",
}
AVERAGING = {swinir_model.UpscalerSwinIR, scunet_model.UpscalerScuNET}


class Numbering(nn.Module):
    """Paints its first tile with 1/10, the second with 2/10 and so on, and notes their sizes."""

    scale = 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.sizes = []

    def forward(self, x):
        self.sizes.append(tuple(x.shape[-2:]))
        return torch.full_like(x, len(self.sizes) / 10)


def all_tiles(size, overlap):
    """Settings of all upscalers' tiles."""
    names = set(TILES.values())
    return {f"{name}_tile": size for name in names} | {f"{name}_tile_overlap": overlap for name in names}


@pytest.mark.parametrize("cls", TILES)
def test_each_has_tiles_of_its_own_settings(models, cls):
    network, prefix = Numbering(), TILES[cls]
    with shared.opts.overlay(all_tiles(64, 0) | {f"{prefix}_tile": 32, f"{prefix}_tile_overlap": 0}):
        enlarged = cls(None).apply(network, Image.new("RGB", (64, 32)))
    assert network.sizes == [(32, 32)] * 2
    assert [enlarged.getpixel((x, 16))[0] for x in (0, 31, 32, 63)] == [26, 26, 51, 51]


@pytest.mark.parametrize("cls", TILES)
def test_overlapping_tiles_are_averaged_or_fade(models, cls):
    with shared.opts.overlay(all_tiles(32, 16)):
        enlarged = cls(None).apply(Numbering(), Image.new("RGB", (48, 32)))
    between = np.asarray(enlarged)[16, 16:32, 0]
    if cls in AVERAGING:
        assert set(between.tolist()) == {38}
    else:
        assert between.tolist() == sorted(between.tolist())
        assert between[0] <= 28 and between[-1] >= 48


@pytest.mark.parametrize("cls", TILES)
def test_tile_of_no_size_is_the_whole_image(models, cls):
    network = Numbering()
    with shared.opts.overlay(all_tiles(0, 0)):
        cls(None).apply(network, Image.new("RGB", (48, 32)))
    assert network.sizes == [(32, 48)]


def test_tiles_are_those_of_the_moment_an_image_comes(models):
    upscaler = dat_model.UpscalerDAT(None)
    counts = []
    for size in (16, 32):
        network = Numbering()
        with shared.opts.overlay({"DAT_tile": size, "DAT_tile_overlap": 0}):
            upscaler.apply(network, Image.new("RGB", (32, 32)))
        counts.append(len(network.sizes))
    assert counts == [4, 1]


def test_attributes_that_extensions_read_are_the_settings_of_esrgan(models):
    with shared.opts.overlay({"ESRGAN_tile": 48, "ESRGAN_tile_overlap": 4, "DAT_tile": 16}):
        upscaler = dat_model.UpscalerDAT(None)
    assert (upscaler.tile_size, upscaler.tile_pad) == (48, 4)


def test_function_of_esrgan_that_extensions_call(models):
    network = Numbering()
    with shared.opts.overlay({"ESRGAN_tile": 16, "ESRGAN_tile_overlap": 0}):
        enlarged = esrgan_model.esrgan_upscale(network, Image.new("RGB", (32, 16)))
    assert (enlarged.size, len(network.sizes)) == ((32, 16), 2)


@pytest.mark.parametrize(
    ("cls", "setting", "names"),
    [
        (dat_model.UpscalerDAT, "dat_enabled_models", ["DAT x3"]),
        (dat_model.UpscalerDAT, "dat_enabled_models", []),
        (realesrgan_model.UpscalerRealESRGAN, "realesrgan_enabled_models", ["R-ESRGAN 2x+", "R-ESRGAN AnimeVideo"]),
    ],
)
def test_only_enabled_models_are_offered(models, cls, setting, names):
    with shared.opts.overlay({setting: names}):
        assert sorted(data.name for data in cls(None).scalers) == sorted(names)


def test_scunet_always_offers_both_of_its_models(models):
    assert [data.name for data in scunet_model.UpscalerScuNET(None).scalers] == ["ScuNET GAN", "ScuNET PSNR"]
    tiny_upscalers.save(tiny_upscalers.scunet, models / "ScuNET" / "mine.pth")
    assert [data.name for data in scunet_model.UpscalerScuNET(None).scalers] == ["mine", "ScuNET PSNR"]


def test_hat_has_no_model_to_download(models):
    assert hat_model.UpscalerHAT(None).scalers == []


def test_local_model_takes_the_place_of_a_downloadable_one(models):
    path = tiny_upscalers.save(tiny_upscalers.dat, models / "DAT" / "DAT x2.pth")
    with shared.opts.overlay({"dat_enabled_models": ["DAT x2", "DAT x4"]}):
        found = {data.name: data.data_path for data in dat_model.UpscalerDAT(None).scalers}
    assert found["DAT x2"] == str(path)
    assert found["DAT x4"].startswith("https://")
