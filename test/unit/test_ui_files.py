import os

import pytest
from gradio.data_classes import _StaticFiles
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from modules import extensions, shared, ui_files
from modules.paths_internal import default_output_dir, extensions_dir, models_path, script_path
from modules.shared_options import OUTPUT_FOLDERS


def write(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def result(path, text="a cat\nSteps: 1, Sampler: Euler, Seed: 1"):
    """Writes an image as a job does, and returns its path."""
    info = PngInfo()
    info.add_text("parameters", text)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return str(path)


@pytest.fixture
def in_data(program, data_dir):
    """Gives the path of a file below the data folder, written for one test if it is not there."""
    written = []

    def make(name):
        path = data_dir / name
        if path.exists():
            return str(path)
        written.append(path)
        return write(path)

    yield make
    for path in written:
        path.unlink(missing_ok=True)


@pytest.fixture
def settings():
    """Settings for one test."""
    before = dict(shared.opts.data)
    yield shared.opts.data
    shared.opts.data.clear()
    shared.opts.data.update(before)


@pytest.fixture
def allow(monkeypatch):
    """Sets --gradio-allowed-path for one test."""
    return lambda *paths: monkeypatch.setattr(shared.cmd_opts, "gradio_allowed_path", [str(path) for path in paths])


@pytest.mark.parametrize("name", ["script.js", "javascript/ui.js", f"{script_path}/javascript/ui.js"])
def test_scripts_and_styles_of_the_program_are_sent(program, name):
    found = ui_files.find(name)
    assert found.is_code and found.is_inline and "Content-Security-Policy" not in found.headers()
    assert found.media_type in ("text/javascript", "text/css")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "webui.py",
        "modules/shared.py",
        "modules/Roboto-Regular.ttf",
        "requirements_versions.txt",
        ".gitignore",
        ".git/config",
        "javascript",
        "javascript/none.js",
        "javascript/../webui.py",
        "javascript/../style.css",
        "../etc/passwd",
        "/etc/passwd",
        "//etc/passwd",
        "\\\\host\\share\\picture.png",
        "//host/share/picture.png",
        "style.css\x00.png",
        "style.css\n",
        "http://example.org/a.png",
    ],
)
def test_all_else_of_the_program_and_the_machine_is_not(program, name):
    assert ui_files.find(name) is None


@pytest.mark.parametrize(
    ("name", "is_sent"),
    [
        ("outputs/a/1.png", True),
        ("outputs/a/1.TXT", True),
        ("outputs/page.html", False),
        ("outputs/tool.py", False),
        ("outputs/.hidden.png", False),
        ("outputs/.hidden/1.png", False),
        ("models/Lora/x.preview.png", True),
        ("models/Lora/x.safetensors", False),
        ("models/Lora/x.json", False),
        ("extensions/some/data/tags.csv", True),
        ("extensions/some/page.html", True),
        ("extensions/some/scripts/main.py", False),
        ("extensions/some/scripts/MAIN.PY", False),
        ("extensions/some/server.pem", False),
        ("extensions/some/.git/config", False),
        ("tmp/list.txt", True),
        ("tmp/run.js", False),
        ("user.css", True),
        ("config.json", False),
        ("ui-config.json", False),
        ("params.txt", False),
        ("styles.csv", False),
        ("cache/hashes.json", False),
        ("config_states/a.json", False),
    ],
)
def test_data_folder(in_data, name, is_sent):
    assert (ui_files.find(in_data(name)) is not None) == is_sent


def test_default_folders_are_those_of_the_test(data_dir):
    for folder in (default_output_dir, models_path, extensions_dir):
        assert str(data_dir) in folder


def test_what_the_user_allows_is_sent_but_never_keys_nor_hidden_files(program, allow, tmp_path):
    allow(tmp_path / "shown")
    page = ui_files.find(write(tmp_path / "shown" / "page.html"))
    assert not page.is_inline and not page.is_code
    assert ui_files.find(write(tmp_path / "shown" / ".env")) is None
    assert ui_files.find(write(tmp_path / "shown" / "server.key")) is None
    assert ui_files.find(write(tmp_path / "shown beside" / "page.html")) is None


