"""engine: what all face restorers share: finding faces with facexlib, running a network on each, pasting them back."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from modules import devices, errors, face_restoration, shared, torchvision_ops, upscaler_files
from modules.face_restoration import FaceRestorationSettings

if TYPE_CHECKING:
    from facexlib.utils.face_restoration_helper import FaceRestoreHelper

logger = logging.getLogger(__name__)

RestoreFace = Callable[[torch.Tensor], torch.Tensor]

FACE_SIZE = 512  # pixels of the square that networks work on
DETECTION_SIZE = 640  # short side of the image that faces are looked for in
MIN_EYE_DISTANCE = 5  # pixels; smaller faces are left alone


def bgr_image_to_rgb_tensor(img: np.ndarray) -> torch.Tensor:
    """Returns a BGR image (H, W, 3) in 0..1 as an RGB tensor (3, H, W), float32."""
    return torch.from_numpy(np.ascontiguousarray(img[:, :, ::-1].transpose(2, 0, 1), dtype=np.float32))


def rgb_tensor_to_bgr_image(tensor: torch.Tensor, *, min_max: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """Returns an RGB tensor (3, H, W) or (1, 3, H, W) as a BGR image (H, W, 3); min_max becomes 0..1."""
    low, high = min_max
    pixels = tensor.squeeze(0).float().detach().cpu().clamp(low, high)
    return ((pixels - low) / (high - low)).numpy().transpose(1, 2, 0)[:, :, ::-1]


def create_face_helper(device: torch.device, weights_dir: str | None = None) -> FaceRestoreHelper:
    """Returns facexlib's finder and aligner of faces; its weights are looked for in weights_dir, and downloaded there.

    Raises NotSupported without the package facexlib.
    """
    _supply_nms()
    try:
        from facexlib.utils.face_restoration_helper import FaceRestoreHelper
    except ImportError as e:
        raise errors.NotSupported(f"face restoration needs the package facexlib ({e}): pip install facexlib") from e

    return FaceRestoreHelper(
        upscale_factor=1,
        face_size=FACE_SIZE,
        crop_ratio=(1, 1),
        det_model="retinaface_resnet50",
        save_ext="png",
        use_parse=True,
        device=device,
        model_rootpath=weights_dir,
    )


@functools.cache
def _supply_nms() -> None:
    """Gives torchvision the operator that facexlib calls, where its own ones do not fit the installed torch."""
    operators = torchvision_ops.declare_missing()
    if operators is not None:
        operators.impl("nms", non_maximum_suppression, "CompositeExplicitAutograd")


def non_maximum_suppression(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Returns the indexes of the boxes (n, 4: x1, y1, x2, y2) to keep, best score first.

    A box goes when its intersection over union with a better one that stays exceeds iou_threshold.
    """
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    remaining = scores.argsort(descending=True)
    kept = []
    while len(remaining):
        best, remaining = remaining[0], remaining[1:]
        kept.append(best)
        top_left = torch.maximum(boxes[best, :2], boxes[remaining, :2])
        bottom_right = torch.minimum(boxes[best, 2:], boxes[remaining, 2:])
        overlap = (bottom_right - top_left).clamp(min=0).prod(dim=1)
        remaining = remaining[overlap / (area[best] + area[remaining] - overlap) <= iou_threshold]
    return torch.stack(kept) if kept else scores.new_zeros(0, dtype=torch.long)


def restore_with_face_helper(
    np_image: np.ndarray, face_helper: FaceRestoreHelper, restore_face: RestoreFace
) -> np.ndarray:
    """Returns the image (H, W, 3), RGB, uint8, with every face that the helper finds replaced by restore_face's.

    restore_face: aligned faces (1, 3, 512, 512), RGB in -1..1, to restored ones of the same shape and range. A face
    for which there is no memory stays as it is.
    """
    try:
        face_helper.clean_all()
        face_helper.read_image(np_image[:, :, ::-1])
        face_helper.get_face_landmarks_5(
            only_center_face=False, resize=DETECTION_SIZE, eye_dist_threshold=MIN_EYE_DISTANCE
        )
        if not face_helper.all_landmarks_5:
            return np_image
        face_helper.align_warp_face()
        for face in face_helper.cropped_faces:
            face_helper.add_restored_face(_restore_crop(face, face_helper.device, restore_face))
        face_helper.get_inverse_affine(None)
        return np.ascontiguousarray(face_helper.paste_faces_to_input_image()[:, :, ::-1])
    finally:
        face_helper.clean_all()


def _restore_crop(face: np.ndarray, device: torch.device, restore_face: RestoreFace) -> np.ndarray:
    """Returns an aligned face (512, 512, 3), BGR, 0..255, restored, uint8."""
    aligned = bgr_image_to_rgb_tensor(face / 255.0) * 2 - 1
    try:
        with torch.inference_mode():
            restored = restore_face(aligned.unsqueeze(0).to(device))
    except torch.OutOfMemoryError:
        errors.report("Not enough memory to restore a face", exc_info=True)
        restored = aligned
    devices.torch_gc()
    return (rgb_tensor_to_bgr_image(restored, min_max=(-1.0, 1.0)) * 255.0).astype(np.uint8)


class CommonFaceRestoration(face_restoration.FaceRestoration):
    """A restorer that runs a network on every face. Its model is loaded, and downloaded, when first needed.

    model_path: folder of its model. net: the network, once loaded.
    """

    net: torch.nn.Module | None = None
    model_url: str
    model_download_name: str

    def __init__(self, model_path: str):
        super().__init__()
        self.net = None
        self.model_path = model_path

    @cached_property
    def face_helper(self) -> FaceRestoreHelper:
        """The finder and aligner of faces, made when first needed."""
        return create_face_helper(self.get_device(), os.path.join(shared.models_path, "GFPGAN"))

    def get_device(self) -> torch.device:
        """Returns the device that the network runs on."""
        raise NotImplementedError

    def load_net(self) -> torch.nn.Module:
        """Returns the network; raises one of our errors if that cannot be done."""
        raise NotImplementedError

    def model_files(self) -> list[str]:
        """Returns the model files in the restorer's folder, downloading the model if there is none."""
        return upscaler_files.load_models(
            model_path=self.model_path,
            model_url=self.model_url,
            command_path=self.model_path,
            download_name=self.model_download_name,
            ext_filter=[".pth"],
        )

    def send_model_to(self, device: torch.device) -> None:
        """Moves the network and the face finder's networks to a device."""
        if self.net is not None:
            self.net.to(device)
        if "face_helper" in self.__dict__:
            self.face_helper.face_det.to(device)
            self.face_helper.face_parse.to(device)

    def restore_with_helper(self, np_image: np.ndarray, restore_face: RestoreFace) -> np.ndarray:
        """Returns the image with its faces restored, or as it is, with a word in the log, if something is missing."""
        try:
            if self.net is None:
                self.net = self.load_net()
            face_helper: Any = self.face_helper
        except (errors.WebuiError, OSError) as e:
            logger.warning("%s is not available and the picture stays as it is: %s", self.name(), e)
            return np_image
        try:
            self.send_model_to(self.get_device())
            return restore_with_face_helper(np_image, face_helper, restore_face)
        finally:
            if FaceRestorationSettings.from_opts(shared.opts).face_restoration_unload:
                self.send_model_to(devices.cpu)
