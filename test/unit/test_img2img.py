import inspect
import json
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from modules import errors, img2img, infotext, processing, scripts, shared
from modules.img2img import Img2ImgValues, image_and_mask
from modules.script_ui import default_args

REQUEST = SimpleNamespace(username=None)
NAMES = [field.name for field in fields(Img2ImgValues)][:-1]


def picture(color="red", size=(64, 64)):
    return Image.new("RGB", size, color)


@pytest.fixture
def values(app):
    """What the tab sends for a picture, at few steps."""
    script_args = default_args(scripts.scripts_img2img)
    scripts.scripts_img2img.set_named_arg(script_args, "sampler", "img2img_steps", 2)
    scripts.scripts_img2img.set_named_arg(script_args, "seed", "img2img_seed", 1)
    return Img2ImgValues(
        mode=0,
        prompt="apple",
        negative_prompt="",
        prompt_styles=[],
        init_img=picture(),
        sketch=None,
        init_img_with_mask=None,
        inpaint_color_sketch=None,
        inpaint_color_sketch_orig=None,
        init_img_inpaint=None,
        init_mask_inpaint=None,
        mask_blur=4,
        mask_alpha=0,
        inpainting_fill=1,
        n_iter=1,
        batch_size=1,
        cfg_scale=7,
        image_cfg_scale=1.5,
        denoising_strength=0.75,
        selected_scale_tab=0,
        height=64,
        width=64,
        scale_by=1.5,
        resize_mode=0,
        inpaint_full_res=0,
        inpaint_full_res_padding=32,
        inpainting_mask_invert=0,
        img2img_batch_input_dir="",
        img2img_batch_output_dir="",
        img2img_batch_inpaint_mask_dir="",
        override_settings_texts=[],
        img2img_batch_use_png_info=False,
        img2img_batch_png_info_props=[],
        img2img_batch_png_info_dir="",
        img2img_batch_source_type="upload",
        img2img_batch_upload=None,
        script_args=tuple(script_args),
    )


SAMPLES = Path(__file__).parents[1] / "data" / "dialects"


def run(values):
    return img2img.img2img("task(1)", REQUEST, *(getattr(values, name) for name in NAMES), *values.script_args)


def test_signatures_are_those_extensions_know():
    assert list(inspect.signature(img2img.img2img).parameters)[:6] == [
        "id_task",
        "request",
        "mode",
        "prompt",
        "negative_prompt",
        "prompt_styles",
    ]
    assert list(inspect.signature(img2img.process_batch).parameters) == [
        "p",
        "input",
        "output_dir",
        "inpaint_mask_dir",
        "args",
        "to_scale",
        "scale_by",
        "use_png_info",
        "png_info_props",
        "png_info_dir",
    ]


def test_picture_of_each_mode(values):
    red, blue, green = picture("red"), picture("blue"), picture("green")
    mask = Image.new("L", (64, 64), 200)
    full = replace(
        values,
        init_img=red,
        sketch=blue,
        init_img_with_mask={"image": green, "mask": mask},
        init_img_inpaint=blue,
        init_mask_inpaint=mask,
    )
    assert image_and_mask(full)[0].getpixel((0, 0)) == (255, 0, 0) and image_and_mask(full)[1] is None
    assert image_and_mask(replace(full, mode=1))[0].getpixel((0, 0)) == (0, 0, 255)
    image, binary = image_and_mask(replace(full, mode=2))
    assert image.getpixel((0, 0)) == (0, 128, 0) and binary.mode == "L" and binary.getpixel((3, 3)) == 200
    assert image_and_mask(replace(full, mode=4)) == (blue, mask)
    assert image_and_mask(replace(full, mode=5)) == (None, None)
    assert image_and_mask(replace(values, mode=2)) == (None, None)


def test_sketch_over_a_picture_masks_what_was_painted(values):
    original = picture("white", (32, 32))
    sketch = original.copy()
    sketch.paste("black", (8, 8, 16, 16))
    given = replace(values, mode=3, mask_blur=0, inpaint_color_sketch={"image": sketch, "original": original})
    image, mask = image_and_mask(given)
    assert np.array(mask).sum() == 255 * 64 and mask.getpixel((10, 10)) == 255
    assert image.getpixel((10, 10)) == (0, 0, 0) and image.getpixel((0, 0)) == (255, 255, 255)

    faint, _ = image_and_mask(replace(given, mask_alpha=50))
    assert 120 < faint.getpixel((10, 10))[0] < 135

    separate = replace(given, inpaint_color_sketch=sketch, inpaint_color_sketch_orig=original)
    assert image_and_mask(separate)[1].tobytes() == mask.tobytes()
    unpainted = replace(given, inpaint_color_sketch=sketch, inpaint_color_sketch_orig=None)
    assert not np.array(image_and_mask(unpainted)[1]).any()


