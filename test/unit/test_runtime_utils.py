"""Settings of a job, laid over the user's."""

import threading

import pytest

from modules import shared
from modules.errors import InvalidInput, NotFound
from modules.runtime_utils import read_overrides, temporary_opts


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


def test_null_leaves_a_setting_out():
    with temporary_opts({"nonsense": None, "CLIP_stop_at_last_layers": None, "eta_ddim": 0.5}):
        assert shared.opts.eta_ddim == 0.5
        assert shared.opts.CLIP_stop_at_last_layers == 1


def test_values_are_read():
    values, _ = read_overrides({"CLIP_stop_at_last_layers": 2.0, "tiling": "false", "randn_source": "nv"})
    assert values == {"CLIP_stop_at_last_layers": 2, "tiling": False, "randn_source": "NV"}
    assert type(values["CLIP_stop_at_last_layers"]) is int


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"CLIP_stop_at_last_layers": 1.5}, "a whole number"),
        ({"sd_vae": "no-such"}, "one of Automatic, None"),
        ({"upscaler_for_img2img": "no-such"}, "the nearest is"),
        ({"clip_stop_at_last_layers": 2}, "nearest is 'CLIP_stop_at_last_layers'"),
    ],
)
def test_values_that_cannot_be_are_refused(program, overrides, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        read_overrides(overrides)
    assert caught.value.field in overrides


def test_checkpoints_are_called_by_a_name_they_have(program):
    assert read_overrides({"sd_model_checkpoint": "demo-emoji"})[0] == {"sd_model_checkpoint": "demo-emoji"}
    assert read_overrides({"sd_model_checkpoint": ""})[0] == {}
    with pytest.raises(NotFound, match="the nearest is 'demo-emoji") as caught:
        read_overrides({"sd_model_checkpoint": "no-such"})
    assert caught.value.field == "sd_model_checkpoint"


def test_what_has_no_effect_is_told():
    ineffective = read_overrides({"outdir_txt2img_samples": "/x", "api_useragent": "x", "eta_ddim": 0.5})[1]
    assert ineffective == ["outdir_txt2img_samples", "api_useragent"]


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
