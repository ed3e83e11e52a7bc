"""Files of preview networks: found, downloaded, or done without."""

import logging
import threading

import pytest

from modules import paths, preview_files, upscaler_files
from modules.errors import NotFound

URL = "https://example.org/files/taesd.pth"


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """An empty models folder and program folder; nothing was asked for yet."""
    monkeypatch.setattr(paths, "models_path", str(tmp_path / "models"))
    monkeypatch.setattr(paths, "script_path", str(tmp_path / "program"))
    preview_files.fetch_once.cache_clear()
    yield tmp_path
    preview_files.fetch_once.cache_clear()


@pytest.fixture
def online(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")


@pytest.fixture
def downloads(monkeypatch):
    """Downloads asked for: (url, folder)."""
    asked = []

    def load(url, *, model_dir):
        asked.append((url, model_dir))
        return f"{model_dir}/taesd.pth"

    monkeypatch.setattr(upscaler_files, "load_file_from_url", load)
    return asked


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return str(path)


def test_file_is_looked_for_in_both_folders(folders):
    assert preview_files.find("VAE-taesd", URL) is None
    own = put(folders / "program" / "models" / "VAE-taesd" / "taesd.pth")
    assert preview_files.find("VAE-taesd", URL) == own
    users = put(folders / "models" / "VAE-taesd" / "taesd.pth")
    assert preview_files.find("VAE-taesd", URL) == users
    assert preview_files.find("VAE-approx", URL) is None


def test_file_that_is_there_is_not_downloaded(folders, online, downloads):
    path = put(folders / "models" / "VAE-taesd" / "taesd.pth")
    assert preview_files.get("VAE-taesd", URL) == path
    assert preview_files.find_or_fetch("VAE-taesd", URL) == path
    assert downloads == []


def test_missing_file_is_downloaded_into_the_models_folder(folders, online, downloads):
    folder = str(folders / "models" / "VAE-taesd")
    assert preview_files.get("VAE-taesd", URL) == f"{folder}/taesd.pth"
    assert downloads == [(URL, folder)]


@pytest.mark.parametrize("value", ["1", "ON", "yes", "True"])
def test_offline_environment_forbids_downloads(folders, monkeypatch, downloads, value):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    with pytest.raises(NotFound, match="HF_HUB_OFFLINE") as caught:
        preview_files.get("VAE-taesd", URL)
    assert URL in str(caught.value)
    assert str(folders / "models" / "VAE-taesd" / "taesd.pth") in str(caught.value)
    assert downloads == []


@pytest.mark.parametrize("value", ["", "0", "off", "no"])
def test_other_values_do_not(monkeypatch, value):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert not preview_files.is_offline()


def test_offline_a_missing_file_is_one_line_in_the_log(caplog, downloads):
    with caplog.at_level(logging.WARNING):
        assert preview_files.find_or_fetch("VAE-taesd", URL) is None
        assert preview_files.find_or_fetch("VAE-taesd", URL) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "previews are rough" in caplog.text


def test_preview_does_not_wait_for_the_download(folders, online, monkeypatch):
    may_finish, finished = threading.Event(), threading.Event()

    def load(url, *, model_dir):
        assert may_finish.wait(10)
        put(folders / "models" / "VAE-taesd" / "taesd.pth")
        finished.set()

    monkeypatch.setattr(upscaler_files, "load_file_from_url", load)
    assert preview_files.find_or_fetch("VAE-taesd", URL) is None
    assert not finished.is_set()
    may_finish.set()
    assert finished.wait(10)
    assert preview_files.find_or_fetch("VAE-taesd", URL).endswith("taesd.pth")


def test_download_is_tried_once(online, downloads):
    for _ in range(3):
        preview_files.find_or_fetch("VAE-taesd", URL)
    for thread in threading.enumerate():
        if thread.name == "download taesd.pth":
            thread.join(10)
    assert len(downloads) == 1


def test_failed_download_ends_quietly(online, monkeypatch, caplog):
    def fail(url, *, model_dir):
        raise NotFound("cannot download it")

    monkeypatch.setattr(upscaler_files, "load_file_from_url", fail)
    monkeypatch.setattr(preview_files.threading, "Thread", Immediately)
    with caplog.at_level(logging.WARNING):
        assert preview_files.find_or_fetch("VAE-taesd", URL) is None
    assert "previews are rough: cannot download it" in caplog.text


class Immediately:
    """A thread that runs where it is started."""

    def __init__(self, target, name, daemon):
        self.start = target
