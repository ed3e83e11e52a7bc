import pytest

from modules import modelloader, shared
from modules.esrgan_model import UpscalerESRGAN
from modules.upscaler import Upscaler, UpscalerLanczos, UpscalerNone
from test.unit import tiny_upscalers


@pytest.fixture
def models(tmp_path, monkeypatch):
    """An empty models folder, and the list of upscalers as it was afterwards."""
    monkeypatch.setattr(shared, "models_path", str(tmp_path))
    for kind in ("esrgan", "realesrgan", "dat"):
        monkeypatch.setattr(shared.cmd_opts, f"{kind}_models_path", None, raising=False)
    before = shared.sd_upscalers[:]
    yield tmp_path
    shared.sd_upscalers[:] = before


def names():
    return [data.name for data in shared.sd_upscalers]


def test_order_and_names_without_files(models):
    modelloader.load_upscalers()
    assert names() == [
        "None",
        "Lanczos",
        "Nearest",
        "DAT x2",
        "DAT x3",
        "DAT x4",
        "ESRGAN_4x",
        "R-ESRGAN 4x+",
        "R-ESRGAN 4x+ Anime6B",
        "ScuNET GAN",
        "ScuNET PSNR",
        "SwinIR 4x",
    ]


def test_files_are_listed_by_their_names(models):
    tiny_upscalers.save(tiny_upscalers.compact, models / "ESRGAN" / "a tiny one.pth")
    (models / "ScuNET").mkdir()
    (models / "ScuNET" / "ScuNET PSNR.pth").touch()
    (models / "HAT").mkdir()
    (models / "HAT" / "HAT_x4.pth").touch()
    with shared.opts.overlay({"realesrgan_enabled_models": ["R-ESRGAN 2x+"], "dat_enabled_models": []}):
        modelloader.load_upscalers()
    assert names()[3:] == ["a tiny one", "HAT_x4", "R-ESRGAN 2x+", "ScuNET PSNR", "SwinIR 4x"]
    assert shared.sd_upscalers[3].scale == 4
    assert shared.sd_upscalers[5].scale == 2


def test_all_concrete_subclasses_are_found(monkeypatch):
    class Base:
        pass

    class Abstract(Base):
        pass

    class First(Base):
        pass

    class Second(Abstract):
        pass

    monkeypatch.setattr(modelloader, "ABSTRACT", {Abstract})
    assert list(modelloader.upscaler_classes(Base)) == [Second, First]
    assert UpscalerESRGAN in modelloader.upscaler_classes(Upscaler)


def test_failing_upscaler_of_an_extension_is_reported(models, caplog, monkeypatch):
    class UpscalerBroken:
        def __init__(self, dirname):
            raise RuntimeError("broken")

    monkeypatch.setattr(modelloader, "upscaler_classes", lambda base: [UpscalerNone, UpscalerBroken, UpscalerLanczos])
    modelloader.load_upscalers()
    assert names() == ["None", "Lanczos"]
    assert "Unable to set up the upscaler UpscalerBroken" in caplog.text


def test_folder_of_the_command_line_is_searched_and_filled(models, monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "esrgan_models_path", str(models / "mine"), raising=False)
    tiny_upscalers.save(tiny_upscalers.compact, models / "mine" / "x.pth")
    modelloader.load_upscalers()
    (data,) = [data for data in shared.sd_upscalers if data.name == "x"]
    assert data.scaler.model_download_path == str(models / "mine")


def test_names_extensions_import_are_there():
    for name in ("load_file_from_url", "load_models", "friendly_name", "load_spandrel_model", "UpscalerLanczos"):
        assert hasattr(modelloader, name)
