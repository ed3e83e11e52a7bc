import csv
import json
import zipfile

import gradio as gr
import pytest
from PIL import Image

from modules import shared, ui_common, ui_tempdir, util


@pytest.fixture
def outdir_save(program, tmp_path):
    """The Save button's directory for one test."""
    before = dict(shared.opts.data)
    shared.opts.data["outdir_save"] = str(tmp_path / "saved")
    yield tmp_path / "saved"
    shared.opts.data.clear()
    shared.opts.data.update(before)


@pytest.fixture
def result(tmp_path):
    """A grid and two pictures as the gallery sends them, and the result's description."""
    gallery = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (4, 4), (number * 80, 0, 0)).save(path)
        ui_tempdir.register_tmp_file(None, str(path))
        gallery.append((str(path), None))
    infotexts = [f"apple\nSteps: 20, Seed: {seed}, Size: 4x4" for seed in (7, 7, 8)]
    data = {
        "prompt": "apple",
        "negative_prompt": "",
        "all_prompts": ["apple", "apple"],
        "all_negative_prompts": ["", ""],
        "seed": 7,
        "all_seeds": [7, 8],
        "all_subseeds": [1, 2],
        "width": 4,
        "height": 4,
        "sampler_name": "Euler a",
        "cfg_scale": 7.0,
        "steps": 20,
        "batch_size": 2,
        "sd_model_name": "demo",
        "sd_model_hash": "abc",
        "index_of_first_image": 1,
        "infotexts": infotexts,
        "styles": [],
        "job_timestamp": "0",
        "clip_skip": 1,
        "denoising_strength": None,
        "extra_generation_params": {},
        "subseed": 1,
        "is_using_inpainting_conditioning": False,
        "version": "v1",
    }
    return json.dumps(data), gallery


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_text_becomes_escaped_html():
    assert ui_common.plaintext_to_html("a <b>\nc") == "<p>a &lt;b&gt;<br>\nc</p>"
    assert ui_common.plaintext_to_html("a", classname="comments") == "<p class='comments'>a</p>"
    assert ui_common.infotext_to_html("") == ""


@pytest.mark.parametrize(
    ("index", "shown"), [(1, "<p>second</p>"), ("0", "<p>first</p>"), (-1, "old"), (5, "old"), (None, "old")]
)
def test_infotext_follows_the_selected_picture(index, shown):
    info = json.dumps({"infotexts": ["first", "second"]})
    assert ui_common.update_generation_info(info, "old", index)[0] == shown


def test_infotext_stays_without_a_result():
    assert ui_common.update_generation_info("", "old", 0)[0] == "old"
    assert ui_common.update_generation_info("{}", "old", 0)[0] == "old"


def test_first_picture_is_opened():
    shown = ui_common.show_first_image(lambda pictures: (pictures, "info"))
    update, info = shown(["a.png"])
    assert (update["value"], update["selected_index"], info) == (["a.png"], 0, "info")
    assert shown([]) == ([], "info") and shown(None) == (None, "info")


def test_all_pictures_are_saved(outdir_save, result):
    downloads, message = ui_common.save_files(*result, False, -1)
    saved = [name for name in names(outdir_save) if name.endswith(".png")]
    assert len(saved) == 3 and saved[0].endswith("-7.png")
    assert downloads["visible"] and len(downloads["value"]) == 3
    assert message == f"<p>Saved: {saved[0]}</p>"
    with Image.open(downloads["value"][2]) as last:
        assert "Seed: 8" in last.info["parameters"]
    rows = list(csv.DictReader((outdir_save / "log.csv").open(encoding="utf8", newline="")))
    assert len(rows) == 1 and rows[0]["sampler"] == "Euler a" and rows[0]["cfgs"] == "7.0"
    assert rows[0]["filename"] == saved[0]


