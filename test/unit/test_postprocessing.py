"""The Extras tab and its API, with the scripts that ship."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageChops

from modules import images, postprocessing, scripts, scripts_postprocessing, shared
from modules.errors import InvalidInput, NotFound
from modules.upscaler import UpscalerLanczos, UpscalerNearest, UpscalerNone

pytestmark = pytest.mark.usefixtures("fresh_state")

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {case["name"]: case for case in json.loads((GOLDEN / "cases.json").read_text(encoding="utf8"))["cases"]}


@pytest.fixture(scope="module", autouse=True)
def shipped_scripts():
    """The postprocessing scripts of the scripts folder, and the upscalers without models."""
    upscalers, data = shared.sd_upscalers[:], scripts_postprocessing.postprocessing_scripts_data[:]
    runner_state = dict(vars(scripts.scripts_postproc))
    if not data:
        scripts.load_scripts()
    shared.sd_upscalers[:] = [cls().scalers[0] for cls in (UpscalerNone, UpscalerLanczos, UpscalerNearest)]
    yield
    shared.sd_upscalers[:] = upscalers
    if data:
        vars(scripts.scripts_postproc).update(runner_state)


def golden_image(name):
    return images.read(GOLDEN / "inputs" / name)


DEFAULTS = {
    "extras_mode": 0,
    "resize_mode": 0,
    "image": None,
    "image_folder": [],
    "input_dir": "",
    "output_dir": "",
    "show_extras_results": True,
    "gfpgan_visibility": 0,
    "codeformer_visibility": 0,
    "codeformer_weight": 0,
    "upscaling_resize": 2,
    "upscaling_resize_w": 512,
    "upscaling_resize_h": 512,
    "upscaling_crop": True,
    "extras_upscaler_1": "None",
    "extras_upscaler_2": "None",
    "extras_upscaler_2_visibility": 0,
    "upscale_first": False,
    "save_output": False,
}
NAMES = {"upscaler_1": "extras_upscaler_1", "upscaler_2": "extras_upscaler_2"}


def extras(**values):
    return postprocessing.run_extras(**DEFAULTS | {NAMES.get(key, key): value for key, value in values.items()})


def request_of(name):
    """Arguments of a golden request, its pictures read."""
    payload = dict(CASES[name]["payload"])
    if "image" in payload:
        payload["image"] = golden_image(Path(payload["image"].removeprefix("@file:")).name)
    if "imageList" in payload:
        files = [entry["data"].removeprefix("@file:") for entry in payload.pop("imageList")]
        payload |= {"extras_mode": 1, "image_folder": [golden_image(Path(file).name) for file in files]}
    return payload


@pytest.mark.parametrize(
    ("name", "info"),
    [
        ("extras_lanczos", "Postprocess upscale by: 1.5, Postprocess upscaler: Lanczos"),
        (
            "extras_resize_to_crop",
            "Postprocess upscale to: 200x200, Postprocess crop to: 200x200, Postprocess upscaler: Lanczos",
        ),
        (
            "extras_two_upscalers",
            "Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos, Postprocess upscaler 2: Nearest",
        ),
        ("extras_batch", "Postprocess upscale by: 0.5, Postprocess upscaler: Lanczos"),
    ],
)
def test_golden_requests_give_the_golden_pictures(name, info):
    payload = request_of(name)
    payload["upscaling_resize"] = float(payload.get("upscaling_resize", 2))
    pictures, html, log = extras(**payload)
    assert (html, log) == (f"<p>{info}</p>", "")
    files = sorted((GOLDEN / "pictures").glob(f"{name}*.png"))
    assert len(files) == len(pictures)
    for picture, file in zip(pictures, files, strict=True):
        assert picture.info["postprocessing"] == info
        assert ImageChops.difference(picture, images.read(file)).getbbox() is None


def test_unknown_upscaler_is_named():
    with pytest.raises(NotFound, match="could not find upscaler named No such") as caught:
        extras(**request_of("extras_bad_upscaler"))
    assert caught.value.field == "upscaler_1"


def test_no_upscaler_leaves_the_picture():
    picture = golden_image("face128.png")
    pictures, html, _ = extras(image=picture)
    assert pictures == [picture]
    assert html == "<p></p>"


def test_side_limit_shrinks_the_target():
    pictures, html, _ = extras(
        image=golden_image("face160x96.png"), upscaler_1="Lanczos", upscaling_resize=4.0, max_side_length=320
    )
    assert pictures[0].size == (320, 192)
    assert "Max side length: 320" in html


def test_nothing_to_work_on_is_refused(settings, monkeypatch):
    with pytest.raises(InvalidInput, match="image not selected"):
        extras()
    with pytest.raises(InvalidInput, match="does not exist"):
        extras(extras_mode=2, input_dir="/nowhere")
    monkeypatch.setattr(shared.cmd_opts, "hide_ui_dir_config", True)
    with pytest.raises(InvalidInput, match="--hide-ui-dir-config"):
        extras(extras_mode=2, input_dir="/nowhere")


def test_saved_file_keeps_what_its_source_said(settings, tmp_path):
    settings(outdir_samples="", outdir_extras_samples=str(tmp_path), use_original_name_batch=False)
    extras(image=golden_image("with-parameters.png"), upscaler_1="Nearest", save_output=True)
    assert os.listdir(tmp_path) == ["00000.png"]
    with Image.open(tmp_path / "00000.png") as saved:
        texts = saved.text
    assert "Steps: " in texts["parameters"]
    assert texts["postprocessing"] == texts["extras"] == "Postprocess upscale by: 2, Postprocess upscaler: Nearest"


@pytest.fixture
def folder(tmp_path):
    """A directory with two pictures and a text."""
    source = tmp_path / "in"
    source.mkdir()
    for name in ("b10.png", "b2.png"):
        golden_image("face128.png").save(source / name)
    (source / "note.txt").write_text("no picture")
    return source


def test_directory_keeps_names_and_shows_results_if_asked(settings, folder, tmp_path, caplog):
    arguments = {"extras_mode": 2, "input_dir": str(folder), "output_dir": str(tmp_path / "out")}
    pictures, _, _ = extras(**arguments, save_output=True, show_extras_results=False)
    assert pictures == []
    assert sorted(os.listdir(tmp_path / "out")) == ["b10.png", "b2.png"]
    assert "note.txt is left out: not a picture" in caplog.text
    assert len(extras(**arguments)[0]) == 2


def test_uploaded_files_keep_their_names(settings, folder, tmp_path):
    settings(outdir_samples=str(tmp_path / "out"))
    upload = SimpleNamespace(name=str(folder / "b2.png"), orig_name="mine.png")
    extras(extras_mode=1, image_folder=[upload, str(folder / "b10.png")], save_output=True)
    assert sorted(os.listdir(tmp_path / "out")) == ["b10.png", "mine.png"]


def test_interrupt_stops_before_the_next_picture(monkeypatch):
    shared.state.interrupted = True
    pictures, _, _ = extras(extras_mode=1, image_folder=[golden_image("face128.png")])
    assert pictures == []


def test_skipped_picture_is_left_out(monkeypatch):
    def skip(pp, args):
        shared.state.skipped = len(done) == 0
        done.append(pp)

    done = []
    monkeypatch.setattr(scripts.scripts_postproc, "run_with_names", skip)
    pictures, _, _ = extras(extras_mode=1, image_folder=[golden_image("face128.png")] * 2)
    assert len(pictures) == 1


def test_texts_are_left_out_when_switched_off(settings):
    settings(enable_pnginfo=False)
    pictures, _, _ = extras(image=golden_image("face128.png"), upscaler_1="Nearest")
    assert "postprocessing" not in pictures[0].info


def test_results_of_one_picture_get_suffixes_and_captions(settings, tmp_path, monkeypatch):
    settings(outdir_samples=str(tmp_path))

    def run(pp, args):
        pp.caption = "a face"
        pp.extra_images = [pp.create_copy(pp.image.copy()), pp.create_copy(pp.image.copy(), nametags=["tag"])]

    monkeypatch.setattr(scripts.scripts_postproc, "run", run)
    source = Image.fromarray(np.zeros((8, 8), dtype=np.uint8))
    (tmp_path / "in").mkdir()
    source.save(tmp_path / "in" / "source.png")
    pictures, _, _ = postprocessing.run_postprocessing_webui(
        "task(1)", 1, None, [str(tmp_path / "in" / "source.png")], "", "", True, "value of a control"
    )
    assert [picture.mode for picture in pictures] == ["RGB"] * 3
    assert sorted(os.listdir(tmp_path)) == ["in", "source-1.png", "source-tag.png", "source.png", "source.txt"]
