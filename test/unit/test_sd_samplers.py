import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from modules import errors, sd_samplers, sd_samplers_common, shared, shared_items
from modules.sd_samplers_common import SamplerData
from modules.sd_samplers_kdiffusion import KDiffusionSampler
from test.ours import without_ours
from test.unit.sampler_jobs import PromptModel

DATA = Path(__file__).parents[1] / "data"
TABLE = json.loads((DATA / "samplers.json").read_text(encoding="utf8"))["samplers"]
NAMES = json.loads((DATA / "misc_vectors.json").read_text(encoding="utf8"))["sampler_and_scheduler"]


def test_all_samplers_stand_in_the_order_of_the_menu():
    names = [x.name for x in sd_samplers.all_samplers]
    assert without_ours("samplers", names) == [row["name"] for row in TABLE]
    assert sd_samplers.samplers == sd_samplers.samplers_for_img2img == sd_samplers.all_samplers
    assert shared_items.list_samplers() == sd_samplers.all_samplers


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["name"])
def test_every_row_makes_a_sampler(row):
    sampler = sd_samplers.create_sampler(row["name"], PromptModel())
    assert sampler.config.name == row["name"]
    assert type(sampler).__name__ == row["class"]
    assert sampler.config.total_steps(7) == 7 * row["denoiser_calls_per_step_assumed"]


def test_names_and_aliases_are_mapped_in_lower_case():
    for row in TABLE:
        for name in (row["name"].lower(), *row["aliases"]):
            assert sd_samplers.samplers_map[name] == row["name"]


def test_unknown_names_are_an_error_that_names_the_field():
    with pytest.raises(errors.InvalidInput, match="'Nope'") as caught:
        sd_samplers.create_sampler("Nope", PromptModel())
    assert caught.value.field == "sampler_name"
    assert sd_samplers.find_sampler_config("Nope") is None


def test_no_name_is_the_first_sampler():
    assert sd_samplers.find_sampler_config(None).name == "DPM++ 2M"


@pytest.fixture
def mine(monkeypatch):
    """An extension's sampler, appended as extensions do it, and gone after the test."""
    row = SamplerData("Mine", lambda model: KDiffusionSampler("sample_euler", model), ["k_mine"], {"no_sdxl": True})
    monkeypatch.setattr(sd_samplers, "all_samplers", [*sd_samplers.all_samplers, row])
    monkeypatch.setattr(sd_samplers, "all_samplers_map", dict(sd_samplers.all_samplers_map))
    sd_samplers.set_samplers()
    yield row
    monkeypatch.undo()
    sd_samplers.set_samplers()


def test_extensions_append_samplers(mine):
    assert sd_samplers.samplers[-1] is mine
    assert sd_samplers.samplers_map["k_mine"] == "Mine"
    assert sd_samplers.create_sampler("Mine", PromptModel()).config is mine
    assert sd_samplers.get_sampler_and_scheduler("Mine Karras", None) == ("Mine", "Karras")


def test_some_samplers_are_not_for_sdxl(mine):
    with pytest.raises(errors.InvalidInput, match="SDXL"):
        sd_samplers.create_sampler("Mine", PromptModel(architecture="sdxl"))


def test_hidden_samplers_are_not_visible():
    try:
        with shared.opts.overlay({"hide_samplers": ["LMS", "PLMS"]}):
            sd_samplers.set_samplers()
        names = sd_samplers.visible_sampler_names()
        assert "LMS" not in names
        assert len(names) == len(sd_samplers.samplers) - 2
    finally:
        sd_samplers.set_samplers()
    assert "LMS" in sd_samplers.visible_sampler_names()


@pytest.mark.parametrize("row", NAMES, ids=lambda row: f"{row['sampler']} {row['scheduler']}")
def test_names_are_taken_as_v1_10_1_takes_them(row):
    given = row["sampler"], row["scheduler"]
    assert sd_samplers.get_sampler_and_scheduler(*given) == tuple(row["convert_automatic"])
    assert sd_samplers.get_sampler_and_scheduler(*given, convert_automatic=False) == tuple(row["plain"])


def test_infotext_gives_sampler_and_schedule():
    infotext = {"Sampler": "DPM++ 2M Karras"}
    assert sd_samplers.get_sampler_from_infotext(infotext) == "DPM++ 2M"
    assert sd_samplers.get_scheduler_from_infotext(infotext) == "Automatic"
    infotext = {"Sampler": "Euler", "Schedule type": "Karras"}
    assert sd_samplers.get_scheduler_from_infotext(infotext) == "Karras"


@pytest.mark.parametrize(
    ("infotext", "wanted"),
    [
        ({"Sampler": "Euler", "Schedule type": "Automatic"}, ("Use same sampler", "Use same scheduler")),
        ({"Sampler": "Euler", "Schedule type": "Automatic", "Hires sampler": "DDIM"}, ("DDIM", "Use same scheduler")),
        (
            {"Sampler": "Euler", "Schedule type": "Automatic", "Hires schedule type": "Karras"},
            ("Use same sampler", "Karras"),
        ),
        ({"Sampler": "Euler", "Hires sampler": "Heun Karras"}, ("Heun", "Karras")),
    ],
)
def test_infotext_gives_sampler_and_schedule_of_the_hires_pass(infotext, wanted):
    got = sd_samplers.get_hr_sampler_from_infotext(infotext), sd_samplers.get_hr_scheduler_from_infotext(infotext)
    assert got == wanted


