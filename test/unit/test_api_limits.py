"""Ranges of the numbers in a request, with the request models of the API."""

import pytest
from pydantic import BaseModel

from modules.api import limits
from modules.api.models import StableDiffusionImg2ImgProcessingAPI as Img2Img
from modules.api.models import StableDiffusionTxt2ImgProcessingAPI as Txt2Img
from modules.errors import InvalidInput


def refused(request):
    """The field that is out of range, and what the error says of it."""
    with pytest.raises(InvalidInput) as caught:
        limits.check(request)
    return caught.value.field, str(caught.value)


@pytest.mark.parametrize("model", [Txt2Img, Img2Img])
def test_request_that_says_nothing_is_fine(model):
    limits.check(model())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 7),
        ("height", 0),
        ("width", -512),
        ("steps", 0),
        ("batch_size", 0),
        ("n_iter", 0),
        ("seed", 2**64),
        ("subseed", -(2**63) - 1),
        ("cfg_scale", float("nan")),
        ("cfg_scale", float("inf")),
        ("denoising_strength", -0.1),
        ("cfg_scale", 1e7),
        ("subseed_strength", -1e7),
    ],
)
def test_number_out_of_range_names_its_field(field, value):
    found, text = refused(Img2Img(**{field: value}))
    assert found == field
    assert text.startswith(f"{field} is {value}, but must be from ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 8),
        ("steps", 1),
        ("seed", -1),
        ("seed", 2**64 - 1),
        ("subseed", -(2**63)),
        ("denoising_strength", 0.0),
        ("cfg_scale", -3.5),
        ("mask_blur", 0),
    ],
)
def test_end_of_a_range_is_inside(field, value):
    limits.check(Img2Img(**{field: value}))


@pytest.mark.parametrize(
    ("field", "setting"),
    [
        ("width", "api_max_size"),
        ("height", "api_max_size"),
        ("seed_resize_from_w", "api_max_size"),
        ("mask_blur_x", "api_max_size"),
        ("steps", "api_max_steps"),
        ("batch_size", "api_max_batch_size"),
        ("n_iter", "api_max_n_iter"),
    ],
)
def test_setting_is_the_upper_end(settings, field, setting):
    settings(**{setting: 600})
    limits.check(Img2Img(**{"width": 64, "height": 64, field: 600}))
    found, text = refused(Img2Img(**{"width": 64, "height": 64, field: 601}))
    assert found == field
    assert f"(the setting {setting} changes the upper end)" in text


def test_first_field_out_of_range_is_named():
    assert refused(Txt2Img(steps=0, width=0))[0] == next(
        name for name in Txt2Img.model_fields if name in ("steps", "width")
    )


def test_fields_of_the_hires_pass_count_only_with_one():
    wrong = {"hr_scale": -1.0, "denoising_strength": -5.0}
    limits.check(Txt2Img(**wrong))
    assert refused(Txt2Img(enable_hr=True, **wrong))[0] in wrong


def test_fields_of_no_hires_pass_are_numbers_all_the_same():
    assert refused(Txt2Img(hr_scale=float("nan")))[0] == "hr_scale"


@pytest.mark.parametrize(
    ("fields", "is_allowed"),
    [
        ({"hr_scale": 2.0}, True),
        ({"hr_scale": 2.1}, False),
        ({"hr_resize_x": 1024}, True),
        ({"hr_resize_y": 1024}, True),
        ({"hr_resize_y": 1032}, False),
        ({"hr_resize_x": 1024, "hr_resize_y": 1024}, True),
    ],
)
def test_size_after_the_hires_pass(settings, fields, is_allowed):
    settings(api_max_size=1024)
    request = Txt2Img(enable_hr=True, denoising_strength=0.5, width=512, height=512, **fields)
    if is_allowed:
        limits.check(request)
    else:
        assert refused(request)[0] in ("hr_scale", "hr_resize_y")


def test_null_becomes_the_default():
    request = Txt2Img(width=None, steps=None, cfg_scale=None, prompt=None)
    limits.replace_nulls(request)
    fresh = Txt2Img()
    for name in ("width", "steps", "cfg_scale", "prompt"):
        assert getattr(request, name) == getattr(fresh, name), name


def test_null_stays_where_it_says_something():
    request = Img2Img(resize_mode=None, inpainting_fill=None, tiling=None, inpaint_full_res=None, mask_blur=None)
    limits.replace_nulls(request)
    assert request.resize_mode is request.inpainting_fill is request.tiling is request.mask_blur is None


def test_flags_are_no_numbers():
    class Request(BaseModel):
        width: bool = True

    limits.check(Request())
    limits.check(Request(width=False))


def test_value_that_was_sent_is_kept():
    request = Txt2Img(width=768)
    limits.replace_nulls(request)
    assert request.width == 768