def test_one_file_can_be_allowed_but_not_a_hidden_one(program, allow, tmp_path):
    shown, hidden = write(tmp_path / "a.txt"), write(tmp_path / ".netrc")
    allow(shown, hidden)
    assert ui_files.find(shown).path == os.path.realpath(shown)
    assert ui_files.find(hidden) is None


def test_hidden_folders_above_a_place_do_not_matter(program, allow, tmp_path):
    allow(tmp_path / ".local" / "shown")
    assert ui_files.find(write(tmp_path / ".local" / "shown" / "1.png")) is not None


def test_settings_and_logins_stay_private_in_an_allowed_folder(program, allow, monkeypatch, tmp_path):
    allow(tmp_path)
    for flag in ("ui_settings_file", "gradio_auth_path"):
        monkeypatch.setattr(shared.cmd_opts, flag, write(tmp_path / f"{flag}.txt"))
        assert ui_files.find(str(tmp_path / f"{flag}.txt")) is None


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_links_lead_no_further_than_the_places(program, in_data, data_dir, tmp_path):
    in_data("outputs/1.png")
    secret = write(tmp_path / "secret.txt")
    link = data_dir / "outputs" / "link.txt"
    link.symlink_to(secret)
    try:
        assert ui_files.find(str(link)) is None
    finally:
        link.unlink()


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_an_output_folder_may_be_a_link(program, settings, tmp_path):
    picture = result(tmp_path / "disk" / "1.png")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    settings["outdir_samples"] = str(tmp_path / "link")
    assert ui_files.find(str(tmp_path / "link" / "1.png")).path == os.path.realpath(picture)


@pytest.mark.parametrize("setting", OUTPUT_FOLDERS)
def test_a_folder_that_a_setting_names_gives_results_of_jobs_only(program, settings, tmp_path, setting):
    settings[setting] = str(tmp_path)
    assert ui_files.find(result(tmp_path / "made.png"))
    for name in ("passwd.txt", "log.csv", "config.json", "damaged.png", "film.mp4"):
        assert ui_files.find(write(tmp_path / name)) is None
    Image.new("RGB", (8, 8)).save(tmp_path / "private.png")
    assert ui_files.find(str(tmp_path / "private.png")) is None
    assert ui_files.find(result(tmp_path / "noted.png", text="my passport")) is None


def test_an_extension_may_lie_elsewhere(program, monkeypatch, tmp_path):
    extension = extensions.Extension(name="linked", path=str(tmp_path / "linked"))
    monkeypatch.setattr(extensions, "extensions", [*extensions.extensions, extension])
    assert ui_files.find(write(tmp_path / "linked" / "javascript" / "a.js")).is_code


def test_files_of_the_page_s_cache_are_sent(program, settings, monkeypatch, tmp_path):
    settings["temp_dir"] = str(tmp_path / "temp")
    monkeypatch.setattr(_StaticFiles, "all_paths", [tmp_path / "static.png"])
    assert ui_files.find(write(tmp_path / "temp" / "1.png")) is None
    assert ui_files.find(write(tmp_path / "static.png"))
    assert ui_files.find(write(tmp_path / "other.png")) is None


@pytest.mark.parametrize(
    ("name", "media_type", "is_inline"),
    [
        ("a.png", "image/png", True),
        ("a.webp", "image/webp", True),
        ("a.json", "application/json", True),
        ("a.svg", "image/svg+xml", True),
        ("a.html", "text/html", False),
        ("a.xml", None, False),
        ("a.js", "text/javascript", False),
        ("a.unknown", "application/octet-stream", False),
    ],
)
def test_nothing_of_users_runs_in_the_page_s_name(name, media_type, is_inline):
    found = ui_files.PageFile(f"/somewhere/{name}", is_code=False)
    assert found.is_inline == is_inline
    assert media_type in (None, found.media_type)
    assert found.headers()["Content-Security-Policy"].startswith("sandbox;")
    assert found.headers()["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["a.py::$DATA", "a.py.", "a.py ", "x/a:b/c", "..\\a"])
def test_names_that_windows_reads_otherwise_are_refused_there(monkeypatch, name):
    monkeypatch.setattr(ui_files.os, "name", "nt")
    assert not ui_files.is_plain(name)


def test_functions_may_return_files_of_all_places(program):
    allowed = ui_files.allowed_paths()
    assert os.path.abspath(default_output_dir) in allowed and script_path not in allowed
    assert "" not in allowed and len(allowed) == len(set(allowed))
