"""engine: face restorers: what one is, and the one that the settings choose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modules import shared
from modules.options import OptionValues


@dataclass(frozen=True)
class FaceRestorationSettings(OptionValues):
    """What face restorers take from the settings. The names are those of the options."""

    code_former_weight: float
    face_restoration_model: str | None
    face_restoration_unload: bool


class FaceRestoration:
    """What makes the faces in an image better. Registered ones are listed in `shared.face_restorers`."""

    def name(self) -> str:
        """Returns the name that the setting face_restoration_model chooses it by."""
        return "None"

    def restore(self, np_image: np.ndarray) -> np.ndarray:
        """Returns the image (H, W, 3), RGB, uint8, with restored faces; unchanged if the restorer cannot work."""
        return np_image


def restore_faces(np_image: np.ndarray) -> np.ndarray:
    """Returns the image (H, W, 3), RGB, uint8, restored as the setting face_restoration_model says."""
    chosen = FaceRestorationSettings.from_opts(shared.opts).face_restoration_model
    for restorer in shared.face_restorers:
        if chosen is None or restorer.name() == chosen:
            return restorer.restore(np_image)
    return np_image
