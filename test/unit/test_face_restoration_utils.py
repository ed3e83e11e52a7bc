import builtins

import numpy as np
import pytest
import torch
from torch import nn

from modules import devices, face_restoration_utils, shared, torchvision_ops, upscaler_files
from modules.errors import NotFound, NotSupported
from modules.face_restoration_utils import CommonFaceRestoration

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid")


class OneFace(nn.Module):
    """A detector that finds one face of 60 pixels, in pictures whose short side is 640 pixels."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def detect_faces(self, image, threshold):
        x1, y1, x2, y2 = 200, 200, 440, 440
        eyes, nose, mouth = [270, 290, 370, 290], [320, 340], [280, 390, 360, 390]
        return np.array([[x1, y1, x2, y2, 0.99, *eyes, *nose, *mouth]], dtype=np.float32)


class NoFace(OneFace):
    def detect_faces(self, image, threshold):
        return np.zeros((0, 15), dtype=np.float32)


def helper_with(detector):
    """A helper of facexlib with a detector of ours."""
    torchvision_ops.declare_missing()
    module = pytest.importorskip("facexlib.utils.face_restoration_helper")
    helper = module.FaceRestoreHelper.__new__(module.FaceRestoreHelper)
    template = [[192.98, 239.95], [318.90, 240.19], [256.63, 314.02], [201.26, 371.41], [313.09, 371.15]]
    vars(helper).update(
        template_3points=False,
        upscale_factor=1,
        crop_ratio=(1, 1),
        face_size=(512, 512),
        face_template=np.array(template),
        save_ext="png",
        pad_blur=False,
        use_parse=False,
        device=torch.device("cpu"),
        face_det=detector,
        face_parse=nn.Identity(),
    )
    helper.clean_all()
    return helper


@pytest.fixture
def picture():
    generator = np.random.default_rng(0)
    return generator.integers(0, 200, (160, 160, 3), dtype=np.uint8)


def test_images_become_tensors_and_back():
    image = np.random.default_rng(0).random((4, 5, 3))
    tensor = face_restoration_utils.bgr_image_to_rgb_tensor(image)
    assert tensor.shape == (3, 4, 5) and tensor.dtype == torch.float32
    assert tensor[0, 0, 0] == np.float32(image[0, 0, 2])
    back = face_restoration_utils.rgb_tensor_to_bgr_image(tensor[None])
    assert np.allclose(back, image)
    scaled = face_restoration_utils.rgb_tensor_to_bgr_image(tensor * 2 - 1, min_max=(-1.0, 1.0))
    assert np.allclose(scaled, image, atol=1e-6)


def test_found_face_is_replaced(picture):
    seen = []

    def restore_face(face):
        seen.append(face)
        return torch.ones_like(face)

    restored = face_restoration_utils.restore_with_face_helper(picture, helper_with(OneFace()), restore_face)
    assert [tuple(face.shape) for face in seen] == [(1, 3, 512, 512)]
    assert seen[0].min() >= -1 and seen[0].max() <= 1
    assert restored.shape == picture.shape and restored.dtype == np.uint8
    assert (restored[75:85, 75:85] > 250).all()
    assert np.abs(restored[:10].astype(int) - picture[:10]).max() <= 2


def test_picture_without_faces_is_returned(picture):
    restored = face_restoration_utils.restore_with_face_helper(picture, helper_with(NoFace()), lambda face: 1 / 0)
    assert restored is picture


def test_face_without_memory_stays(picture, caplog):
    def restore_face(face):
        raise torch.OutOfMemoryError

    restored = face_restoration_utils.restore_with_face_helper(picture, helper_with(OneFace()), restore_face)
    assert np.abs(restored[75:85, 75:85].astype(int) - picture[75:85, 75:85]).mean() < 40
    assert "Not enough memory" in caplog.text


def test_missing_package_is_named(monkeypatch):
    original = builtins.__import__

    def without_facexlib(name, *args, **kwargs):
        if name.startswith("facexlib"):
            raise ImportError("No module named 'facexlib'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_facexlib)
    with pytest.raises(NotSupported, match="pip install facexlib"):
        face_restoration_utils.create_face_helper(torch.device("cpu"))


def test_overlapping_boxes_are_dropped():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 9]])
    scores = torch.tensor([0.5, 0.9, 0.1, 0.8])
    kept = face_restoration_utils.non_maximum_suppression(boxes, scores, 0.65)
    assert kept.tolist() == [1, 3, 2]
    assert face_restoration_utils.non_maximum_suppression(boxes[:0], scores[:0], 0.6).tolist() == []


class Inverter(CommonFaceRestoration):
    """Restores faces to their negative. error: what loading its network raises."""

    error = None

    def name(self):
        return "Inverter"

    def get_device(self):
        return torch.device("cpu")

    def load_net(self):
        if self.error:
            raise self.error
        return nn.Linear(1, 1)

    def restore(self, np_image):
        return self.restore_with_helper(np_image, lambda face: -face)


def test_network_is_loaded_once_and_unloaded_if_wanted(picture):
    restorer = Inverter("folder")
    restorer.face_helper = helper_with(OneFace())
    with shared.opts.overlay({"face_restoration_unload": True}):
        first = restorer.restore(picture)
    net = restorer.net
    second = restorer.restore(picture)
    assert restorer.net is net
    assert np.array_equal(first, second)
    assert not np.array_equal(first, picture)


@pytest.mark.parametrize("error", [NotFound("no model"), OSError("no network")])
def test_what_is_missing_leaves_the_picture(picture, caplog, error):
    restorer = Inverter("folder")
    restorer.error = error
    assert restorer.restore(picture) is picture
    assert "Inverter is not available and the picture stays as it is: no " in caplog.text


def test_missing_face_finder_leaves_the_picture(picture, monkeypatch):
    def fail(device, weights_dir):
        raise NotSupported("no facexlib")

    monkeypatch.setattr(face_restoration_utils, "create_face_helper", fail)
    assert Inverter("folder").restore(picture) is picture


def test_model_files_are_looked_for_in_its_folder(monkeypatch):
    restorer = Inverter("/models/here")
    restorer.model_url, restorer.model_download_name = "https://example.com/m.pth", "m.pth"
    monkeypatch.setattr(upscaler_files, "load_models", lambda **kwargs: [kwargs["model_path"], kwargs["download_name"]])
    assert restorer.model_files() == ["/models/here", "m.pth"]


def test_base_class_leaves_the_rest_to_its_children():
    with pytest.raises(NotImplementedError):
        CommonFaceRestoration("x").get_device()
    with pytest.raises(NotImplementedError):
        CommonFaceRestoration("x").load_net()
    assert devices.device_gfpgan == devices.cpu
