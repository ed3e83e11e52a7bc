"""What a job can be asked for: the declarations, and what is read from them."""

import dataclasses
import inspect

import pytest

from modules import processing, shared
from modules.job import request

KINDS = [
    (request.Txt2ImgFields, processing.StableDiffusionProcessingTxt2Img),
    (request.Img2ImgFields, processing.StableDiffusionProcessingImg2Img),
]


@pytest.mark.parametrize(("fields_type", "job_type"), KINDS)
def test_the_job_takes_what_is_declared(fields_type, job_type):
    declared = [field.name for field in dataclasses.fields(fields_type)]
    assert list(inspect.signature(job_type).parameters) == declared
    assert issubclass(job_type, fields_type) and issubclass(job_type, processing.StableDiffusionProcessing)


@pytest.mark.parametrize(("fields_type", "job_type"), KINDS)
def test_defaults_are_those_of_the_declaration(fields_type, job_type, program):
    p, declared = job_type(), fields_type()
    resolved = {"sd_model", "styles", "extra_generation_params", "override_settings", "initial_noise_multiplier"}
    resolved |= {"comments"}
    for field in dataclasses.fields(fields_type):
        if field.name not in resolved | {"mask_blur"}:
            assert getattr(p, field.name) == getattr(declared, field.name), field.name


def test_positions_of_the_constructor_are_those_extensions_use():
    p = processing.StableDiffusionProcessingTxt2Img(None, "samples", "grids", "red apple", None, "worm", ["a"], 5)
    assert (p.outpath_samples, p.outpath_grids, p.prompt, p.negative_prompt) == (
        "samples",
        "grids",
        "red apple",
        "worm",
    )
    assert (p.styles, p.seed) == (["a"], 5)


def test_ranges_name_settings_that_exist(program):
    for fields_type in request.FIELDS.values():
        for low, high in request.facts(fields_type, "limits").values():
            assert low <= (getattr(shared.opts, high) if isinstance(high, str) else high)


def test_facts_are_of_the_fields_that_state_them():
    @dataclasses.dataclass
    class Fields:
        steps: int = request.asked(20, limits=(1, 150), infotext="Steps")
        quiet: bool = False
        speed: float = request.asked(1.0, infotext="Speed")

    assert request.facts(Fields, "infotext") == {"steps": "Steps", "speed": "Speed"}
    assert request.facts(Fields, "limits") == {"steps": (1, 150)}
    assert request.facts(Fields, "page") == {}
    assert Fields() == Fields(20, False, 1.0)


def test_the_hires_pass_of_the_page_is_a_part_of_the_request():
    names = list(request.facts(request.Txt2ImgFields, "page"))
    assert names[0] == "hr_scale" and names[-1] == "hr_negative_prompt"
    assert all(name.startswith("hr_") for name in names)
