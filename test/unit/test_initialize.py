import logging
import threading

import pytest

from modules import initialize
from modules.timer import startup_timer


def test_steps_fill_what_requests_choose_from(program):
    from modules import checkpoints, scripts, sd_samplers, shared

    assert [sampler.name for sampler in sd_samplers.all_samplers]
    assert any("demo-emoji" in title for title in checkpoints.checkpoints_list)
    assert scripts.scripts_data
    assert "Lanczos" in [upscaler.name for upscaler in shared.sd_upscalers]
    assert shared.gradio_theme is not None


def test_steps_are_timed(program):
    assert {"list checkpoints", "load scripts", "load upscalers"} <= startup_timer.records.keys()


def test_optional_step_that_fails_is_reported_and_timed(caplog):
    initialize.optional_step("making tea", lambda cups: 1 / cups, 0)
    assert "making tea: ZeroDivisionError" in caplog.text
    assert "making tea" in startup_timer.records


def test_step_that_fails_ends_the_start():
    with pytest.raises(ZeroDivisionError):
        initialize.step("dividing", lambda: 1 / 0)


def test_imports_are_timed_and_no_telemetry_is_sent(monkeypatch):
    monkeypatch.delenv("GRADIO_ANALYTICS_ENABLED", raising=False)
    initialize.imports()
    assert initialize.os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert {"import torch", "import gradio", "import modules"} <= startup_timer.records.keys()


def test_versions_are_checked_unless_told_otherwise(monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    initialize.check_versions()
    assert caplog.text == ""

    monkeypatch.setattr(initialize.errors.metadata, "version", lambda name: "0.1")
    monkeypatch.setattr(initialize.cmd_opts, "skip_version_check", True)
    initialize.check_versions()
    assert caplog.text == ""
    monkeypatch.setattr(initialize.cmd_opts, "skip_version_check", False)
    initialize.check_versions()
    assert "torch is 0.1" in caplog.text and "gradio is 0.1" in caplog.text


def test_a_thread_loads_the_model_unless_the_flags_say_otherwise(monkeypatch):
    started = []
    monkeypatch.setattr(initialize, "load_model", lambda: started.append(threading.current_thread().name))
    monkeypatch.setattr(initialize.cmd_opts, "skip_load_model_at_start", True)
    assert initialize.start_loading_model() is None
    monkeypatch.setattr(initialize.cmd_opts, "skip_load_model_at_start", False)
    initialize.start_loading_model().join()
    assert started == ["load model"]


def test_model_is_loaded_ahead(sd_model):
    from modules import shared

    initialize.load_model()
    assert shared.sd_model is sd_model
