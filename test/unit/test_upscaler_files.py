import os
from urllib.error import URLError

import pytest
import torch

from modules import shared, upscaler_files
from modules.errors import ModelLoadError, NotFound
from test.unit import tiny_upscalers


@pytest.fixture
def download(monkeypatch):
    """Downloads write their URL into the file."""
    calls = []

    def fetch(url, path, hash_prefix=None, progress=True):
        calls.append((url, hash_prefix))
        with open(path, "w") as file:
            file.write(url)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    return calls


def test_file_is_downloaded_once(tmp_path, download):
    url = "https://example.com/a/model.pth?download=1"
    path = upscaler_files.load_file_from_url(url, model_dir=str(tmp_path / "new"), hash_prefix="ab")
    assert path == str(tmp_path / "new" / "model.pth")
    assert upscaler_files.load_file_from_url(url, model_dir=str(tmp_path / "new")) == path
    assert download == [(url, "ab")]
    assert upscaler_files.load_file_from_url(url, model_dir=str(tmp_path), file_name="b.pth") == str(tmp_path / "b.pth")


def test_hub_address_can_be_replaced(tmp_path, download, monkeypatch):
    monkeypatch.setattr(shared, "hf_endpoint", "https://mirror.example")
    upscaler_files.load_file_from_url("https://huggingface.co/x/y.pth", model_dir=str(tmp_path))
    assert download == [("https://mirror.example/x/y.pth", None)]


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("invalid hash value")])
def test_failed_download_says_where_the_file_belongs(tmp_path, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(NotFound, match=r"cannot download .*model\.pth.*put the file at"):
        upscaler_files.load_file_from_url("https://example.com/model.pth", model_dir=str(tmp_path))


def test_models_are_found_by_ending_in_both_folders(tmp_path, caplog):
    for name in ("own/a.pth", "own/sub/b.pt", "own/c.txt", "own/d.vae.pth", "common/e.pth"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.symlink(tmp_path / "gone.pth", tmp_path / "own" / "link.pth")
    found = upscaler_files.load_models(
        str(tmp_path / "common"),
        model_url="https://example.com/m.pth",
        command_path=str(tmp_path / "own"),
        ext_filter=[".pth", ".pt"],
        ext_blacklist=[".vae.pth"],
    )
    assert [os.path.relpath(path, tmp_path) for path in found] == ["own/a.pth", "own/sub/b.pt", "common/e.pth"]
    assert "broken symbolic link" in caplog.text


@pytest.mark.parametrize("is_listed", [True, False])
def test_hidden_folders_are_a_setting(tmp_path, monkeypatch, is_listed):
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "model.pth").touch()
    monkeypatch.setitem(shared.opts.data, "list_hidden_files", is_listed)
    assert bool(upscaler_files.load_models(str(tmp_path), ext_filter=[".pth"])) == is_listed


def test_without_files_there_is_the_url_or_its_download(tmp_path, download):
    url = "https://example.com/m.pth"
    assert upscaler_files.load_models(str(tmp_path)) == []
    assert upscaler_files.load_models(str(tmp_path), model_url=url) == [url]
    path = str(tmp_path / "named.pth")
    assert upscaler_files.load_models(str(tmp_path), model_url=url, download_name="named.pth") == [path]
    assert upscaler_files.load_models(str(tmp_path), model_url=url, command_path=str(tmp_path)) == [path]


def test_friendly_names():
    assert upscaler_files.friendly_name("/models/ESRGAN/4x-Ultra.v2.pth") == "4x-Ultra.v2"
    assert upscaler_files.friendly_name("https://example.com/a/m.pth?x=1") == "m"


def test_network_is_loaded_ready_to_run(tmp_path, caplog):
    path = tiny_upscalers.save(tiny_upscalers.compact, tmp_path / "c.pth")
    model = upscaler_files.load_spandrel_model(path, device="cpu", dtype=torch.float64, expected_architecture="ESRGAN")
    assert not model.model.training
    assert next(model.model.parameters()).dtype == torch.float64
    assert "is RealESRGAN Compact, not ESRGAN" in caplog.text
    half = upscaler_files.load_spandrel_model(path, device="cpu", prefer_half=True)
    assert next(half.model.parameters()).dtype == torch.float16


def test_files_that_are_no_model_are_refused(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    for name in ("text.pth", "other.pth"):
        with pytest.raises(ModelLoadError, match="cannot be loaded as a model"):
            upscaler_files.load_spandrel_model(tmp_path / name, device="cpu")
    with pytest.raises(NotFound):
        upscaler_files.load_spandrel_model(tmp_path / "gone.pth", device="cpu")