def test_mode_without_a_picture_says_so(values):
    with pytest.raises(errors.InvalidInput, match="no picture"):
        run(replace(values, init_img=None))


def test_job_fills_the_panel(values):
    gallery, info, infotext, _ = run(replace(values, override_settings_texts=["Clip skip: 2"]))
    assert gallery[0].size == (64, 64)
    assert "Denoising strength: 0.75" in infotext and "Clip skip: 2" in infotext
    assert json.loads(info)["seed"] == 1


def test_resize_by_takes_the_size_of_the_picture(values):
    gallery, *_ = run(replace(values, selected_scale_tab=1, width=8, height=8))
    assert gallery[0].size == (96, 96)


def test_inpainting_changes_only_the_masked_part(values):
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 24, 64))
    given = replace(values, mode=2, mask_blur=0, init_img_with_mask={"image": picture(), "mask": mask})
    gallery, _, infotext, _ = run(given)
    result = np.array(gallery[0].convert("RGB"))
    assert (result[:, 32:] == (255, 0, 0)).all() and not (result[:, :16] == (255, 0, 0)).all()
    assert "Mask blur" not in infotext or "Mask blur: 0" in infotext


@pytest.fixture
def folder(tmp_path):
    """Two pictures, one with an infotext, and a file that is none."""
    source = tmp_path / "in"
    source.mkdir()
    info = PngInfo()
    info.add_text("parameters", "green pear\nNegative prompt: worm\nSteps: 3, Sampler: Euler, CFG scale: 5.5, Seed: 99")
    picture().save(source / "one.png", pnginfo=info)
    picture("blue").save(source / "two.png")
    (source / "broken.png").write_bytes(b"no picture")
    return source


def batch(values, folder, **changes):
    return replace(values, mode=5, img2img_batch_source_type="from dir", img2img_batch_input_dir=str(folder), **changes)


def test_batch_of_a_directory(values, folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setitem(shared.opts.data, "save_images_add_number", False)
    gallery, info, *_ = run(batch(values, folder, img2img_batch_output_dir=str(out)))
    assert len(gallery) == 2 == len(json.loads(info)["infotexts"])
    assert sorted(path.name for path in out.iterdir()) == ["one.png", "two.png"]
    run(batch(values, folder, img2img_batch_output_dir=str(out), batch_size=2))
    assert {path.name for path in out.iterdir()} >= {"one-1.png", "one-2.png"}


def test_batch_replaces_neither_its_images_nor_its_own_results(values, folder, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "save_images_add_number", False)
    picture("blue").save(folder / "one.jpg")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run(batch(values, folder, img2img_batch_output_dir=str(folder)))
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"one-1.png", "one-2.png", "two-1.png"}


def test_batch_of_uploads_may_be_scaled_and_limited(values, folder, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "img2img_batch_show_results_limit", 1)
    files = [str(folder / "one.png"), str(folder / "two.png")]
    gallery, *_ = run(replace(values, mode=5, img2img_batch_upload=files, selected_scale_tab=1, scale_by=0.5))
    assert [image.size for image in gallery] == [(32, 32)]


def test_batch_without_pictures_is_empty(values):
    gallery, info, *_ = run(replace(values, mode=5))
    assert gallery == [] and json.loads(info)["infotexts"] == []


def test_batch_takes_parameters_from_pictures(values, folder):
    properties = ["Prompt", "Negative prompt", "Seed", "CFG scale", "Steps"]
    _, info, *_ = run(batch(values, folder, img2img_batch_use_png_info=True, img2img_batch_png_info_props=properties))
    first, second = json.loads(info)["infotexts"]
    assert first.startswith("apple green pear\nNegative prompt:  worm\nSteps: 3, ") and "Seed: 99" in first
    assert "CFG scale: 5.5" in first
    assert second.startswith("apple\nSteps: 2, ") and "Seed: 1," in second


