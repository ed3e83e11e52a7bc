"""face: images to draw on: the canvases of img2img, and what `gr.Image(tool=...)` of Gradio 3 becomes.

Their values have the shapes extensions know from there, not the layers of Gradio's image editor.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio import image_utils
from gradio.data_classes import FileData
from PIL import Image

from modules import gradio_extensons


class SketchCanvas(gr.ImageEditor):
    """An image to paint on in any colour. Its value is the painted image, None without one."""

    def __init__(self, value: Any = None, *, brush_color: str = "#ffffff", fixed_color: bool = False, **kwargs: Any):
        self.brush_color = brush_color
        self.fixed_color = fixed_color
        kwargs["type"] = "pil"
        kwargs.setdefault("brush", make_brush(brush_color, fixed_color))
        kwargs.setdefault("sources", ["upload"])
        kwargs.setdefault("buttons", [])
        super().__init__(value, format="png", transforms=(), layers=False, **kwargs)

    def get_block_name(self) -> str:
        """Returns the name of the block that Gradio's page draws it with."""
        return "imageeditor"

    def convert_and_format_image(self, file: FileData | bytes | None, flatten_on_white: bool = False) -> Any:
        """As Gradio does it, but layers, which are those not flattened, keep their alpha whatever image_mode says."""
        if file is None or flatten_on_white:
            return super().convert_and_format_image(file, flatten_on_white)
        return Image.open(file.path if isinstance(file, FileData) else io.BytesIO(file)).convert("RGBA")

    def preprocess(self, payload: Any) -> Image.Image | None:
        """Returns the drawing with all its layers; None for an empty canvas."""
        editor = super().preprocess(payload)
        return editor["composite"] if editor else None


class InpaintSketchCanvas(SketchCanvas):
    """An image to paint on. Its value is {"image": the painted image, "original": the image without the paint}."""

    def preprocess(self, payload: Any) -> dict[str, Image.Image] | None:
        """Returns the painted image and the one below the paint; None for an empty canvas."""
        editor = gr.ImageEditor.preprocess(self, payload)
        if not editor or editor["background"] is None:
            return None
        return {"image": editor["composite"], "original": editor["background"]}


class MaskCanvas(SketchCanvas):
    """An image to mark a part of. Its value is {"image": the image, "mask": L, 255 where it was painted}."""

    def __init__(self, value: Any = None, *, brush_color: str = "#ffffff", fixed_color: bool = True, **kwargs: Any):
        super().__init__(value, brush_color=brush_color, fixed_color=fixed_color, **kwargs)

    def preprocess(self, payload: Any) -> dict[str, Image.Image] | None:
        """Returns the image and a mask of what is painted, white on black; None for an empty canvas."""
        editor = gr.ImageEditor.preprocess(self, payload)
        if not editor or editor["background"] is None:
            return None
        return {"image": editor["background"], "mask": painted_mask(editor["background"].size, editor["layers"])}


class OfGradio3(SketchCanvas):
    """A canvas that was asked for as an image of Gradio 3: its value holds what `type` says, arrays (H, W, 3) by
    default. What an extension puts in the place of `preprocess` gets data URIs, as there.
    """

    def __init__(self, value: Any = None, *, brush_color: str | None = None, **kwargs: Any):
        self.value_type = kwargs.pop("type", "numpy")
        kwargs.setdefault("image_mode", "RGB")
        super().__init__(value, brush_color=brush_color or "#ffffff", **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute; a `preprocess` is called with what Gradio 3 would call it with."""
        super().__setattr__(name, functools.partial(self.ask, value) if name == "preprocess" else value)

    def ask(self, preprocess: Callable, payload: Any) -> Any:
        """Calls what an extension put in the place of `preprocess`."""
        return preprocess(each(gradio_extensons.encode_pil_to_base64, super().preprocess(payload)))

    def preprocess(self, payload: Any) -> Any:
        """Returns the value of what the page sent, or of its data URIs; None for an empty canvas."""
        if isinstance(payload, (str, dict)):
            return each(self.of_its_type, each(gradio_extensons.decode_base64_to_image, payload))
        return each(self.of_its_type, super().preprocess(payload))

    def of_its_type(self, image: Image.Image) -> Any:
        """Returns an image as an array, an image of PIL, or the path of a file; a mask has three channels."""
        image = image.convert("RGB") if image.mode == "L" else image
        return image_utils.format_image(image, self.value_type, self.GRADIO_CACHE, format="png")


class SketchOfGradio3(OfGradio3, SketchCanvas):
    """`gr.Image(tool="color-sketch")`."""


class MaskOfGradio3(OfGradio3, MaskCanvas):
    """`gr.Image(tool="sketch")`."""


def each(function: Callable[[Any], Any], value: Any) -> Any:
    """Returns what a function makes of a value, or of each one in a dict; None stays None."""
    if isinstance(value, dict):
        return {name: function(part) for name, part in value.items()}
    return None if value is None else function(value)


def make_brush(color: str, fixed_color: bool) -> gr.Brush:
    """Returns a brush with one colour, or one that starts with it and offers others."""
    palette = ["#000000", "#ffffff", "#e5484d", "#f5a623", "#ffd60a", "#30a46c", "#0090ff", "#8e4ec6"]
    if fixed_color:
        return gr.Brush(colors=[color], default_color=color, color_mode="fixed")
    return gr.Brush(colors=[color, *(c for c in palette if c != color.lower())], default_color=color)


def painted_mask(size: tuple[int, int], layers: list[Image.Image]) -> Image.Image:
    """Returns an L image: 255 where any layer (RGBA) has been painted on, whatever the colour or opacity, 0
    elsewhere.
    """
    mask = Image.new("L", size, 0)
    for layer in layers:
        alpha = layer.getchannel("A").point(lambda value: 255 if value else 0)
        mask.paste(255, mask=alpha)
    return mask


gradio_extensons.sketch_components.update({"sketch": MaskOfGradio3, "color-sketch": SketchOfGradio3})
