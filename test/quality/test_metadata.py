"""Metadata on the real program: what every file says, and jobs made from what images of other programs say."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import piexif
import piexif.helper
import pytest
import sd_parsers
from PIL import Image
from sd_parsers.extractors import _jpeg_usercomment

from modules import images, infotext, infotext_utils, postprocessing, scripts, shared, ui_common, ui_tempdir
from test.quality import golden
from test.quality.api_jobs import SMALL, result_of

SAMPLES = Path(__file__).resolve().parent.parent / "data" / "dialects"
TRUE_FIELDS = json.loads((SAMPLES / "expected.json").read_text(encoding="utf8"))
FORMATS = ("png", "jpg", "webp", "avif")


@pytest.fixture
def settings(tmp_path):
    """Overlays settings for one test; everything is saved below its folder."""
    folders = ("outdir_samples", "outdir_grids", "outdir_save", "outdir_extras_samples")
    values = {name: str(tmp_path / name.removeprefix("outdir_")) for name in folders}
    values |= {"outdir_samples": "", "outdir_txt2img_samples": str(tmp_path / "samples"), "save_to_dirs": False}
    values |= {"outdir_txt2img_grids": str(tmp_path / "grids"), "grid_save_to_dirs": False, "outdir_grids": ""}
    values |= {"use_save_to_dirs_for_ui": False, "samples_save": True, "grid_save": True, "return_grid": True}
    before = dict(shared.opts.data)
    shared.opts.data.update(values)
    yield shared.opts.data.update
    shared.opts.data.clear()
    shared.opts.data.update(before)


def said_by(path):
    """The infotext of a file, as we, piexif, sd-parsers and, where it is installed, exiftool read it."""
    image = Image.open(path)
    found, _ = images.read_info_from_image(image)
    if Path(path).suffix != ".png":
        exif = piexif.load(image.info["exif"])["Exif"]
        assert piexif.helper.UserComment.load(exif[piexif.ExifIFD.UserComment]) == found
    if Path(path).suffix != ".avif":  # which sd-parsers does not know
        _jpeg_usercomment._image_id = None  # it knows an image by its id, which a later one may get
        parsed = sd_parsers.ParserManager().parse(path)
        assert [prompt.value for prompt in parsed.prompts] == [infotext.parse_infotext(found)["Prompt"]]
    if shutil.which("exiftool"):
        command = ["exiftool", "-j", "-Parameters", "-UserComment", path]
        said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]
        assert said.get("Parameters", said.get("UserComment")) == found
    return found


@pytest.mark.parametrize("extension", FORMATS)
def test_every_way_out_keeps_the_parameters_in_every_format(client, settings, tmp_path, extension):
    settings({"samples_format": extension, "grid_format": extension})
    body = {"batch_size": 2, "save_images": True, "width": 64, "height": 48}
    response = client.post("/sdapi/v1/txt2img", json=SMALL | body)
    result = result_of(response)
    grid, first, second = result.infotexts
    assert [said_by(path) for path in sorted((tmp_path / "samples").iterdir())] == [first, second]
    assert [said_by(path) for path in (tmp_path / "grids").iterdir()] == [grid]

    sent = tmp_path / f"sent.{extension}"
    sent.write_bytes(base64.b64decode(response.json()["images"][1]))
    assert said_by(sent) == first

    gallery = []
    for number, image in enumerate(result.images):
        path = tmp_path / f"{number}.png"
        image.convert("RGB").save(path)
        ui_tempdir.register_tmp_file(None, str(path))
        gallery.append((str(path), None))
    ui_common.save_files(response.json()["info"], gallery, True, -1)
    saved = [path for path in (tmp_path / "save").iterdir() if path.suffix == f".{extension}"]
    assert sorted(said_by(path) for path in saved) == sorted([grid, first, second])
    (archive,) = (tmp_path / "save").glob("*.zip")
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "zip")
    assert sorted(said_by(path) for path in (tmp_path / "zip").iterdir()) == sorted([grid, first, second])

    request = {"image": base64.b64encode(sent.read_bytes()).decode(), "upscaling_resize": 2, "upscaler_1": "Lanczos"}
    single = client.post("/sdapi/v1/extra-single-image", json=request)
    enlarged = tmp_path / f"enlarged.{extension}"
    enlarged.write_bytes(base64.b64decode(single.json()["image"]))
    assert said_by(enlarged) == first
    assert Image.open(enlarged).size == (128, 96)


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("name", TRUE_FIELDS)
def test_extras_keeps_what_any_program_wrote(client, settings, name, extension):
    """The enlarged image says the same of how it was made, whoever reads it, but for the size of its own."""
    settings({"samples_format": extension})
    data = (SAMPLES / name).read_bytes()
    body = {"image": base64.b64encode(data).decode(), "upscaling_resize": 2, "upscaler_1": "Lanczos"}
    response = client.post("/sdapi/v1/extra-single-image", json=body)
    assert response.status_code == 200, response.text
    said = sample_fields(client, base64.b64decode(response.json()["image"]))["parameters"]
    before = sample_fields(client, data)["parameters"]
    sizes = ("Size-1", "Size-2") if name.startswith("novelai") else ()  # which it reads off the image
    assert {key: said.get(key) for key in before if key not in sizes} == {
        key: value for key, value in before.items() if key not in sizes
    }


@pytest.mark.parametrize("extension", ["png", "webp", "avif"])
def test_the_smaller_copy_keeps_the_parameters(client, settings, tmp_path, extension):
    settings({"samples_format": extension, "export_for_4chan": True, "target_side_length": 32})
    result = result_of(client.post("/sdapi/v1/txt2img", json=SMALL | {"save_images": True}))
    files = sorted((tmp_path / "samples").iterdir(), key=lambda path: path.suffix == ".jpg")
    assert [path.suffix for path in files] == [f".{extension}", ".jpg"]
    assert [said_by(path) for path in files] == result.infotexts * 2
    assert max(Image.open(files[1]).size) == 32


@pytest.mark.parametrize("mode", ["single", "batch", "folder"])
@pytest.mark.parametrize("extension", FORMATS)
def test_the_extras_tab_keeps_the_parameters_of_each_image(app, settings, tmp_path, mode, extension):
    settings({"samples_format": extension, "outdir_samples": str(tmp_path / "out")})
    folder = tmp_path / "in"
    folder.mkdir()
    texts = {name: f"{name} apple\nSteps: 3, Sampler: Euler, Seed: 1, Size: 8x8" for name in ("a", "b")}
    for name, text in texts.items():
        (folder / f"{name}.png").write_bytes(file_with(text))
    files = sorted(str(path) for path in folder.iterdir())
    image = images.read(files[0]) if mode == "single" else None
    number = ["single", "batch", "folder"].index(mode)
    upscale = {"upscale_enabled": True, "upscale_mode": 0, "upscale_by": 2, "max_side_length": 0}
    upscale |= {"upscaler_1_name": "Nearest", "upscaler_2_name": "None", "upscaler_2_visibility": 0}
    controls = scripts.scripts_postproc.create_args_for_run({"Upscale": upscale})
    out = tmp_path / "out"
    postprocessing.run_postprocessing_webui(
        "task(1)", number, image, files, str(folder), str(out), True, *controls, save_output=True
    )
    found = sorted(path for path in out.rglob("*") if path.suffix == f".{extension}")
    assert [said_by(path) for path in found] == list(texts.values())[: 1 if mode == "single" else 2]


def sample_fields(client, data):
    """What /sdapi/v1/png-info says of a file."""
    response = client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(data).decode()})
    assert response.status_code == 200, response.text
    return response.json()


FIELDS_OF_KEYS = {
    "prompt": ("Prompt", str),
    "negative_prompt": ("Negative prompt", str),
    "steps": ("Steps", int),
    "sampler_name": ("Sampler", str),
    "scheduler": ("Schedule type", str),
    "cfg_scale": ("CFG scale", float),
    "seed": ("Seed", int),
    "width": ("Size-1", int),
    "height": ("Size-2", int),
}
"""Field of a request -> what it is called in the answer of png-info, and its type."""

SHOWN = ("Prompt", "Negative prompt", "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size-1", "Size-2")


def without_networks(prompt):
    return prompt.split("<lora:")[0]


@pytest.mark.parametrize("name", TRUE_FIELDS)
def test_fields_of_every_program_make_a_job_with_these_fields(client, name):
    said = sample_fields(client, (SAMPLES / name).read_bytes())["parameters"]
    true = TRUE_FIELDS[name]
    size = f"{said['Size-1']}x{said['Size-2']}"
    assert {key: said[key] for key in true if key != "Size"} | {"Size": size} == true
    said["Prompt"] = without_networks(said["Prompt"])
    said["Steps"] = "2"  # which takes less time
    fields = {field: kind(said[key]) for field, (key, kind) in FIELDS_OF_KEYS.items() if key in said}
    settings = {"CLIP_stop_at_last_layers": int(said["Clip skip"])}
    made = result_of(client.post("/sdapi/v1/txt2img", json=fields | {"override_settings": settings}))
    again = infotext_utils.parse_generation_parameters(made.infotexts[0])
    assert {key: again[key] for key in (*SHOWN, "Clip skip")} == {key: said[key] for key in (*SHOWN, "Clip skip")}


KEPT = (
    *SHOWN,
    "Clip skip",
    "Variation seed",
    "Variation seed strength",
    "Denoising strength",
    "Hires upscale",
    "Emphasis",
)
CASES = [
    name
    for name, case in golden.CASES.items()
    if golden.EXPECTED[name].get("infotexts")
    and "txt2img" in str(golden.request_of(case)["url"])
    and not {"script_name", "alwayson_scripts", "infotext", "styles"} & golden.request_of(case)["json"].keys()
][::16]


@pytest.mark.parametrize("name", CASES)
def test_infotexts_of_golden_cases_make_jobs_with_their_fields(client, name):
    text = golden.EXPECTED[name]["infotexts"][-1]
    said = sample_fields(client, file_with(text))
    assert said["info"] == text
    made = result_of(client.post("/sdapi/v1/txt2img", json={"infotext": said["info"]}))
    again = infotext_utils.parse_generation_parameters(made.infotexts[0])
    assert {key: again.get(key) for key in KEPT} == {key: said["parameters"].get(key) for key in KEPT}


def file_with(text):
    """A PNG file that says a text."""
    image = Image.new("RGB", (8, 8))
    image.info["parameters"] = text
    return images.encode(image, "png")


def test_an_image_made_from_another_programs_says_nothing_of_that_program(client):
    for name in (
        "civitai.jpg",
        "fooocus_a1111.png",
        "fooocus.png",
        "swarm.png",
        "sdnext.png",
        "sdcpp.png",
        "invoke.png",
    ):
        said = sample_fields(client, (SAMPLES / name).read_bytes())
        # The networks are not here, and a prompt says what was asked for.
        text = said["info"].replace("<lora:shine:0.8><lora:wood:1>", "")
        made = result_of(client.post("/sdapi/v1/txt2img", json={"infotext": text, "enable_hr": False}))
        keys = infotext.parse_infotext(made.infotexts[0]).keys()
        foreign = {
            key for key in keys if key.split()[0] in ("Fooocus", "Civitai", "SD.Next", "App", "Template", "Lora")
        }
        assert foreign == set() and not {"Created Date", "Sharpness", "Performance", "Guidance"} & keys, name
        assert infotext.parse_infotext(made.infotexts[0])["Model"] != "fruit", name


def test_a_sampler_of_another_program_is_named_and_not_replaced_in_silence(client):
    text = "red apple\nUnknown sampler: res_2s, Steps: 2, CFG scale: 3, Seed: 1, Size: 64x64"
    result = result_of(client.post("/sdapi/v1/txt2img", json={"infotext": text}))
    assert "'res_2s' is not known here" in json.dumps(result.info["comments"]).replace("\\", "")
