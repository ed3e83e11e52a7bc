"""The hires pass: sizes, samplers and the count of jobs."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from modules import errors, processing, shared
from modules.errors import InvalidInput, NotFound
from modules.job import hires
from modules.job.request import Txt2ImgFields


def request(**fields):
    return processing.StableDiffusionProcessingTxt2Img(
        prompt="apple", enable_hr=True, sampler_name="Euler", scheduler="Automatic", **fields
    )


@pytest.mark.parametrize(
    ("size", "fields", "upscale_to", "truncate"),
    [
        ((512, 512), {"hr_scale": 2}, (1024, 1024), (0, 0)),
        ((512, 768), {"hr_scale": 1.55}, (793, 1190), (0, 0)),
        ((512, 768), {"hr_resize_x": 1024}, (1024, 1536), (0, 0)),
        ((512, 768), {"hr_resize_y": 1024}, (682, 1024), (0, 0)),
        ((512, 768), {"hr_resize_x": 1024, "hr_resize_y": 1024}, (1024, 1536), (0, 64)),
        ((768, 512), {"hr_resize_x": 1024, "hr_resize_y": 1024}, (1536, 1024), (64, 0)),
    ],
)
def test_size_of_the_second_pass(program, size, fields, upscale_to, truncate):
    p = request(width=size[0], height=size[1], **fields)
    hires.calculate_target_resolution(p)
    assert (p.hr_upscale_to_x, p.hr_upscale_to_y) == upscale_to
    assert (p.truncate_x, p.truncate_y) == truncate


def test_infotext_tells_scale_or_size(program):
    p = request(width=64, height=64, hr_scale=1.5)
    hires.calculate_target_resolution(p)
    assert p.extra_generation_params == {"Hires upscale": 1.5}
    p = request(width=64, height=64, hr_resize_x=128)
    hires.calculate_target_resolution(p)
    assert p.extra_generation_params == {"Hires resize": "128x0"}


@pytest.mark.parametrize(
    ("asked", "first"), [((512, 512), (512, 512)), ((1024, 1024), (512, 512)), ((1920, 1080), (704, 384))]
)
def test_first_pass_of_old_versions(asked, first):
    assert hires.old_first_pass_dimensions(*asked) == first


def test_old_versions_asked_for_the_final_size(program, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "use_old_hires_fix_width_height", True)
    p = request(width=1024, height=1024)
    for _ in range(2):  # a script may run one request several times
        hires.calculate_target_resolution(p)
        assert (p.width, p.height) == (512, 512)
        assert (p.hr_upscale_to_x, p.hr_upscale_to_y) == (1024, 1024)


@pytest.mark.parametrize(
    ("name", "schedule", "resolved"),
    [
        (None, None, (None, None)),
        ("Use same sampler", "Use same scheduler", (None, None)),
        ("Heun", "Karras", ("Heun", "Karras")),
        ("DPM++ 2M Karras", None, ("DPM++ 2M", "Karras")),
        ("DPM++ 2M Karras", "Exponential", ("DPM++ 2M", "Exponential")),
    ],
)
def test_sampler_of_the_second_pass(program, name, schedule, resolved):
    p = request(hr_sampler_name=name, hr_scheduler=schedule)
    hires.resolve_sampler(p)
    assert (p.hr_sampler_name, p.hr_scheduler) == resolved


def test_an_unknown_sampler_is_refused(program):
    with pytest.raises(errors.InvalidInput, match="'nothing'") as caught:
        hires.resolve_sampler(request(hr_sampler_name="nothing"))
    assert caught.value.field == "hr_sampler_name"


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"hr_checkpoint_name": "nowhere"}, errors.NotFound, "hr_checkpoint_name"),
        ({"hr_upscaler": "nothing"}, errors.NotFound, "hr_upscaler"),
        ({"hr_scale": 0.05}, errors.InvalidInput, "hr_scale"),
        ({"hr_resize_x": 4}, errors.InvalidInput, "hr_resize_x"),
    ],
)
def test_impossible_requests_name_their_field(program, fields, error, field):
    with pytest.raises(error) as caught:
        hires.init(request(**{"width": 64, "height": 64, "hr_upscaler": "Latent"} | fields))
    assert caught.value.field == field


def test_the_second_pass_doubles_the_count_of_jobs_once(program, monkeypatch):
    monkeypatch.setattr(shared.state, "job_count", -1)
    monkeypatch.setattr(shared.state, "processing_has_refined_job_count", False)
    p = request(n_iter=3)
    hires.count_second_pass(p)
    hires.count_second_pass(p)
    assert shared.state.job_count == 6


@pytest.mark.parametrize(("cut", "kept"), [((0, 0), (slice(0, 6), slice(0, 6))), ((1, 3), (slice(1, 4), slice(0, 5)))])
def test_the_odd_cell_is_cut_at_bottom_and_right(cut, kept):
    samples = torch.arange(36.0).view(1, 1, 6, 6)
    p = SimpleNamespace(truncate_x=cut[0], truncate_y=cut[1])
    assert torch.equal(hires.truncate(p, samples), samples[:, :, kept[0], kept[1]])


@pytest.mark.parametrize(("text", "value"), [("apple", None), ("pear", "pear")])
def test_a_prompt_of_its_own_is_told(text, value):
    p = SimpleNamespace(all_hr_prompts=["x", text], all_hr_negative_prompts=["x", text])
    assert hires.hires_prompt(p, 1, prompt_text="apple", negative_prompt="z") == value
    assert hires.hires_negative_prompt(p, 1, prompt_text="z", negative_prompt="apple") == value


def test_prompts_told_are_those_of_the_image_in_any_batch():
    p = SimpleNamespace(
        all_hr_prompts=list("abcd"), all_hr_negative_prompts=list("wxyz"), prompts=["c", "d"], iteration=1, batch_size=2
    )
    for all_prompts, index in ((p.prompts, 1), (["1", "2", "3", "4"], 3)):
        told = {"prompt_text": "", "negative_prompt": "", "all_prompts": all_prompts}
        assert hires.hires_prompt(p, index, **told) == "d"
        assert hires.hires_negative_prompt(p, index, **told) == "z"


@torch.no_grad()
def test_latents_are_interpolated_to_the_target(sd_model):
    p = request(width=64, height=64)
    p.latent_scale_mode = {"mode": "nearest", "antialias": False}
    p.hr_upscale_to_x, p.hr_upscale_to_y = 128, 96
    samples = torch.rand(1, 4, 8, 8)
    larger, _ = hires.upscale_latent(p, samples)
    assert larger.shape == (1, 4, 12, 16)
    assert torch.equal(larger[..., ::2], torch.nn.functional.interpolate(samples, size=(12, 8)))


def test_a_given_picture_stands_for_the_first_pass(sd_model):
    p = request(width=64, height=64)
    p.firstpass_image = Image.new("RGBA", (64, 64), (255, 0, 127, 255))
    p.latent_scale_mode, p.seeds = None, [1, 2]
    latent, pixels = hires.start_from_image(p)
    assert latent is None and pixels.shape == (2, 3, 64, 64)
    assert pixels[1, :2, 0, 0].tolist() == [1.0, -1.0]
    p.latent_scale_mode = shared.latent_upscale_modes["Latent"]
    with torch.no_grad():
        latent, pixels = hires.start_from_image(p)
    assert pixels is None and latent.shape == (2, 4, 8, 8)


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ((64, 96, 2.0, 0, 0), (128, 192)),
        ((64, 96, 1.3, 0, 0), (83, 124)),
        ((64, 96, 2.0, 100, 0), (100, 150)),
        ((64, 96, 2.0, 0, 100), (66, 100)),
        ((64, 96, 2.0, 128, 128), (128, 192)),
        ((96, 64, 2.0, 128, 128), (192, 128)),
        ((64, 64, 2.0, 128, 96), (128, 128)),
    ],
)
def test_the_size_needs_no_model(program, monkeypatch, asked, size):
    monkeypatch.setattr(processing.StableDiffusionProcessingTxt2Img, "sd_model", None)
    names = ("width", "height", "hr_scale", "hr_resize_x", "hr_resize_y")
    p = processing.StableDiffusionProcessingTxt2Img(**dict(zip(names, asked, strict=True)))
    hires.calculate_size(p)
    assert (p.hr_upscale_to_x, p.hr_upscale_to_y) == size


@pytest.mark.parametrize(
    ("width", "height", "scale", "resize", "longest"),
    [
        (64, 128, 2.0, (0, 0), 256),
        (64, 128, 2.0, (128, 0), 256),
        (64, 128, 2.0, (0, 512), 512),
        (64, 8, 2.0, (999, 999), 0),
    ],
)
def test_a_size_that_follows_has_a_limit(width, height, scale, resize, longest):
    fields = Txt2ImgFields(width=width, height=height, hr_scale=scale, hr_resize_x=resize[0], hr_resize_y=resize[1])
    hires.check_size(fields, max(longest, 1))
    if longest:
        with pytest.raises(InvalidInput, match=f"{longest} pixels long"):
            hires.check_size(fields, longest - 1)


def test_a_checkpoint_of_its_own_is_found_and_told(sd_model):
    info = sd_model.sd_checkpoint_info
    p = processing.StableDiffusionProcessingTxt2Img(hr_checkpoint_name=info.title)
    hires.resolve_checkpoint(p)
    assert p.hr_checkpoint_info.filename == info.filename
    assert p.extra_generation_params == {"Hires checkpoint": info.short_title}
    with pytest.raises(NotFound, match="nowhere"):
        hires.resolve_checkpoint(processing.StableDiffusionProcessingTxt2Img(hr_checkpoint_name="nowhere"))


@pytest.mark.parametrize("name", [None, "", "Use same checkpoint"])
def test_no_checkpoint_of_its_own(program, name):
    p = processing.StableDiffusionProcessingTxt2Img(hr_checkpoint_name=name)
    hires.resolve_checkpoint(p)
    assert p.hr_checkpoint_info is None and p.extra_generation_params == {}


@pytest.mark.parametrize(("name", "is_latent"), [(None, True), ("Latent (nearest)", True), ("Lanczos", False)])
def test_upscalers_work_on_cells_or_on_pixels(program, name, is_latent):
    p = processing.StableDiffusionProcessingTxt2Img(hr_upscaler=name)
    hires.resolve_upscaler(p)
    assert (p.latent_scale_mode is not None) is is_latent


def test_an_unknown_upscaler_is_named(program):
    with pytest.raises(NotFound, match="Magic") as caught:
        hires.resolve_upscaler(processing.StableDiffusionProcessingTxt2Img(hr_upscaler="Magic"))
    assert caught.value.field == "hr_upscaler"


@pytest.mark.parametrize(("resize", "field"), [(0, "hr_scale"), (4, "hr_resize_x")])
def test_a_size_below_a_cell_is_refused(sd_model, resize, field):
    p = processing.StableDiffusionProcessingTxt2Img(width=64, height=64, hr_scale=0.05, hr_resize_x=resize)
    with pytest.raises(InvalidInput, match="at least 8") as caught:
        hires.resolve_size(p)
    assert caught.value.field == field
