"""engine: cropping an image around what it is about: faces, corners and detail."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from modules import shared, upscaler_files

GREEN = "#0F0"
BLUE = "#00F"
RED = "#F00"

model_dir_opencv = os.path.join(shared.models_path, "opencv")
model_file_path = os.path.join(model_dir_opencv, "face_detection_yunet.onnx")
model_url = (
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx"
)

FACE_SCORE, FACE_NMS, FACE_CANDIDATES = 0.9, 0.3, 5000
FACE_CENTRE_HEIGHT = 0.33  # of the face's box, where the eyes are
MAX_CORNERS, CORNER_QUALITY, CORNER_DISTANCE = 100, 0.04, 0.06
WINDOW_STEP = 4  # pixels


class PointOfInterest:
    """A place worth keeping. x, y, size in pixels; weight: its share of the decision."""

    def __init__(self, x: float, y: float, weight: float = 1.0, size: float = 10):
        self.x = x
        self.y = y
        self.weight = weight
        self.size = size

    def bounding(self, size: float) -> list[float]:
        """Returns the box of this size around the point, as [x1, y1, x2, y2]."""
        return [self.x - size // 2, self.y - size // 2, self.x + size // 2, self.y + size // 2]


@dataclass
class Settings:
    """Target size in pixels, how much each kind of point counts, and whether an image of the points is wanted.

    dnn_model_path: the face detector's file; without it no faces are found. desktop_view_image: open that image.
    """

    crop_width: int = 512
    crop_height: int = 512
    corner_points_weight: float = 0.5
    entropy_points_weight: float = 0.5
    face_points_weight: float = 0.5
    annotate_image: bool = False
    dnn_model_path: str | None = None
    desktop_view_image: bool = False


def download_and_cache_models() -> str:
    """Returns the path of the face detector, downloading it if need be; raises NotFound if that fails."""
    return upscaler_files.load_file_from_url(
        model_url, model_dir=model_dir_opencv, file_name=os.path.basename(model_file_path)
    )


def crop_image(im: Image.Image, settings: Settings) -> list[Image.Image]:
    """Returns im scaled and cropped to the target size, and the scaled image with the points drawn in, if wanted."""
    scale = _scale(im, settings)
    im = im.resize((int(im.width * scale), int(im.height * scale)))
    annotated = im.copy()
    focus = focal_point(annotated, settings)

    x = _inside(focus.x - int(settings.crop_width / 2), settings.crop_width, im.width)
    y = _inside(focus.y - int(settings.crop_height / 2), settings.crop_height, im.height)
    box = (x, y, x + settings.crop_width, y + settings.crop_height)
    results = [im.crop(box)]
    if settings.annotate_image:
        ImageDraw.Draw(annotated).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=GREEN)
        results.append(annotated)
        if settings.desktop_view_image:
            annotated.show()
    return results


def _scale(im: Image.Image, settings: Settings) -> float:
    """Returns the factor by which the short side meets the target's; a square image meets the longer one."""
    by_width, by_height = settings.crop_width / im.width, settings.crop_height / im.height
    if is_landscape(im.width, im.height):
        return by_height
    if is_portrait(im.width, im.height):
        return by_width
    return max(by_width, by_height)


def _inside(start: int, length: int, limit: int) -> int:
    """Returns start moved so that length pixels from there stay inside 0..limit."""
    if start < 0:
        return 0
    return limit - length if start + length > limit else start


