"""engine: face restorers: what one is, and the one that the settings choose."""

from __future__ import annotations

import numpy as np

from modules import shared


class FaceRestoration:
    """Makes the faces in a picture better. Registered ones are listed in `shared.face_restorers`."""

    def name(self) -> str:
        return "None"

    def restore(self, np_image: np.ndarray) -> np.ndarray:
        """Return the picture (H, W, 3), RGB, uint8, with restored faces; unchanged if the restorer cannot work."""
        return np_image


def restore_faces(np_image: np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3), RGB, uint8, restored as the setting face_restoration_model says."""
    chosen = shared.opts.face_restoration_model
    for restorer in shared.face_restorers:
        if chosen is None or restorer.name() == chosen:
            return restorer.restore(np_image)
    return np_image
