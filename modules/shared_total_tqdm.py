"""state: the second console bar, which counts the steps of a whole job."""

from __future__ import annotations

import argparse
from typing import TextIO

import tqdm

from modules.options import Options
from modules.shared_state import State


class TotalTQDM:
    """A console bar over all steps of all batches, shown while the setting multiple_tqdm is on."""

    def __init__(self, opts: Options, state: State, cmd_opts: argparse.Namespace, file: TextIO):
        self._opts = opts
        self._state = state
        self._cmd_opts = cmd_opts
        self._file = file
        self._tqdm: tqdm.tqdm | None = None

    def reset(self) -> None:
        """Shows a new bar over the steps of the job that begins."""
        total = self._state.job_count * self._state.sampling_steps
        self._tqdm = tqdm.tqdm(desc="Total progress", total=total, position=1, file=self._file)

    def update(self) -> None:
        """Counts one step."""
        if self._is_shown():
            if self._tqdm is None:
                self.reset()
            self._tqdm.update()

    def updateTotal(self, new_total: int) -> None:
        """Changes the number of steps of the job."""
        if self._is_shown():
            if self._tqdm is None:
                self.reset()
            self._tqdm.total = new_total

    def clear(self) -> None:
        """Removes the bar at the end of a job."""
        if self._tqdm is not None:
            self._tqdm.close()
            self._tqdm = None

    def _is_shown(self) -> bool:
        return self._opts.multiple_tqdm and not self._cmd_opts.disable_console_progressbars
