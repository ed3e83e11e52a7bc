"""job: what goes between the server and its workers: messages, and how images, results and errors are packed.

A message is a tuple that begins with its name. To a worker: run (a Task), tell (what the user asks for), answer (to
what it asked), unload and reload (the model), end. From a worker: ready (facts), state, preview, seeds, batch, claim,
pixels, file (that is about to appear), finished, done, failed.
"""

from __future__ import annotations

import io
import pickle
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from PIL import Image

from modules.errors import WebuiError

if TYPE_CHECKING:
    from modules.job.request import JobRequest

ENTRY = "modules.worker"
"""The module that a worker's process begins with."""

KEPT_ON_IMAGES = ("record", "already_saved_as")
"""What the program knows of an image, beside what Pillow does."""

Message = tuple[Any, ...]


class WorkerLost(WebuiError):
    """A worker has ended, or cannot be reached. The message holds its last words."""

    http_status = 500


class Link(Protocol):
    """The way to one worker. `receive` belongs to one thread at a time, `send` to any."""

    def send(self, message: Message) -> None:
        """Sends a message. Raises WorkerLost."""

    def receive(self) -> Message:
        """Waits for the next message. Raises WorkerLost."""

    def close(self) -> None:
        """Ends the worker, whatever it is doing."""


@dataclass(frozen=True)
class Task:
    """What a worker is asked for.

    number: of the task, so that what is said to it reaches no later one. name: what `state.job` shows. settings: those
    of whoever asked. styles: name -> style, where the request names some. files: name of a list that settings choose
    from -> the files that the server found for it. share: whether it leads a run that others help with, helps with one,
    or does all of it. finished: number of a batch -> (images, infotexts) that a lost worker has made of it.
    """

    number: int
    name: str
    request: JobRequest
    settings: dict[str, Any]
    styles: dict[str, Any]
    files: dict[str, list[str]]
    share: Literal["all", "lead", "help"] = "all"
    finished: dict[int, tuple[list[Any], list[str]]] = field(default_factory=dict)


class Packer(pickle.Pickler):
    """Pickles images with what the program knows of them."""

    def reducer_override(self, value: Any) -> Any:
        """Returns how an image is packed; everything else as usual."""
        if isinstance(value, Image.Image):
            known = {name: vars(value)[name] for name in KEPT_ON_IMAGES if name in vars(value)}
            return unpacked_image, (Image.Image.__getstate__(value), known)
        return NotImplemented


def unpacked_image(state: list[Any], known: dict[str, Any]) -> Image.Image:
    """Returns the image that was packed."""
    image = Image.Image()
    image.__setstate__(state)
    vars(image).update(known)
    return image


def packed(value: Any) -> bytes:
    """Returns a value as bytes; raises whatever says that it cannot be."""
    file = io.BytesIO()
    Packer(file, pickle.HIGHEST_PROTOCOL).dump(value)
    return file.getvalue()


def is_packable(value: Any) -> bool:
    """Says whether a value can be sent."""
    try:
        packed(value)
    except Exception:  # a value of an extension may raise anything
        return False
    return True


unpacked = pickle.loads


def portable_error(error: BaseException) -> BaseException:
    """Returns an error as it can be sent, with where it was raised as a note."""
    error.add_note("In the worker:\n" + "".join(traceback.format_tb(error.__traceback__)))
    try:
        unpacked(packed(error))
    except Exception:  # of an extension, whose class is known to nobody else
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
