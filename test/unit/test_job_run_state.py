"""What a run knows: the request and what its stages fill."""

import dataclasses

import pytest

from modules import shared
from modules.job.run_state import Img2ImgState, RunState, Txt2ImgState, copy_of_job

STATES = [RunState, Txt2ImgState, Img2ImgState]


@pytest.mark.parametrize("state", STATES)
def test_what_stages_fill_cannot_be_asked_for(state):
    for name in ("all_seeds", "c", "runtime_context", "scripts_value"):
        with pytest.raises(TypeError, match=name):
            state(**{name: None})
    filled = [field.name for field in dataclasses.fields(state) if not field.init]
    assert len(filled) > 30 and "opts_snapshot" in filled


@pytest.mark.parametrize("state", STATES)
def test_nothing_is_shared_between_two_runs(state):
    first, second = state(), state()
    first.styles.append("a")
    first.override_settings["b"] = 1
    first.extra_generation_params["c"] = 1
    first.comment("d")
    assert second.styles == []
    assert second.override_settings == second.extra_generation_params == second.comments == {}


@pytest.mark.parametrize("state", STATES)
def test_a_copy_of_a_job_is_its_own(state):
    job = state(prompt="apple", override_settings={"tiling": True}, styles=["a"])
    job.cached_c, job.of_an_extension = [None, None], {"b": [1]}
    copied = copy_of_job(job)
    copied.prompt, copied.override_settings["tiling"], copied.of_an_extension["c"] = "pear", False, 2
    copied.extra_generation_params["d"] = 1
    copied.styles.append("e")
    assert (job.prompt, job.override_settings, job.styles) == ("apple", {"tiling": True}, ["a"])
    assert job.extra_generation_params == {} and job.of_an_extension == {"b": [1]}
    copied.comment("shown below the result of all")
    assert copied.comments is job.comments and copied.cached_c is job.cached_c


def test_what_is_given_is_taken_not_copied():
    overrides = {"tiling": True}
    assert RunState(override_settings=overrides).override_settings is overrides


def test_a_deprecated_argument_is_told(caplog):
    RunState(sampler_index=3)
    assert "sampler_index is deprecated" in caplog.text


def test_the_model_is_the_loaded_one(sd_model):
    run = Txt2ImgState(sd_model="anything")
    run.sd_model = None
    assert run.sd_model is shared.sd_model is sd_model


def test_scripts_are_set_up_as_soon_as_both_are_there():
    calls = []

    class Runner:
        def setup_scrips(self, p, is_ui):
            calls.append(is_ui)

    run = Txt2ImgState()
    run.is_api = True
    run.script_args = [0]
    assert calls == []
    run.scripts = Runner()
    run.scripts = Runner()
    assert calls == [False] and run.scripts_setup_complete
