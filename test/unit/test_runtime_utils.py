"""Settings of a job, laid over the user's."""

import threading

import pytest

from modules import shared
from modules.errors import InvalidInput
from modules.runtime_utils import temporary_opts


@pytest.fixture(autouse=True)
def stored(monkeypatch):
    monkeypatch.setattr(shared.opts, "data", {"samples_format": "png", "api_useragent": ""})
    return shared.opts.data


def test_values_hold_inside_and_the_users_stay_stored(stored):
    with temporary_opts({"samples_format": "webp", "eta_ddim": 0.5}):
        assert (shared.opts.samples_format, shared.opts.eta_ddim) == ("webp", 0.5)
        assert stored == {"samples_format": "png", "api_useragent": ""}
    assert (shared.opts.samples_format, shared.opts.eta_ddim) == ("png", 0.0)
    assert stored == {"samples_format": "png", "api_useragent": ""}


def test_they_end_with_an_exception():
    with pytest.raises(KeyboardInterrupt), temporary_opts({"samples_format": "webp"}):
        raise KeyboardInterrupt
    assert shared.opts.samples_format == "png"


def test_what_the_user_changes_meanwhile_is_kept():
    with temporary_opts({"samples_format": "webp"}):
        thread = threading.Thread(target=lambda: shared.opts.set("samples_format", "jpg"))
        thread.start()
        thread.join()
        assert shared.opts.samples_format == "webp"
    assert shared.opts.samples_format == "jpg"


def test_nothing_to_override_is_fine():
    for overrides in (None, {}):
        with temporary_opts(overrides):
            assert shared.opts.samples_format == "png"


def test_an_unknown_setting_is_named():
    with pytest.raises(InvalidInput, match="nonsense") as caught, temporary_opts({"nonsense": 1}):
        pass
    assert caught.value.field == "nonsense"


def test_an_unknown_setting_without_a_value_is_passed_over():
    with temporary_opts({"nonsense": None, "eta_ddim": 0.5}):
        assert shared.opts.eta_ddim == 0.5


def test_what_the_api_may_not_change_is_skipped(monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "hide_ui_dir_config", True)
    overrides = {"api_useragent": "x", "outdir_samples": "/x", "profiling_explanation": "x", "eta_ddim": 0.5}
    with temporary_opts(overrides) as _:
        assert (shared.opts.api_useragent, shared.opts.outdir_samples, shared.opts.eta_ddim) == ("", "", 0.5)


def test_frozen_settings_fail(monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "freeze_settings", True)
    with pytest.raises(InvalidInput, match="--freeze-settings"), temporary_opts({"eta_ddim": 0.5}):
        pass


def test_values_stay_when_they_are_not_to_be_restored(stored):
    with temporary_opts({"samples_format": "webp", "api_useragent": "x"}, restore_afterwards=False):
        assert shared.opts.samples_format == "webp"
    assert stored == {"samples_format": "webp", "api_useragent": ""}


def test_previews_of_other_threads_are_told_of_the_values():
    with temporary_opts({"show_progress_type": "Full"}):
        with temporary_opts({"show_progress_grid": False}):
            assert dict(shared.state.overlay) == {"show_progress_type": "Full", "show_progress_grid": False}
        assert dict(shared.state.overlay) == {"show_progress_type": "Full"}
    assert not shared.state.overlay