def test_selected_picture_is_saved_alone(outdir_save, result):
    ui_common.save_files(*result, False, 2)
    assert [name for name in names(outdir_save) if name.endswith(".png")] == ["00000-8.png"]
    shared.opts.data["save_selected_only"] = False
    ui_common.save_files(*result, False, 2)
    assert len([name for name in names(outdir_save) if name.endswith(".png")]) == 4


def test_selected_grid_saves_all(outdir_save, result):
    downloads, _ = ui_common.save_files(*result, False, 0)
    assert len(downloads["value"]) == 3


def test_zip_holds_what_was_saved(outdir_save, result):
    shared.opts.data["save_write_log_csv"] = False
    downloads, message = ui_common.save_files(*result, True, -1)
    assert downloads["value"][0].endswith(".zip") and ".png" in message
    with zipfile.ZipFile(downloads["value"][0]) as archive:
        assert len(archive.namelist()) == 3
    assert not (outdir_save / "log.csv").exists()


def test_nothing_to_save_is_said():
    assert "nothing to save" in ui_common.save_files("", [], False, -1)[1]
    assert "nothing to save" in ui_common.save_files("{}", None, False, -1)[1]


def test_old_log_gets_the_new_columns(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("prompt,seed\napple,1,too much\n\npear,2\n", encoding="utf8")
    ui_common.update_logfile(str(path), ["prompt", "seed", "steps"])
    assert path.read_text(encoding="utf8").splitlines() == ["prompt,seed,steps", "apple,1,", "pear,2,"]
    before = path.read_text(encoding="utf8")
    ui_common.update_logfile(str(path), ["prompt"])
    assert path.read_text(encoding="utf8") == before


@pytest.fixture
def opened(monkeypatch):
    """Directories that were opened on the desktop."""
    paths = []
    monkeypatch.setattr(util, "open_folder", paths.append)
    monkeypatch.setattr(gr, "Info", lambda message: paths.append(message))
    return paths


def test_folder_button_opens_the_directory(program, opened, tmp_path):
    ui_common.open_folder(str(tmp_path))
    ui_common.open_folder(str(tmp_path / "missing"))
    assert opened[0] == str(tmp_path) and "does not exist" in opened[1]


def test_folder_button_opens_that_of_the_selected_picture(program, opened, result, tmp_path):
    ui_common.open_folder("elsewhere", result[1], 1)
    assert opened == [str(tmp_path)]


def test_folder_button_does_nothing_where_directories_are_hidden(program, opened, tmp_path, monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "hide_ui_dir_config", True)
    ui_common.open_folder(str(tmp_path))
    assert opened == []


def test_refresh_button_updates_choices():
    calls = []
    with gr.Blocks() as page:
        first, second = gr.Dropdown(["a"], label="Model"), gr.Dropdown(["a"])
        ui_common.create_refresh_button(
            [first, second], lambda: calls.append(1), lambda: {"choices": ["a", "b"]}, "refresh_x"
        )
        single = gr.Dropdown(["a"])
        ui_common.create_refresh_button(single, None, {"choices": ["c"]}, "refresh_y")
    several, one = (fn.fn for fn in page.fns.values())
    assert [update["choices"] for update in several()] == [["a", "b"], ["a", "b"]] and calls == [1]
    assert one()["choices"] == ["c"] and single.choices == ["c"]


def test_dialog_is_hidden_until_its_button_is_clicked():
    with gr.Blocks() as page:
        button, close = gr.Button(), gr.Button()
        with gr.Group(elem_id="dialog") as dialog:
            gr.Textbox()
        ui_common.setup_dialog(button, dialog, button_close=close)
    assert dialog.visible is False
    show, popup, hide = page.fns.values()
    assert show.fn()["visible"] is True and 'popupId("dialog")' in popup.js and hide.js == "closePopup"


def test_names_in_an_archive_are_unique():
    files = ["a/x.png", "b/x.png", "b/x-1.png", "b/x.txt"]
    assert ui_common.names_in_archive(files) == ["x.png", "x-1.png", "x-1-1.png", "x.txt"]
