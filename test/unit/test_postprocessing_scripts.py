"""The scripts of the Extras tab one by one; what they do together is in test_postprocessing."""

import gc
import warnings
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image, ImageChops, ImageOps

from modules import codeformer_model, deepbooru, gfpgan_model, script_loading, shared
from modules.errors import NotFound
from modules.scripts_postprocessing import PostprocessedImage
from modules.textual_inversion import autocrop
from modules.upscaler import UpscalerLanczos, UpscalerNearest, UpscalerNone

ROOT = Path(__file__).parents[2]
FOR_TRAINING = ROOT / "extensions-builtin" / "postprocessing-for-training"
FACE = Path(__file__).parents[1] / "golden" / "inputs" / "face128.png"


def load(name, folder=ROOT):
    return script_loading.load_module(str(folder / "scripts" / f"postprocessing_{name}.py"))


upscale = load("upscale")
split_oversized = load("split_oversized", FOR_TRAINING)
focal_crop = load("focal_crop", FOR_TRAINING)
autosized_crop = load("autosized_crop", FOR_TRAINING)
flipped = load("create_flipped_copies", FOR_TRAINING)
caption = load("caption", FOR_TRAINING)
gfpgan = load("gfpgan")
codeformer = load("codeformer")

ARGUMENTS = {
    upscale.ScriptPostprocessingUpscale: [
        "upscale_enabled",
        "upscale_mode",
        "upscale_by",
        "max_side_length",
        "upscale_to_width",
        "upscale_to_height",
        "upscale_crop",
        "upscaler_1_name",
        "upscaler_2_name",
        "upscaler_2_visibility",
    ],
    upscale.ScriptPostprocessingUpscaleSimple: ["upscale_by", "upscaler_name"],
    gfpgan.ScriptPostprocessingGfpGan: ["enable", "gfpgan_visibility"],
    codeformer.ScriptPostprocessingCodeFormer: ["enable", "codeformer_visibility", "codeformer_weight"],
    split_oversized.ScriptPostprocessingSplitOversized: ["enable", "split_threshold", "overlap_ratio"],
    focal_crop.ScriptPostprocessingFocalCrop: ["enable", "face_weight", "entropy_weight", "edges_weight", "debug"],
    autosized_crop.ScriptPostprocessingAutosizedCrop: [
        "enable",
        "mindim",
        "maxdim",
        "minarea",
        "maxarea",
        "objective",
        "threshold",
    ],
    flipped.ScriptPostprocessingCreateFlippedCopies: ["enable", "option"],
    caption.ScriptPostprocessingCaption: ["enable", "option"],
}
ORDER = {
    "Upscale": 1000,
    "Simple Upscale": 900,
    "GFPGAN": 2000,
    "CodeFormer": 3000,
    "Split oversized images": 4000,
    "Auto focal point crop": 4010,
    "Auto-sized crop": 4020,
    "Create flipped copies": 4030,
    "Caption": 4040,
}


@pytest.fixture(autouse=True)
def upscalers(monkeypatch):
    data = [cls().scalers[0] for cls in (UpscalerNone, UpscalerLanczos, UpscalerNearest)]
    monkeypatch.setattr(shared, "sd_upscalers", data)
    upscale.upscale_cache.clear()


@pytest.fixture
def face():
    with Image.open(FACE) as image:
        return image.convert("RGB")


@pytest.fixture
def page():
    with gr.Blocks() as blocks:
        yield blocks
    del blocks
    with warnings.catch_warnings():  # Gradio does not close the event loops of pages that were never served
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def pp_of(image, target=None):
    pp = PostprocessedImage(image)
    if target:
        pp.shared.target_width, pp.shared.target_height = target
    return pp


def same(one, other):
    return ImageChops.difference(one, other).getbbox() is None


def test_names_orders_and_arguments_are_those_of_the_contract(page):
    assert {cls.name: cls.order for cls in ARGUMENTS} == ORDER
    for cls, names in ARGUMENTS.items():
        controls = cls().ui()
        assert list(controls) == names
        assert all(isinstance(control, gr.components.Component) for control in controls.values())


def test_upscale_controls_react(page, monkeypatch):
    assert upscale.swap(1, 2) == (2, 1)
    with shared.opts.overlay({"set_scale_by_when_changing_upscaler": True}):
        assert upscale.factor_in_name("R-ESRGAN 4x+") == 4
        assert upscale.factor_in_name("DAT x2") == 2
        assert upscale.factor_in_name(None) == gr.skip()
    assert upscale.factor_in_name("R-ESRGAN 4x+") == gr.skip()


