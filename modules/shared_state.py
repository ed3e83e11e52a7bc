"""state: what the running job is doing: its name, counts, flags, preview, and the command the server waits for.

Read by every thread, written by the job and by the buttons. Knows no tensors: a preview is made by a function the
engine registers.
"""

from __future__ import annotations

import datetime
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from modules import errors
from modules.options import NO_OVERLAY, Options

logger = logging.getLogger(__name__)

PreviewProvider = Callable[[Any], Image.Image | None]


class State:
    """Progress of the running job.

    job: its name, "" while there is none. job_no of job_count: batches sampled; job_count is -1 until the job knows.
    sampling_step of sampling_steps: inside the batch. skipped, interrupted, stopping_generation: what the user asked
    for. current_latent: newest denoised latent (B, C, h, w); current_image: the preview made of it, numbered by
    id_live_preview. textinfo: text beside the progress bar. time_start, server_start: seconds since the epoch. overlay:
    settings of the running job that differ from the user's, so that previews asked for by another thread obey them.
    """

    def __init__(self, opts: Options, parallel_previews: Callable[[], bool] = lambda: True):
        self.skipped = False
        self.interrupted = False
        self.stopping_generation = False
        self.job = ""
        self.job_no = 0
        self.job_count = 0
        self.processing_has_refined_job_count = False
        self.job_timestamp = "0"
        self.sampling_step = 0
        self.sampling_steps = 0
        self.current_latent: Any = None
        self.current_image: Image.Image | None = None
        self.current_image_sampling_step = 0
        self.id_live_preview = 0
        self.textinfo: str | None = None
        self.time_start: float | None = None
        self.server_start = time.time()
        self.overlay: Mapping[str, Any] = NO_OVERLAY
        self.followers: list[Callable[[str], object]] = []
        """Are told what the user asks for: "skip", "interrupt" or "stop_generating"."""

        self._opts = opts
        self._parallel_previews = parallel_previews
        self._make_preview: PreviewProvider = lambda latent: None
        self._preview_lock = threading.Lock()
        self._server_command: str | None = None
        self._server_command_changed = threading.Condition()

    @property
    def need_restart(self) -> bool:
        """Whether the server was told to restart; older scripts set it."""
        return self.server_command == "restart"

    @need_restart.setter
    def need_restart(self, value: bool) -> None:
        """Asks the server to restart, if the value is true."""
        if value:
            self.server_command = "restart"

    @property
    def server_command(self) -> str | None:
        """What the launcher is to do next: "stop" or "restart"; setting it wakes `wait_for_server_command`."""
        return self._server_command

    @server_command.setter
    def server_command(self, value: str | None) -> None:
        """Gives the server a command, and wakes it."""
        with self._server_command_changed:
            self._server_command = value
            self._server_command_changed.notify_all()

    def wait_for_server_command(self, timeout: float | None = None) -> str | None:
        """Waits at most timeout seconds for a server command and returns it, so that it is seen once.

        None when none came.
        """
        with self._server_command_changed:
            self._server_command_changed.wait_for(lambda: self._server_command, timeout)
            command, self._server_command = self._server_command, None
            return command

    def request_restart(self) -> None:
        """Ends the running job and has the server build the page anew."""
        self.interrupt()
        self.server_command = "restart"
        logger.info("Received restart request")

    def skip(self) -> None:
        """Ends the batch being sampled; the job goes on with the next."""
        self.skipped = True
        self._tell("skip")
        logger.info("Received skip request")

    def interrupt(self) -> None:
        """Ends the job at its next step."""
        self.interrupted = True
        self._tell("interrupt")
        logger.info("Received interrupt request")

    def stop_generating(self) -> None:
        """Ends the job after the batch being sampled."""
        self.stopping_generation = True
        self._tell("stop_generating")
        logger.info("Received stop generating request")

    def _tell(self, wish: str) -> None:
        for follower in list(self.followers):
            follower(wish)

    def share(self) -> float:
        """Returns the share of the job that is done, 0..1: finished batches plus the steps of the one being sampled."""
        done = 0.0
        if self.job_count > 0:
            done += self.job_no / self.job_count
            if self.sampling_steps > 0:
                done += self.sampling_step / (self.job_count * self.sampling_steps)
        return min(done, 1.0)

    def begin(self, job: str = "(unknown)") -> None:
        """Starts a job: everything of the last one is forgotten."""
        self.time_start = time.time()
        self.job_timestamp = datetime.datetime.now().strftime("%Y%m%d%H%M%S")
        self.job_count = -1
        self.job_no = 0
        self.processing_has_refined_job_count = False
        self.sampling_step = 0
        self.sampling_steps = 0
        self.current_latent = None
        self.current_image = None
        self.current_image_sampling_step = 0
        self.id_live_preview = 0
        self.skipped = False
        self.interrupted = False
        self.stopping_generation = False
        self.textinfo = None
        self.overlay = NO_OVERLAY
        self.job = job
        logger.info("Starting job %s", job)

    def end(self) -> None:
        """Ends a job; its flags stay readable until the next one begins."""
        duration = time.time() - (self.time_start or time.time())
        logger.info("Ending job %s (%.2f seconds)", self.job, duration)
        self.job = ""
        self.job_count = 0

    def nextjob(self) -> None:
        """Moves on to the next batch; with previews once per batch, makes one of the batch that ends."""
        if self._opts.live_previews_enable and self._opts.show_progress_every_n_steps == -1:
            self.do_set_current_image()

        self.job_no += 1
        self.sampling_step = 0
        self.current_image_sampling_step = 0

    def dict(self) -> dict[str, Any]:
        """Returns what the REST API shows of a job."""
        return {
            "skipped": self.skipped,
            "interrupted": self.interrupted,
            "stopping_generation": self.stopping_generation,
            "job": self.job,
            "job_count": self.job_count,
            "job_timestamp": self.job_timestamp,
            "job_no": self.job_no,
            "sampling_step": self.sampling_step,
            "sampling_steps": self.sampling_steps,
        }

    def set_preview_provider(self, make_preview: PreviewProvider) -> None:
        """Sets the function that turns current_latent into an image, or into None where it cannot."""
        self._make_preview = make_preview

    def set_current_image(self) -> None:
        """Makes a new preview when enough steps passed since the last; called by whoever wants to see one."""
        if not self._parallel_previews():
            return

        with self._opts.overlay(self.overlay):
            every_n_steps = self._opts.show_progress_every_n_steps
            if not self._opts.live_previews_enable or every_n_steps == -1:
                return
            if self.sampling_step - self.current_image_sampling_step >= every_n_steps:
                self.do_set_current_image()

    def do_set_current_image(self) -> None:
        """Makes a preview of current_latent now, if there is one."""
        with self._preview_lock, self._opts.overlay(self.overlay):
            if self.current_latent is None:
                return
            step = self.sampling_step
            try:
                image = self._make_preview(self.current_latent)
            except Exception:  # the job's thread may move the decoder to another device meanwhile: no preview then
                errors.record_exception()
                return
            if image is not None:
                self.assign_current_image(image)
                self.current_image_sampling_step = step

    def assign_current_image(self, image: Image.Image) -> None:
        """Shows an image as the preview."""
        self.current_image = image
        self.id_live_preview += 1
