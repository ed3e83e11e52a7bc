import numpy as np
import pytest
from PIL import Image

from modules import upscaler_files
from modules.textual_inversion import autocrop
from modules.textual_inversion.autocrop import PointOfInterest, Settings


def plain(width, height):
    return Image.new("RGB", (width, height), (128, 128, 128))


def with_noise(width, height, box):
    """A grey picture with noise in a box."""
    image = plain(width, height)
    size = (box[3] - box[1], box[2] - box[0], 3)
    noise = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    image.paste(Image.fromarray(noise), box[:2])
    return image


@pytest.mark.parametrize(
    ("size", "target", "scaled"),
    [
        ((400, 200), (100, 50), (100, 50)),
        ((400, 200), (64, 64), (128, 64)),
        ((200, 400), (64, 64), (64, 128)),
        ((200, 200), (64, 32), (64, 64)),
        ((200, 200), (32, 64), (64, 64)),
    ],
)
def test_short_side_meets_the_target(size, target, scaled):
    settings = Settings(*target, annotate_image=True)
    cropped, annotated = autocrop.crop_image(plain(*size), settings)
    assert cropped.size == target
    assert annotated.size == scaled


def test_crop_goes_where_the_corners_are():
    image = with_noise(400, 100, (300, 20, 360, 80))
    settings = Settings(100, 100, entropy_points_weight=0, face_points_weight=0)
    focus = autocrop.focal_point(image, settings)
    assert 300 <= focus.x <= 360
    (cropped,) = autocrop.crop_image(image, settings)
    assert np.asarray(cropped).std() > 20


def test_crop_stays_inside():
    assert [autocrop._inside(start, 10, 30) for start in (-5, 5, 25)] == [0, 5, 20]


def test_nothing_that_stands_out_means_the_middle():
    settings = Settings(50, 50)
    assert vars(autocrop.focal_point(plain(100, 100), settings)) == {"x": 50, "y": 50, "weight": 1.0, "size": 10}
    assert autocrop.image_corner_points(plain(100, 100), settings) == []


def test_detail_draws_the_window():
    image = with_noise(60, 200, (0, 120, 60, 180))
    (point,) = autocrop.image_entropy_points(image, Settings(60, 60))
    assert 140 <= point.y <= 160
    assert point.x == 30
    assert autocrop.image_entropy_points(plain(50, 50), Settings(50, 50)) == []


def test_entropy_counts_shares_of_black_and_white():
    half = Image.new("L", (2, 1))
    half.putpixel((1, 0), 255)
    assert autocrop.image_entropy(half) == 2
    assert autocrop.image_entropy(Image.new("L", (4, 4))) == 0


def test_groups_are_weighed_by_their_settings(monkeypatch):
    monkeypatch.setattr(autocrop, "image_corner_points", lambda im, settings: [PointOfInterest(0, 0)])
    monkeypatch.setattr(autocrop, "image_entropy_points", lambda im, settings: [])
    monkeypatch.setattr(
        autocrop, "image_face_points", lambda im, settings: [PointOfInterest(80, 40), PointOfInterest(120, 80)]
    )
    image = plain(100, 100)
    settings = Settings(corner_points_weight=0.5, face_points_weight=1.5, annotate_image=True)
    focus = autocrop.focal_point(image, settings)
    assert (focus.x, focus.y) == (75, 45)
    assert len(image.getcolors(256)) > 1


def test_group_without_weight_is_not_asked(monkeypatch):
    asked = []
    for group in ("corner", "entropy", "face"):
        monkeypatch.setattr(
            autocrop, f"image_{group}_points", lambda im, settings, group=group: asked.append(group) or []
        )
    autocrop.focal_point(plain(64, 32), Settings(face_points_weight=0))
    assert asked == ["corner", "entropy"]


def test_faces_need_a_detector_and_lie_at_the_eyes(monkeypatch):
    import cv2

    class Detector:
        def detect(self, pixels):
            assert pixels.shape == (40, 60, 3)
            return 1, np.array([[10, 10, 20, 30, 0.9], [30, 5, 10, 10, 0.8]], dtype=np.float32)

    assert autocrop.image_face_points(plain(60, 40), Settings()) == []
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *args: Detector())
    points = autocrop.image_face_points(plain(60, 40), Settings(dnn_model_path="x.onnx"))
    assert [(point.x, point.y, point.weight) for point in points] == [(20, 19, 0.5), (35, 8, 0.5)]


def test_debug_picture_is_shown_if_asked(monkeypatch):
    shown = []
    monkeypatch.setattr(Image.Image, "show", lambda self: shown.append(self))
    autocrop.crop_image(plain(64, 64), Settings(32, 32, annotate_image=True, desktop_view_image=True))
    assert len(shown) == 1


def test_face_detector_is_a_download(monkeypatch):
    monkeypatch.setattr(upscaler_files, "load_file_from_url", lambda url, model_dir, file_name: (model_dir, file_name))
    assert autocrop.download_and_cache_models()[1] == "face_detection_yunet.onnx"