@pytest.mark.parametrize(
    ("size", "limit", "limited"),
    [((100, 200), 50, (25, 50)), ((200, 100), 50, (50, 25)), ((30, 20), 50, (30, 20)), ((200, 100), 0, (0, 0))],
)
def test_longer_side_is_limited(size, limit, limited):
    assert upscale.limit_size_by_one_dimention(*size, limit) == limited


def test_upscale_tells_others_the_target(face):
    script = upscale.ScriptPostprocessingUpscale()
    pp = pp_of(face)
    script.process_firstpass(pp, upscale_mode=1, upscale_to_width=200, upscale_to_height=100)
    assert (pp.shared.target_width, pp.shared.target_height) == (200, 100)
    script.process_firstpass(pp, upscale_mode=0, upscale_by=2.5, max_side_length=1000)
    assert (pp.shared.target_width, pp.shared.target_height) == (320, 320)
    script.process_firstpass(pp, upscale_mode=0, upscale_by=2.5)
    assert (pp.shared.target_width, pp.shared.target_height) == (0, 0)


def test_upscale_off_does_nothing(face):
    pp = pp_of(face)
    upscale.ScriptPostprocessingUpscale().process(pp, upscale_enabled=False, upscaler_1_name="No such")
    assert pp.image is face and pp.info == {}


def test_upscale_to_a_size_without_crop_covers_it(face):
    pp = pp_of(face)
    upscale.ScriptPostprocessingUpscale().process(
        pp, upscale_mode=1, upscale_to_width=300, upscale_to_height=160, upscaler_1_name="Nearest"
    )
    assert pp.image.size == (296, 296)
    assert pp.info == {"Postprocess upscale to": "300x160", "Postprocess upscaler": "Nearest"}


def test_results_are_kept_until_another_picture_comes(face, monkeypatch):
    script = upscale.ScriptPostprocessingUpscale()
    calls = []
    original = UpscalerNearest.do_upscale
    monkeypatch.setattr(UpscalerNearest, "do_upscale", lambda *args: calls.append(args) or original(*args))
    with shared.opts.overlay({"upscaling_max_images_in_cache": 1}):
        for factor in (2, 2, 3, 2):
            script.process(pp_of(face), upscale_mode=0, upscale_by=factor, upscaler_1_name="Nearest")
    assert len(calls) == 3
    assert len(upscale.upscale_cache) == 1
    script.image_changed()
    assert upscale.upscale_cache == {}


def test_simple_upscale(face):
    script = upscale.ScriptPostprocessingUpscaleSimple()
    pp = pp_of(face)
    script.process_firstpass(pp, upscale_by=1.5, upscaler_name="Nearest")
    assert pp.shared.target_width == 192
    script.process(pp, upscale_by=1.5, upscaler_name="None")
    assert pp.image is face
    script.process(pp, upscale_by=1.5, upscaler_name="Nearest")
    assert pp.image.size == (192, 192)
    assert pp.info == {"Postprocess upscale by": 1.5, "Postprocess upscaler": "Nearest"}
    with pytest.raises(NotFound):
        script.process(pp, upscaler_name="No such")


@pytest.mark.parametrize(
    ("module", "restorer", "arguments", "info"),
    [
        (gfpgan, "GFPGAN", {"gfpgan_visibility": 0.25}, {"GFPGAN visibility": 0.25}),
        (
            codeformer,
            "CodeFormer",
            {"codeformer_visibility": 0.25, "codeformer_weight": 0.123456},
            {"CodeFormer visibility": 0.25, "CodeFormer weight": 0.123},
        ),
    ],
)
def test_restored_faces_are_blended_in(face, monkeypatch, module, restorer, arguments, info):
    def white(pixels, **kwargs):
        return np.full_like(pixels, 255)

    monkeypatch.setattr(gfpgan_model.gfpgan_face_restorer, "restore", white)
    monkeypatch.setattr(codeformer_model.codeformer, "restore", white)
    (script,) = [cls() for cls in ARGUMENTS if cls.name == restorer]

    pp = pp_of(face)
    script.process(pp, enable=False, **arguments)
    script.process(pp, enable=True, **dict.fromkeys(arguments, 0))
    assert pp.image is face and pp.info == {}

    script.process(pp, enable=True, **arguments)
    assert same(pp.image, Image.blend(face, Image.new("RGB", face.size, "white"), 0.25))
    assert pp.info == info
    script.process(pp, enable=True, **dict.fromkeys(arguments, 1))
    assert same(pp.image, Image.new("RGB", face.size, "white"))


