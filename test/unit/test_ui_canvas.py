import gradio as gr
import numpy as np
import pytest
from gradio.components.image_editor import EditorData
from gradio.data_classes import FileData
from PIL import Image

from modules.ui_canvas import InpaintSketchCanvas, MaskCanvas, SketchCanvas, make_brush, painted_mask


@pytest.fixture
def drawing(tmp_path):
    """What the page sends after two strokes on a grey picture: background, layers, composite."""
    background = Image.new("RGB", (8, 6), (90, 90, 90))
    layer = Image.new("RGBA", (8, 6))
    layer.putpixel((1, 1), (255, 0, 0, 255))
    layer.putpixel((5, 4), (0, 0, 255, 40))
    composite = Image.alpha_composite(background.convert("RGBA"), layer)
    files = {}
    for name, picture in (("background", background), ("layer", layer), ("composite", composite)):
        picture.save(tmp_path / f"{name}.png")
        files[name] = FileData(path=str(tmp_path / f"{name}.png"))
    return EditorData(background=files["background"], layers=[files["layer"]], composite=files["composite"])


def canvas(cls, **arguments):
    with gr.Blocks():
        return cls(image_mode="RGB", elem_id="canvas", **arguments)


def test_mask_is_where_anything_was_painted(drawing):
    value = canvas(MaskCanvas).preprocess(drawing)
    assert value["image"].size == (8, 6) and value["image"].getpixel((0, 0)) == (90, 90, 90)
    assert value["mask"].mode == "L"
    assert [tuple(point) for point in np.argwhere(np.array(value["mask"]))] == [(1, 1), (4, 5)]
    assert set(np.unique(np.array(value["mask"]))) == {0, 255}


def test_mask_without_strokes_is_empty():
    assert not np.array(painted_mask((4, 4), [])).any()


def test_sketch_is_the_painted_picture(drawing):
    assert canvas(SketchCanvas).preprocess(drawing).getpixel((1, 1)) == (255, 0, 0)


def test_inpaint_sketch_keeps_the_original(drawing):
    value = canvas(InpaintSketchCanvas).preprocess(drawing)
    assert value["image"].getpixel((1, 1)) == (255, 0, 0)
    assert value["original"].getpixel((1, 1)) == (90, 90, 90)


@pytest.mark.parametrize("cls", [MaskCanvas, InpaintSketchCanvas, SketchCanvas])
def test_empty_canvas_has_no_value(cls):
    assert canvas(cls).preprocess(None) is None
    assert not canvas(cls).preprocess(EditorData())


@pytest.mark.parametrize("arguments", [{}, {"type": "pil"}, {"type": "filepath"}])
def test_an_image_of_gradio_3_has_the_value_it_had(drawing, arguments):
    value = canvas(gr.Image, tool="sketch", brush_radius=20, brush_color=None, **arguments).preprocess(drawing)
    kind = {"pil": Image.Image, "filepath": str}.get(arguments.get("type"), np.ndarray)
    assert all(isinstance(part, kind) for part in value.values())
    image, mask = (np.array(Image.open(part) if kind is str else part) for part in (value["image"], value["mask"]))
    assert image.shape == mask.shape == (6, 8, 3) and image[0, 0, 0] == 90
    assert [tuple(point) for point in np.argwhere(mask[:, :, 0])] == [(1, 1), (4, 5)]
    assert canvas(gr.Image, tool="color-sketch", **arguments).preprocess(EditorData()) is None


@pytest.mark.parametrize("tool", ["sketch", "color-sketch"])
def test_a_replaced_preprocess_gets_what_gradio_3_sent(drawing, tool):
    component, got = canvas(gr.Image, tool=tool), []
    before, plain = component.preprocess, component.preprocess(drawing)
    component.preprocess = lambda payload: got.append(payload) or before(payload)
    np.testing.assert_equal(component.preprocess(drawing), plain)
    parts = got[0].values() if tool == "sketch" else got
    assert parts and all(part.startswith("data:image/png;base64,") for part in parts)
    assert component.preprocess(None) is None and component.preprocess(EditorData()) is None
    assert got[1:] == [None, None]


def test_canvas_takes_a_picture():
    sent = canvas(MaskCanvas).postprocess(Image.new("RGB", (5, 5)))
    assert sent.background.path.endswith(".png") and sent.layers == []


def test_mask_canvas_has_one_colour_and_sketches_have_many():
    assert make_brush("#00ff00", True).colors == ["#00ff00"]
    free = make_brush("#FFFFFF", False)
    assert free.default_color == "#FFFFFF" and len(free.colors) > 5
    assert [color.lower() for color in free.colors].count("#ffffff") == 1
    assert canvas(MaskCanvas, brush_color="#123456").get_config()["brush"]["color_mode"] == "fixed"


def test_canvas_survives_an_update():
    component = canvas(MaskCanvas, brush_color="#123456", height=300)
    again = type(component)(**{**component.constructor_args, "render": False})
    assert again.get_config()["brush"]["colors"] == ["#123456"] and again.height == 300
    assert again.get_block_name() == "imageeditor"