def focal_point(im: Image.Image, settings: Settings) -> PointOfInterest:
    """Returns the place to centre the crop on, whole pixels; the middle of the image if nothing stands out.

    With settings.annotate_image the points that led to it are drawn into im.
    """
    groups = [
        (settings.corner_points_weight, image_corner_points, GREEN),
        (settings.entropy_points_weight, image_entropy_points, RED),
        (settings.face_points_weight, image_face_points, BLUE),
    ]
    found = [(weight, find(im, settings), color) for weight, find, color in groups if weight > 0]
    found = [group for group in found if group[1]]
    if not found:
        return PointOfInterest(im.width // 2, im.height // 2)

    total = sum(weight for weight, _, _ in found)
    centres = []
    for weight, points, _ in found:
        centre = centroid(points)
        centre.weight = weight / total
        centres.append(centre)
    average = poi_average(centres, settings)

    if settings.annotate_image:
        _annotate(im, [(points, color) for _, points, color in found], centres, average)
    return average


def _annotate(
    im: Image.Image,
    groups: list[tuple[list[PointOfInterest], str]],
    centres: list[PointOfInterest],
    average: PointOfInterest,
) -> None:
    """Draws all points, the centre of each group (larger where it counts more) and the point that was chosen."""
    draw = ImageDraw.Draw(im)
    size = min(im.width, im.height) * 0.07
    for (points, color), centre in zip(groups, centres, strict=True):
        for point in points:
            draw.rectangle(point.bounding(point.size), outline=color)
        draw.ellipse(centre.bounding(size * centre.weight), outline=color)
        draw.text((centre.x, centre.y), f"{centre.weight:.02f}", fill=color)
    draw.ellipse(average.bounding(size), outline=GREEN)


def image_face_points(im: Image.Image, settings: Settings) -> list[PointOfInterest]:
    """Returns a point between the eyes of every face; none without a detector."""
    if settings.dnn_model_path is None:
        return []
    import cv2

    detector = cv2.FaceDetectorYN.create(settings.dnn_model_path, "", im.size, FACE_SCORE, FACE_NMS, FACE_CANDIDATES)
    _, faces = detector.detect(np.array(im.convert("RGB")))
    return [
        PointOfInterest(int(x + w * 0.5), int(y + h * FACE_CENTRE_HEIGHT), size=w, weight=1 / len(faces))
        for x, y, w, h in (face[:4] for face in ([] if faces is None else faces))
    ]


def image_corner_points(im: Image.Image, settings: Settings) -> list[PointOfInterest]:
    """Returns the corners in an image (Shi and Tomasi 1994), except in its bottom tenth, where watermarks are."""
    import cv2

    grey = im.convert("L")
    ImageDraw.Draw(grey).rectangle((0, im.height * 0.9, im.width, im.height), fill="#999")
    corners = cv2.goodFeaturesToTrack(
        np.array(grey),
        maxCorners=MAX_CORNERS,
        qualityLevel=CORNER_QUALITY,
        minDistance=min(grey.width, grey.height) * CORNER_DISTANCE,
        useHarrisDetector=False,
    )
    if corners is None:
        return []
    points = corners.reshape(-1, 2).tolist()
    return [PointOfInterest(x, y, size=4, weight=1 / len(points)) for x, y in points]


def image_entropy_points(im: Image.Image, settings: Settings) -> list[PointOfInterest]:
    """Returns the centre of the window of the target's size, along the long side, in which most is going on."""
    if is_square(im.width, im.height):
        return []
    moves_right = is_landscape(im.width, im.height)
    length = im.width if moves_right else im.height
    window = settings.crop_width if moves_right else settings.crop_height

    best_start, best_entropy = 0, 0.0
    for start in range(0, max(length - window, 0), WINDOW_STEP):
        x, y = (start, 0) if moves_right else (0, start)
        entropy = image_entropy(im.crop((x, y, x + settings.crop_width, y + settings.crop_height)))
        if entropy > best_entropy:
            best_start, best_entropy = start, entropy

    x, y = (best_start, 0) if moves_right else (0, best_start)
    return [PointOfInterest(int(x + settings.crop_width / 2), int(y + settings.crop_height / 2), size=25)]


def image_entropy(im: Image.Image) -> float:
    """Returns the sum of -log2 of the shares of black and white in the dithered image."""
    counts = np.bincount(np.asarray(im.convert("1")).astype(np.uint8).ravel())
    shares = counts[counts > 0] / counts.sum()
    return float(-np.log2(shares).sum())


def centroid(pois: list[PointOfInterest]) -> PointOfInterest:
    """Returns the mean place of points."""
    return PointOfInterest(sum(poi.x for poi in pois) / len(pois), sum(poi.y for poi in pois) / len(pois))


def poi_average(pois: list[PointOfInterest], settings: Settings) -> PointOfInterest:
    """Returns the mean place of points by their weights, rounded to whole pixels."""
    total = sum(poi.weight for poi in pois)
    x = sum(poi.x * poi.weight for poi in pois) / total
    y = sum(poi.y * poi.weight for poi in pois) / total
    return PointOfInterest(round(x), round(y))


def is_landscape(w: int, h: int) -> bool:
    """Says whether an image is wider than high."""
    return w > h


def is_portrait(w: int, h: int) -> bool:
    """Says whether an image is higher than wide."""
    return h > w


def is_square(w: int, h: int) -> bool:
    """Says whether an image is as wide as high."""
    return w == h
