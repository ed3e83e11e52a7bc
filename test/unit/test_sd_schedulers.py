import json
from pathlib import Path

import pytest
import torch

from modules import sd_models, sd_schedulers, shared
from modules.sampling import schedules
from test.ours import without_ours

DATA = json.loads((Path(__file__).parents[1] / "data" / "schedulers.json").read_text(encoding="utf8"))
CPU = torch.device("cpu")


def test_rows_are_those_of_the_menu():
    fields = ("name", "label", "default_rho", "need_inner_model", "aliases")
    wanted = [tuple(row[field] for field in fields) for row in DATA["schedulers"]]
    rows = without_ours("schedulers", sd_schedulers.schedulers, lambda row: row.name)
    assert [tuple(getattr(x, field) for field in fields) for x in rows] == wanted
    assert [x.name for x in sd_schedulers.schedulers if x.function is None] == ["automatic"]


def test_schedules_are_found_by_name_and_by_label():
    for row in sd_schedulers.schedulers:
        assert sd_schedulers.schedulers_map[row.name] is sd_schedulers.schedulers_map[row.label] is row
    assert "SGMUniform" not in sd_schedulers.schedulers_map


@pytest.mark.parametrize(("is_sdxl", "table"), [(False, schedules.AYS_SD15), (True, schedules.AYS_SDXL)])
def test_align_your_steps_has_a_table_for_the_current_model(monkeypatch, is_sdxl, table):
    model = type("Model", (), {"is_sdxl": is_sdxl})()
    monkeypatch.setattr(sd_models.model_data, "sd_model", model)
    sigmas = sd_schedulers.get_align_your_steps_sigmas(11, 0.1, 5.0, CPU)
    assert sigmas.tolist() == pytest.approx([*table, 0.0])


def test_beta_takes_its_parameters_from_the_settings():
    with shared.opts.overlay({"beta_dist_alpha": 1.0, "beta_dist_beta": 1.0}):
        sigmas = sd_schedulers.beta_scheduler(3, 1.0, 3.0, None, CPU)
    assert sigmas.tolist() == pytest.approx([3.0, 2.0, 1.0, 0.0])


def test_rows_take_positional_arguments_as_extensions_give_them():
    row = sd_schedulers.Scheduler("mine", "Mine", None, 3.0, True, ["m"])
    assert (row.default_rho, row.need_inner_model, row.aliases, row.recorded_options) == (3.0, True, ["m"], {})
