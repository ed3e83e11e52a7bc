"""From decoded pictures to what the user gets. Files and grids follow the settings the run began with."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from modules import image_ops, processing, shared
from modules.job import output
from modules.opts_snapshot import create_opts_snapshot


@pytest.fixture
def job(program, tmp_path):
    """Makes a job of red pictures, ready for its post-steps; keyword arguments are settings it began with."""

    def make(p=None, **settings):
        p = p or processing.StableDiffusionProcessingTxt2Img(prompt="apple", width=16, height=16)
        p.outpath_samples = p.outpath_grids = str(tmp_path)
        with shared.opts.overlay(settings):
            p.opts_snapshot = create_opts_snapshot(shared.opts)
        p.all_prompts = p.prompts = ["apple", "pear"]
        p.all_negative_prompts = p.negative_prompts = ["", ""]
        p.all_seeds = p.seeds = [1, 2]
        p.all_subseeds = p.subseeds = [3, 4]
        p.batch_size = 2
        return p

    return make


def red(size=16):
    return torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1).expand(3, size, size)


def finish(p, count=2):
    result = output.JobOutput()
    output.finish_batch(p, [red()] * count, result, lambda index: f"text {index}")
    return result


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_every_picture_is_saved_with_its_text(job, tmp_path):
    result = finish(job(samples_filename_pattern="[seed]", save_to_dirs=False))
    assert result.infotexts == ["text 0", "text 1"]
    assert [image.getpixel((0, 0)) for image in result.images] == [(255, 0, 0)] * 2
    assert [image.info["parameters"] for image in result.images] == result.infotexts
    assert files(tmp_path) == ["00000-1.png", "00001-2.png"]


def test_files_follow_the_settings_of_the_run(job, tmp_path, monkeypatch):
    p = job(samples_format="webp", save_to_dirs=False, enable_pnginfo=False)
    monkeypatch.setitem(shared.opts.data, "samples_format", "jpg")
    result = finish(p)
    assert [name.rsplit(".", 1)[1] for name in files(tmp_path)] == ["webp", "webp"]
    assert "parameters" not in result.images[0].info


@pytest.mark.parametrize(
    ("interrupted", "keeps_incomplete", "samples_save", "do_not_save", "saved"),
    [
        (False, True, True, False, True),
        (False, True, False, False, False),
        (False, True, True, True, False),
        (True, True, True, False, True),
        (True, False, True, False, False),
    ],
)
def test_which_pictures_are_saved(job, monkeypatch, interrupted, keeps_incomplete, samples_save, do_not_save, saved):
    monkeypatch.setattr(shared.state, "interrupted", interrupted)
    p = job(save_incomplete_images=keeps_incomplete, samples_save=samples_save)
    p.do_not_save_samples = do_not_save
    assert output.save_samples(p) is saved


def test_a_script_may_change_the_picture_before_and_after_the_overlay(job):
    p = job(samples_save=False)
    seen = []

    def paint(p, pp):
        seen.append(pp.image.getpixel((0, 0)))
        pp.image = Image.new("RGB", (16, 16), "blue")

    p.scripts_value = SimpleNamespace(
        postprocess_image=paint,
        postprocess_maskoverlay=lambda p, args: setattr(args, "overlay_image", Image.new("RGBA", (16, 16), "lime")),
        postprocess_image_after_composite=paint,
    )
    assert finish(p, 1).images[0].getpixel((0, 0)) == (0, 0, 255)
    assert seen == [(255, 0, 0), (0, 255, 0)]


def masked_job(job, **settings):
    p = processing.StableDiffusionProcessingImg2Img(prompt="apple", width=16, height=16)
    p = job(p, **settings)
    p.mask_for_overlay = Image.new("L", (16, 16))
    p.mask_for_overlay.paste(255, (0, 0, 8, 16))
    source = Image.new("RGBA", (16, 16), "lime")
    source.paste((0, 0, 0, 0), (0, 0, 8, 16))
    p.overlay_images = [source] * 2
    return p


def test_the_source_shows_where_nothing_was_masked(job):
    image = finish(masked_job(job, samples_save=False), 1).images[0]
    assert image.getpixel((2, 2)) == (255, 0, 0) and image.getpixel((12, 2)) == (0, 255, 0)


def test_without_overlay_the_result_stays_whole(job, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "overlay_inpaint", False)
    assert finish(masked_job(job, samples_save=False), 1).images[0].getpixel((12, 2)) == (255, 0, 0)


def test_masks_are_returned_and_saved_as_asked(job, tmp_path):
    settings = {"return_mask": True, "save_mask": True, "return_mask_composite": True, "save_mask_composite": True}
    p = masked_job(job, save_to_dirs=False, samples_filename_pattern="[seed]", **settings)
    result = finish(p, 1)
    _, mask, composite = result.images
    assert len(result.infotexts) == 1
    assert mask.getpixel((2, 2)) == (255,) * 3 and mask.getpixel((12, 2)) == (0,) * 3
    assert composite.getpixel((2, 2)) == (255, 0, 0, 255) and composite.getpixel((12, 2))[3] == 0
    assert files(tmp_path) == ["00000-1.png", "00001-1-mask.png", "00002-1-mask-composite.png"]


def test_colours_are_matched_after_a_copy_is_kept(job, tmp_path):
    p = job(save_images_before_color_correction=True, save_to_dirs=False, samples_filename_pattern="[seed]")
    p.color_corrections = [image_ops.setup_color_correction(Image.new("RGB", (16, 16), "blue"))]
    corrected = finish(p, 1).images[0]
    assert files(tmp_path) == ["00000-1-before-color-correction.png", "00001-1.png"]
    with Image.open(tmp_path / "00000-1-before-color-correction.png") as kept:
        assert kept.getpixel((0, 0)) == (255, 0, 0)
    assert corrected.getpixel((0, 0)) != (255, 0, 0)


def with_grid(p, count=2):
    result = finish(p, count)
    output.add_grid(p, result, lambda: "grid text")
    return result


def test_the_grid_stands_first(job, tmp_path):
    result = with_grid(job(samples_save=False, return_grid=True, grid_save=True, grid_save_to_dirs=False))
    assert len(result.images) == 3 and result.index_of_first_image == 1
    assert result.images[0].size in ((32, 16), (16, 32))
    assert result.infotexts[0] == result.images[0].info["parameters"] == "grid text"
    assert len(files(tmp_path)) == 1 and files(tmp_path)[0].startswith("grid-")


@pytest.mark.parametrize(
    ("count", "settings", "images"),
    [
        (1, {"return_grid": True, "grid_only_if_multiple": True}, 1),
        (1, {"return_grid": True, "grid_only_if_multiple": False}, 2),
        (2, {"return_grid": False, "grid_save": False}, 2),
        (0, {"return_grid": True, "grid_only_if_multiple": False}, 0),
    ],
)
def test_when_there_is_a_grid(job, count, settings, images):
    p = job(samples_save=False, **{"grid_save": False} | settings)
    assert len(with_grid(p, count).images) == images


def test_a_job_may_refuse_its_grid(job):
    p = job(samples_save=False)
    p.do_not_save_grid = True
    assert len(with_grid(p).images) == 2
