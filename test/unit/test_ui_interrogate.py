from types import SimpleNamespace

import pytest
from PIL import Image

from modules import deepbooru, errors, shared, ui_interrogate
from modules.img2img import MODES

BATCH = MODES.index("batch")


def describe(picture):
    return f"{picture.width} wide"


def picture(width=4, mode="RGB"):
    return Image.new(mode, (width, 4))


def test_picture_of_the_chosen_mode_is_described():
    singles = [picture(1), picture(2), {"image": picture(3), "mask": None}, None, None]
    described = [ui_interrogate.process_interrogate(describe, mode, "", "", *singles) for mode in range(3)]
    assert described == ["1 wide", "2 wide", "3 wide"]
    with pytest.raises(errors.InvalidInput, match="no picture"):
        ui_interrogate.process_interrogate(describe, 3, "", "", *singles)


def test_batch_writes_text_files(program, tmp_path):
    for name in ("a.png", "b.jpg"):
        picture().save(tmp_path / name)
    (tmp_path / "notes.md").write_text("no picture")
    out = tmp_path / "out"
    answer = ui_interrogate.process_interrogate(describe, BATCH, str(tmp_path), str(out))
    assert answer["__type__"] == "update" and "value" not in answer
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a.txt": "4 wide\n", "b.txt": "4 wide\n"}
    ui_interrogate.process_interrogate(describe, BATCH, str(tmp_path), "")
    assert (tmp_path / "a.txt").exists()


def test_batch_directories_are_refused(program, tmp_path, monkeypatch):
    with pytest.raises(errors.InvalidInput, match="does not exist"):
        ui_interrogate.process_interrogate(describe, BATCH, str(tmp_path / "none"), "")
    monkeypatch.setattr(shared.cmd_opts, "hide_ui_dir_config", True)
    with pytest.raises(errors.InvalidInput, match="switched off"):
        ui_interrogate.process_interrogate(describe, BATCH, str(tmp_path), "")


def test_buttons_ask_their_models(program, monkeypatch):
    monkeypatch.setattr(shared, "interrogator", SimpleNamespace(interrogate=lambda image: image.mode))
    monkeypatch.setattr(deepbooru, "model", SimpleNamespace(tag=lambda image: "tags"))
    assert ui_interrogate.interrogate(picture(mode="RGBA")) == "RGB"
    assert ui_interrogate.describing(ui_interrogate.interrogate_deepbooru)(0, "", "", picture()) == "tags"
