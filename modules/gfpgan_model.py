"""engine: the GFPGAN face restorer."""

from __future__ import annotations

import os

import numpy as np
import torch

from modules import devices, errors, face_restoration_utils, shared, upscaler_files

model_url = "https://github.com/TencentARC/GFPGAN/releases/download/v1.3.0/GFPGANv1.4.pth"
model_download_name = "GFPGANv1.4.pth"


class FaceRestorerGFPGAN(face_restoration_utils.CommonFaceRestoration):
    """GFPGAN, on every face of an image."""

    model_url = model_url
    model_download_name = model_download_name

    def name(self) -> str:
        """Returns its name in the settings."""
        return "GFPGAN"

    def get_device(self) -> torch.device:
        """Returns the device that the network runs on."""
        return devices.device_gfpgan

    def load_net(self) -> torch.nn.Module:
        """Returns the network of the model file; raises NotFound without one."""
        for path in self.model_files():
            if "GFPGAN" in os.path.basename(path):
                return upscaler_files.load_spandrel_model(
                    path, device=self.get_device(), expected_architecture="GFPGAN"
                ).model
        raise errors.NotFound(f"no GFPGAN model is in {self.model_path}")

    def restore(self, np_image: np.ndarray) -> np.ndarray:
        """Returns the image (H, W, 3), RGB, uint8, with its faces restored; as it is without a model."""

        def restore_face(face: torch.Tensor) -> torch.Tensor:
            """Returns an aligned face as the network restores it."""
            return self.net(face, return_rgb=False)[0]

        return self.restore_with_helper(np_image, restore_face)


gfpgan_face_restorer = FaceRestorerGFPGAN(os.path.join(shared.models_path, "GFPGAN"))


def gfpgan_fix_faces(np_image: np.ndarray) -> np.ndarray:
    """Returns the image (H, W, 3), RGB, uint8, with its faces restored."""
    return gfpgan_face_restorer.restore(np_image)


def setup_model(dirname: str) -> None:
    """Offers the restorer; its model is in the folder dirname."""
    gfpgan_face_restorer.model_path = dirname
    if gfpgan_face_restorer not in shared.face_restorers:
        shared.face_restorers.append(gfpgan_face_restorer)
