"""engine: what a backend is: something that computes a network in the place of torch's eager mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import nn


class Unavailable(Exception):
    """A backend cannot be used, or not for this call; the text says why, and what would help."""


class Compiled(Protocol):
    """A network as a backend computes it, for all sizes of its inputs. title: as infotexts name the backend."""

    title: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the network does. Changed weights count at once. Raises Unavailable, or RuntimeError."""

    def prepare(self) -> Iterator[None]:
        """Does ahead of the next calls what they would begin with, as far as it can be foreseen, a part before each
        yield. Between these there may be calls. Raises Unavailable, or RuntimeError.
        """

    def forget(self) -> None:
        """Gives back the memory of what can be made again, since the network is not needed for now."""

    def left_out(self) -> AbstractContextManager[Any]:
        """Has the network itself compute by torch's eager mode, inside the block."""


class Backend(Protocol):
    """A way to compute networks."""

    def compile(self, network: nn.Module) -> Compiled:
        """Prepares a network, which stays as it is. What takes long may wait for the first call. Raises Unavailable."""