def test_a_job_gets_the_names_that_are_meant(caplog):
    p = SimpleNamespace(sampler_name="DPM++ 2M Karras", scheduler=None)
    with caplog.at_level(logging.WARNING):
        sd_samplers.fix_p_invalid_sampler_and_scheduler(p)
    assert (p.sampler_name, p.scheduler) == ("DPM++ 2M", "Karras")
    assert caplog.messages == ["'DPM++ 2M Karras' is taken as 'DPM++ 2M'"]


def test_names_left_open_are_no_reason_to_warn(caplog):
    p = SimpleNamespace(sampler_name=None, scheduler=None)
    sd_samplers.fix_p_invalid_sampler_and_scheduler(p)
    assert (p.sampler_name, p.scheduler) == ("DPM++ 2M", "Automatic")
    assert caplog.messages == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["name"])
def test_eta_noise_seed_delta_belongs_to_some_samplers(row):
    p = SimpleNamespace(sampler_name=row["name"], eta=None, sampler=None)
    assert sd_samplers_common.is_sampler_using_eta_noise_seed_delta(p) == row["uses_ensd"]
    p.sampler = SimpleNamespace(eta=0.0)
    assert not sd_samplers_common.is_sampler_using_eta_noise_seed_delta(p)
    p.sampler, p.eta = None, 0
    assert not sd_samplers_common.is_sampler_using_eta_noise_seed_delta(p)


def test_a_row_is_found_from_below_where_only_the_map_of_extensions_has_it(mine, monkeypatch):
    row = mine._replace(name="Only in the map", options={"uses_ensd": True})
    monkeypatch.setitem(sd_samplers.all_samplers_map, row.name, row)
    assert shared_items.find_sampler(row.name) is row
    assert shared_items.find_sampler(None) is sd_samplers.all_samplers[0]
    assert shared_items.find_sampler("Nope") is None
    p = SimpleNamespace(sampler_name=row.name, eta=None, sampler=None)
    assert sd_samplers_common.is_sampler_using_eta_noise_seed_delta(p)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Euler a", ("Euler a", None)),
        (" euler A ", ("Euler a", None)),
        ("k_euler_a", ("Euler a", None)),
        ("dpm++ 2m sgm uniform", ("DPM++ 2M", "SGM Uniform")),
        ("k_dpm_2 karras", ("DPM2", "Karras")),
    ],
)
def test_typed_names(text, names):
    assert sd_samplers.read_name(text) == names


def test_typed_names_that_there_are_not():
    for text in ("", "Karras", "Euler b c", "Euler a Nothing"):
        with pytest.raises(errors.InvalidInput, match="the nearest is"):
            sd_samplers.read_name(text)


def test_names_that_another_one_stands_in_for_are_told():
    assert sd_samplers.unknown_names(None, None) == []
    assert sd_samplers.unknown_names("DPM++ 2M Karras", "Automatic") == []
    remarks = sd_samplers.unknown_names("euler a", "karras!")
    assert "'euler a', DPM++ 2M was used; the nearest is 'Euler a'" in remarks[0]
    assert "'karras!', Automatic was used; the nearest is 'Karras'" in remarks[1]


@pytest.mark.parametrize(
    ("infotext", "unknown"),
    [
        ({"Sampler": "Euler", "Schedule type": "Karras"}, {}),
        ({}, {}),
        ({"Sampler": "DPM++ 2M Karras"}, {}),
        ({"Sampler": "Flux Realistic"}, {"sampler_name": "Flux Realistic"}),
        ({"Sampler": "Euler", "Schedule type": "Bong Tangent"}, {"scheduler": "Bong Tangent"}),
        ({"Unknown sampler": "res_2s", "Unknown schedule type": "x"}, {"sampler_name": "res_2s", "scheduler": "x"}),
        ({"Hires sampler": "res_2s", "Hires schedule type": "x"}, {"hr_sampler_name": "res_2s", "hr_scheduler": "x"}),
        ({"Hires sampler": "Euler a", "Hires schedule type": "Karras"}, {}),
    ],
)
def test_names_that_are_not_known_choose_nothing(infotext, unknown):
    assert sd_samplers.unknown_in_infotext(infotext) == unknown
    assert (sd_samplers.get_sampler_from_infotext(infotext) is None) == ("sampler_name" in unknown)
    assert (sd_samplers.get_scheduler_from_infotext(infotext) is None) == ("scheduler" in unknown)
    if "hr_sampler_name" in unknown or "Unknown sampler" in infotext:
        assert sd_samplers.get_hr_sampler_from_infotext(infotext) == "Use same sampler"
    if "hr_scheduler" in unknown or "scheduler" in unknown:
        assert sd_samplers.get_hr_scheduler_from_infotext(infotext) == "Use same scheduler"
