"""engine: the CodeFormer face restorer.

Its network is in the package spandrel-extra-arches, whose licence does not allow every use; so it is never installed by
default.
"""

from __future__ import annotations

import os

import numpy as np
import torch

from modules import devices, errors, face_restoration_utils, shared, upscaler_files
from modules.face_restoration import FaceRestorationSettings

model_url = "https://github.com/sczhou/CodeFormer/releases/download/v0.1.0/codeformer.pth"
model_download_name = "codeformer-v0.1.0.pth"


class FaceRestorerCodeFormer(face_restoration_utils.CommonFaceRestoration):
    """CodeFormer, on every face of an image."""

    model_url = model_url
    model_download_name = model_download_name

    def name(self) -> str:
        """Returns its name in the settings."""
        return "CodeFormer"

    def get_device(self) -> torch.device:
        """Returns the device that the network runs on."""
        return devices.device_codeformer

    def load_net(self) -> torch.nn.Module:
        """Returns the network of the model file; raises NotSupported without its package, NotFound without a file."""
        if not upscaler_files.has_extra_architectures():
            raise errors.NotSupported(
                "CodeFormer needs the package spandrel-extra-arches: pip install spandrel-extra-arches"
            )
        for path in self.model_files():
            return upscaler_files.load_spandrel_model(
                path, device=self.get_device(), expected_architecture="CodeFormer"
            ).model
        raise errors.NotFound(f"no CodeFormer model is in {self.model_path}")

    def restore(self, np_image: np.ndarray, w: float | None = None) -> np.ndarray:
        """Returns the image with its faces restored. w: 0 (strongest effect) to 1, the setting if not given."""
        weight = FaceRestorationSettings.from_opts(shared.opts).code_former_weight if w is None else w

        def restore_face(face: torch.Tensor) -> torch.Tensor:
            """Returns an aligned face as the network restores it."""
            return self.net(face, weight=weight, adain=True)[0]

        return self.restore_with_helper(np_image, restore_face)


codeformer = FaceRestorerCodeFormer(os.path.join(shared.models_path, "Codeformer"))


def setup_model(dirname: str) -> None:
    """Offers the restorer; its model is in the folder dirname."""
    codeformer.model_path = dirname
    if codeformer not in shared.face_restorers:
        shared.face_restorers.append(codeformer)
