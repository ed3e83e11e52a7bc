"""Metadata on the real program: what every file says, and jobs made from what images of other programs say."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path

import piexif
import piexif.helper
import pytest
import sd_parsers
from PIL import Image

from modules import images, infotext, infotext_utils, shared, ui_common, ui_tempdir
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
    """The infotext of a file, as we, piexif and sd-parsers read it."""
    image = Image.open(path)
    found, _ = images.read_info_from_image(image)
    if Path(path).suffix != ".png":
        exif = piexif.load(image.info["exif"])["Exif"]
        assert piexif.helper.UserComment.load(exif[piexif.ExifIFD.UserComment]) == found
    if Path(path).suffix != ".avif":  # which sd-parsers does not know
        parsed = sd_parsers.ParserManager().parse(path)
        assert [prompt.value for prompt in parsed.prompts] == [infotext.parse_infotext(found)["Prompt"]]
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
