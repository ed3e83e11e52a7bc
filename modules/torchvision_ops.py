"""engine: makes `import torchvision` work beside a torch that its compiled operators do not fit.

transformers and spandrel import torchvision but use none of its compiled operators. From mixed package indexes comes a
torchvision whose operators cannot load, and its import then stops at the first operator it describes.
"""

from __future__ import annotations

import functools
import threading

import torch

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


lock = threading.Lock()


def declare_missing() -> torch.library.Library | None:
    """Declares the operators torchvision's import asks for, if they are not there; call it before transformers or
    spandrel are imported. Returns the declarations, which live as long as they are referenced: here, forever.
    """
    with lock:  # the first image's thread and the one that loads the model may both be here first
        return declared()


@functools.cache
def declared() -> torch.library.Library | None:
    """Declares them once."""
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return None
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in OPERATORS:
            library.define(operator)
        return library
    return None
