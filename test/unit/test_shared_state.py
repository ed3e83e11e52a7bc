"""Progress of a job, previews, and commands to the server."""

import threading

import pytest
from PIL import Image

from modules.options import OptionInfo, Options
from modules.shared_state import State


@pytest.fixture
def opts():
    return Options(
        {
            "live_previews_enable": OptionInfo(True),
            "show_progress_every_n_steps": OptionInfo(3),
            "colour": OptionInfo("red"),
        },
        (),
    )


@pytest.fixture
def state(opts):
    state = State(opts)
    state.set_preview_provider(lambda latent: Image.new("RGB", (1, 1), latent))
    return state


def test_begin_forgets_the_last_job(state):
    state.skip()
    state.interrupt()
    state.stop_generating()
    state.sampling_step, state.job_no, state.textinfo, state.processing_has_refined_job_count = 5, 2, "text", True
    state.current_latent, state.overlay = "red", {"colour": "blue"}
    state.do_set_current_image()
    state.begin("txt2img")
    assert state.dict() == {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": "txt2img",
        "job_count": -1,
        "job_timestamp": state.job_timestamp,
        "job_no": 0,
        "sampling_step": 0,
        "sampling_steps": 0,
    }
    assert (state.current_latent, state.current_image, state.id_live_preview, state.textinfo) == (None, None, 0, None)
    assert not state.processing_has_refined_job_count
    assert not state.overlay
    assert len(state.job_timestamp) == 14


def test_end_keeps_the_flags(state):
    state.begin()
    state.interrupt()
    state.end()
    assert (state.job, state.job_count, state.interrupted) == ("", 0, True)


def test_nextjob_counts_and_starts_the_steps_anew(state):
    state.begin()
    state.sampling_step = state.current_image_sampling_step = 7
    state.nextjob()
    assert (state.job_no, state.sampling_step, state.current_image_sampling_step) == (1, 0, 0)
    assert state.id_live_preview == 0


class TestPreviews:
    def test_one_is_made_when_enough_steps_have_passed(self, state):
        state.current_latent = "red"
        made = []
        for state.sampling_step in range(7):
            state.set_current_image()
            made.append(state.id_live_preview)
        assert made == [0, 0, 0, 1, 1, 1, 2]
        assert state.current_image.getpixel((0, 0)) == (255, 0, 0)

    @pytest.mark.parametrize("setting", [{"live_previews_enable": False}, {"show_progress_every_n_steps": -1}])
    def test_none_is_made_when_switched_off(self, state, opts, setting):
        opts.data.update(setting)
        state.current_latent, state.sampling_step = "red", 100
        state.set_current_image()
        assert state.current_image is None

    def test_none_is_made_beside_sampling_when_memory_is_scarce(self, opts):
        state = State(opts, parallel_previews=lambda: False)
        state.set_preview_provider(lambda latent: Image.new("RGB", (1, 1)))
        state.current_latent, state.sampling_step = "red", 100
        state.set_current_image()
        assert state.current_image is None

    def test_one_per_batch_is_made_when_the_batch_ends(self, state, opts):
        opts.data["show_progress_every_n_steps"] = -1
        state.current_latent = "red"
        state.nextjob()
        assert state.id_live_preview == 1

    def test_none_is_made_without_a_latent_or_without_a_provider(self, state, opts):
        state.do_set_current_image()
        assert state.current_image is None
        unprovided = State(opts)
        unprovided.current_latent = "red"
        unprovided.do_set_current_image()
        assert (unprovided.current_image, unprovided.id_live_preview) == (None, 0)

    def test_a_failing_decoder_costs_only_the_preview(self, state):
        state.set_preview_provider(lambda latent: 1 / 0)
        state.current_latent = "red"
        state.do_set_current_image()
        assert state.current_image is None

    def test_another_thread_sees_the_settings_of_the_job(self, state, opts):
        state.set_preview_provider(lambda latent: Image.new("RGB", (1, 1), opts.colour))
        state.overlay, state.current_latent, state.sampling_step = {"colour": "blue"}, "any", 9
        thread = threading.Thread(target=state.set_current_image)
        thread.start()
        thread.join()
        assert state.current_image.getpixel((0, 0)) == (0, 0, 255)
        assert opts.colour == "red"


class TestServerCommand:
    def test_waiting_ends_with_the_command_which_is_seen_once(self, state):
        threading.Timer(0.05, lambda: setattr(state, "server_command", "stop")).start()
        assert state.wait_for_server_command(timeout=10) == "stop"
        assert state.server_command is None
        assert state.wait_for_server_command(timeout=0.01) is None

    def test_a_restart_interrupts_the_job(self, state):
        state.request_restart()
        assert state.need_restart
        assert state.interrupted

    def test_older_scripts_set_need_restart(self, state):
        state.need_restart = False
        assert state.server_command is None
        state.need_restart = True
        assert state.server_command == "restart"