def test_batch_takes_parameters_from_images_of_any_program(values, tmp_path):
    """Each image is made with what its own program says; the rest is the form's."""
    names = [path.name for path in sorted(SAMPLES.iterdir()) if path.suffix != ".json"]
    expected = json.loads((SAMPLES / "expected.json").read_text(encoding="utf8"))
    files = [str(SAMPLES / name) for name in names]
    properties = ["Prompt", "Negative prompt", "Seed", "CFG scale", "Sampler"]
    given = replace(values, mode=5, img2img_batch_upload=files, width=16, height=16, denoising_strength=0.5)
    given = replace(given, img2img_batch_use_png_info=True, img2img_batch_png_info_props=properties)
    _, info, *_ = run(given)
    made = [infotext.parse_infotext(text) for text in json.loads(info)["infotexts"]]
    assert len(made) == len(names) > 15
    for name, said in zip(names, made, strict=True):
        true = expected[name]
        found = {key: said[key] for key in ("Prompt", "Negative prompt", "Seed", "CFG scale", "Sampler", "Steps")}
        assert found == {
            "Prompt": f"apple {true['Prompt']}",
            "Negative prompt": f" {true['Negative prompt']}".strip(),
            "Seed": "77",
            "CFG scale": "6.5",
            "Sampler": true["Sampler"],
            "Steps": "2",
        }, name


def test_batch_takes_parameters_from_a_directory(values, folder, tmp_path):
    infos = tmp_path / "infos"
    infos.mkdir()
    (folder / "one.png").rename(infos / "two.png")
    _, info, *_ = run(
        batch(
            values,
            folder,
            img2img_batch_use_png_info=True,
            img2img_batch_png_info_props=["Seed"],
            img2img_batch_png_info_dir=str(infos),
        )
    )
    assert [text.count("Seed: 99") for text in json.loads(info)["infotexts"]] == [1]


def test_batch_with_masks(values, folder, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.new("L", (64, 64), 255).save(masks / "two.png")
    Image.new("L", (64, 64), 255).save(masks / "other.png")
    _, info, *_ = run(batch(values, folder, img2img_batch_inpaint_mask_dir=str(masks)))
    assert len(json.loads(info)["infotexts"]) == 1
    (masks / "other.png").unlink()
    _, info, *_ = run(batch(values, folder, img2img_batch_inpaint_mask_dir=str(masks)))
    assert len(json.loads(info)["infotexts"]) == 2, "a single mask holds for all"


def test_batch_forgets_the_mask_of_the_picture_before(values, tmp_path):
    """A picture whose mask is empty is made anew as a whole."""
    square = picture("black")
    square.paste("white", (16, 16, 48, 48))
    files = {
        "both/a.png": picture("red"),
        "both/b.png": picture("green"),
        "only b/b.png": picture("green"),
        "masks/a.png": square,
        "masks/b.png": picture("black"),
    }
    for name, image in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.save(tmp_path / name)
    masked = {"img2img_batch_inpaint_mask_dir": str(tmp_path / "masks"), "inpaint_full_res": 1}
    both, *_ = run(batch(values, tmp_path / "both", **masked))
    alone, *_ = run(batch(values, tmp_path / "only b", **masked))
    assert both[1].tobytes() == alone[0].tobytes()


def test_batch_goes_on_without_a_picture_that_cannot_be_used(values, folder):
    noisy = Image.effect_noise((64, 64), 80).convert("RGB")
    noisy.save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:3000])
    picture(size=(2, 2)).save(folder / "small.png")
    gallery, _, _, log = run(batch(values, folder, selected_scale_tab=1, scale_by=1.0))
    assert [image.size for image in gallery] == [(64, 64)] * 2
    for name in ("broken.png", "cut.png", "small.png"):
        assert f"{name} is left out" in log


def test_batch_of_nothing_usable_says_why(values, folder):
    with pytest.raises(errors.InvalidInput, match="at least 8"):
        run(batch(values, folder, selected_scale_tab=1, scale_by=0.01))


def test_batch_stops_when_interrupted(values, folder, monkeypatch):
    seen = []

    def process(p):
        seen.append(p.init_images)
        shared.state.interrupted = True
        return processing.Processed(p, [picture()], infotexts=["x"])

    monkeypatch.setattr(processing, "process_images", process)
    try:
        run(batch(values, folder))
    finally:
        shared.state.interrupted = False
    assert len(seen) == 1


def test_batch_directories_are_refused(values, folder, monkeypatch):
    with pytest.raises(errors.InvalidInput, match="does not exist"):
        run(batch(values, folder / "missing"))
    monkeypatch.setattr(shared.cmd_opts, "hide_ui_dir_config", True)
    with pytest.raises(errors.InvalidInput, match="switched off"):
        run(batch(values, folder))
    with pytest.raises(errors.InvalidInput, match="PNG info"):
        run(replace(values, mode=5, img2img_batch_use_png_info=True, img2img_batch_png_info_dir=str(folder)))


def test_extensions_may_replace_the_batch(values, folder, monkeypatch):
    monkeypatch.setattr(img2img, "process_batch", lambda p, *args, **kwargs: processing.Processed(p, ["mine"]))
    assert run(batch(values, folder))[0] == ["mine"]