def test_long_pictures_are_split():
    script = split_oversized.ScriptPostprocessingSplitOversized()
    tall = Image.linear_gradient("L").resize((50, 300)).convert("RGB")
    pp = pp_of(tall, (100, 100))
    script.process(pp, True, 0.5, 0.2)
    pieces = [pp.image, *(extra.image for extra in pp.extra_images)]
    assert [piece.size for piece in pieces] == [(100, 100)] * 8
    resized = tall.resize((100, 600))
    starts = [int(500 / 7 * index) for index in range(8)]
    assert all(same(piece, resized.crop((0, y, 100, y + 100))) for piece, y in zip(pieces, starts, strict=True))

    wide = pp_of(tall.rotate(90, expand=True), (100, 100))
    script.process(wide, True, 0.5, 0.2)
    assert len(wide.extra_images) == 7 and wide.image.size == (100, 100)


@pytest.mark.parametrize(
    ("target", "enable", "threshold"), [(None, True, 1), ((0, 0), True, 1), ((64, 64), False, 1), ((64, 64), True, 0.1)]
)
def test_other_pictures_are_not_split(target, enable, threshold):
    pp = pp_of(Image.new("RGB", (64, 256)), target)
    split_oversized.ScriptPostprocessingSplitOversized().process(pp, enable, threshold, 0.2)
    assert pp.image.size == (64, 256) and pp.extra_images == []


def test_focal_crop_gives_the_target_size_and_a_debug_picture(face, monkeypatch):
    def no_network():
        raise NotFound("no network")

    monkeypatch.setattr(autocrop, "download_and_cache_models", no_network)
    script = focal_crop.ScriptPostprocessingFocalCrop()
    pp = pp_of(face)
    script.process(pp, True, 0.9, 0.15, 0.5, True)
    assert pp.image is face

    pp = pp_of(face, (96, 64))
    script.process(pp, True, 0.9, 0.15, 0.5, True)
    assert pp.image.size == (96, 64)
    (debug,) = pp.extra_images
    assert debug.nametags == ["focal-crop-debug"] and debug.disable_processing


@pytest.mark.parametrize(
    ("objective", "size"),
    [("Maximize area", (640, 384)), ("Minimize error", (640, 320))],
)
def test_autosized_crop_finds_the_best_size(objective, size):
    pp = pp_of(Image.new("RGB", (800, 400)))
    autosized_crop.ScriptPostprocessingAutosizedCrop().process(pp, True, 192, 640, 64**2, 256000, objective, 0.2)
    assert pp.image.size == size


def test_autosized_crop_without_a_fitting_size_leaves_the_picture(face):
    script = autosized_crop.ScriptPostprocessingAutosizedCrop()
    pp = pp_of(face)
    script.process(pp, True, 192, 640, 10**7, 10**8, "Maximize area", 0.1)
    script.process(pp, None, None, None, None, None, None, None)
    assert pp.image is face


def test_centre_crop_takes_the_middle():
    image = Image.new("RGB", (300, 100), "blue")
    image.paste("red", (100, 0, 200, 100))
    for picture in (image, image.rotate(90, expand=True)):
        cropped = autosized_crop.center_crop(picture, 50, 50)
        assert cropped.size == (50, 50)
        assert np.asarray(cropped)[..., 0].min() > 235  # the filter looks a little beyond the edge


def test_flipped_copies_are_added_in_order(face):
    script = flipped.ScriptPostprocessingCreateFlippedCopies()
    pp = pp_of(face)
    script.process(pp, None, None)
    assert pp.extra_images == []
    script.process(pp, True, ["Both", "Horizontal", "Vertical"])
    expected = [ImageOps.mirror(face), ImageOps.flip(face), ImageOps.flip(ImageOps.mirror(face))]
    assert all(same(image, flip) for image, flip in zip(pp.extra_images, expected, strict=True))


def test_captions_are_joined(face, monkeypatch):
    class Interrogator:
        def interrogate(self, image):
            return f"a face, {image.mode}"

    monkeypatch.setattr(deepbooru.model, "tag", lambda image: "")
    monkeypatch.setattr(shared, "interrogator", Interrogator())
    script = caption.ScriptPostprocessingCaption()
    pp = pp_of(face)
    script.process(pp, None, None)
    assert pp.caption is None
    pp.caption = "first"
    script.process(pp, True, ["Deepbooru", "BLIP"])
    assert pp.caption == "first, a face, RGB"
