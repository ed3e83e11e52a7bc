"""state: what a run of the program works with, bundled for extensions.

Data only: the job fills it, the program never reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    import torch

    from modules.opts_snapshot import OptsSnapshot
    from modules.shared_state import State


@dataclass(frozen=True, slots=True)
class RuntimeContext:
    """What one run of process_images works with, for extensions to read as `p.runtime_context`.

    It is there from the `process` hook of a run until the run ends, and stays on `p` afterwards; before, it is None.
    Each run makes a new one. It holds references: making it copies and moves nothing, and copying `p` does not copy it.
    """

    model: torch.nn.Module
    """The model the run begins with, `shared.sd_model`.

    A refiner or a hires checkpoint makes another model current later.
    """

    opts_snapshot: OptsSnapshot
    """All settings of the run, override_settings included: `opts_snapshot.samples_format`. It cannot change, and what
    it says about saving is what the run does."""

    device: torch.device
    """Where the model runs, `shared.device`. Make tensors for the model here."""

    state: State
    """The live `shared.state`: progress of the job, and whether it was interrupted or skipped. It is not frozen."""

    cmd_opts: argparse.Namespace
    """The command line, `shared.cmd_opts`, with the flags that extensions added. To be read only."""

    def __copy__(self) -> RuntimeContext:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> RuntimeContext:
        return self
