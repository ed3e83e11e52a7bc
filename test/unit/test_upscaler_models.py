"""The upscalers that ship, each with a tiny network of its real architecture."""

import pytest
from PIL import Image

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
