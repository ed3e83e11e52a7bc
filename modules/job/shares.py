"""job: which batches of a run this process samples, where other processes sample some of them.

Whoever leads a run does everything but the sampling of the batches that others have taken, so that seeds, infotexts,
numbers of files, grid and order are those of a run without help. A helper runs the same request, and hands its batches
over as soon as they are decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Share:
    """The part of a run that this process has: by default all of it."""

    def numbers(self, n_iter: int) -> Iterable[int]:
        """Yields the numbers of the batches to go through, of 0 to n_iter - 1."""
        return range(n_iter)

    def finished(self, n: int) -> tuple[Sequence[Any], Sequence[str]] | None:
        """Returns (images, infotexts) of batch n if it has been made and saved before, by a process that is lost."""
        return None

    def pixels_of(self, n: int) -> torch.Tensor | None:
        """Returns what another process has made of batch n (B, 3, H, W); None if it is to be sampled here."""
        return None

    def hand_over(self, n: int, pixels: torch.Tensor) -> bool:
        """Takes batch n (B, 3, H, W) to the one who leads the run; False where that is this process."""
        return False

    def note_finished(self, n: int, images: Sequence[Any], infotexts: Sequence[str]) -> None:
        """Notes what came of batch n, files included."""


ALL = Share()

current: ContextVar[Share] = ContextVar("share", default=ALL)
"""The share of the run that this context carries out."""
