"""face: postprocessing scripts "Upscale" and "Simple Upscale": enlarge with one upscaler, or two blended."""

from __future__ import annotations

import re
from typing import Any

import gradio as gr
from PIL import Image

from modules import bounds, errors, scripts_postprocessing, shared
from modules.scripts_postprocessing import PostprocessedImage
from modules.ui_components import FormRow, InputAccordion, ToolButton
from modules.upscaler import UpscalerData

SCALE_BY, SCALE_TO = range(2)

# Results by what they depend on; the oldest goes first. Images come back when only a later script's controls changed.
upscale_cache: dict[tuple, Image.Image] = {}

switch_values_symbol = "\u21c5"  # ⇅


def limit_size_by_one_dimention(w: int, h: int, limit: int) -> tuple[int, int]:
    """Returns the size w x h scaled down until its longer side is at most limit."""
    if h > w and h > limit:
        return int(limit * w // h), int(limit)
    if w > limit:
        return int(limit), int(limit * h // w)
    return int(w), int(h)


def find_upscaler(name: str | None, field: str) -> UpscalerData | None:
    """Returns the upscaler of that name, None for "None"; raises NotFound for an unknown one."""
    if name is None or name == "None":
        return None
    for upscaler in shared.sd_upscalers:
        if upscaler.name == name:
            return upscaler
    raise errors.NotFound(f"could not find upscaler named {name}; /sdapi/v1/upscalers lists them", field=field)


class ScriptPostprocessingUpscale(scripts_postprocessing.ScriptPostprocessing):
    name = "Upscale"
    order = 1000

    def ui(self) -> dict[str, Any]:
        """Makes the controls, and returns them by the names of the arguments of `process`."""
        mode = gr.Number(value=SCALE_BY, visible=False)
        names = [upscaler.name for upscaler in shared.sd_upscalers]
        first = names[0] if names else None

        with InputAccordion(True, label="Upscale", elem_id="extras_upscale") as enabled:
            with FormRow():
                upscaler_1 = gr.Dropdown(names, value=first, label="Upscaler 1", elem_id="extras_upscaler_1")
            with FormRow():
                upscaler_2 = gr.Dropdown(names, value=first, label="Upscaler 2", elem_id="extras_upscaler_2")
                visibility = gr.Slider(
                    0.0, 1.0, 0.0, step=0.001, label="Upscaler 2 visibility", elem_id="extras_upscaler_2_visibility"
                )
            with FormRow(), gr.Tabs(elem_id="extras_resize_mode"):
                with gr.TabItem("Scale by", elem_id="extras_scale_by_tab") as scale_by_tab, gr.Row():
                    with gr.Column(scale=4):
                        factor = gr.Slider(1.0, 8.0, 4, step=0.05, label="Resize", elem_id="extras_upscaling_resize")
                    with gr.Column(scale=1, min_width=160):
                        max_side_length = gr.Number(
                            0,
                            label="Max side length",
                            elem_id="extras_upscale_max_side_length",
                            minimum=0,
                            step=8,
                        )
                with gr.TabItem("Scale to", elem_id="extras_scale_to_tab") as scale_to_tab, FormRow():
                    with gr.Column(elem_id="upscaling_column_size", scale=4):
                        width = gr.Slider(64, 8192, 512, step=8, label="Width", elem_id="extras_upscaling_resize_w")
                        height = gr.Slider(64, 8192, 512, step=8, label="Height", elem_id="extras_upscaling_resize_h")
                    with gr.Column(elem_id="upscaling_dimensions_row", scale=1, elem_classes="dimensions-tools"):
                        switch = ToolButton(
                            switch_values_symbol,
                            elem_id="upscaling_res_switch_btn",
                            tooltip="Switch width/height",
                        )
                        crop = gr.Checkbox(True, label="Crop to fit", elem_id="extras_upscaling_crop")

        switch.click(swap, inputs=[width, height], outputs=[width, height], show_progress="hidden")
        scale_by_tab.select(lambda: SCALE_BY, inputs=[], outputs=[mode])
        scale_to_tab.select(lambda: SCALE_TO, inputs=[], outputs=[mode])
        upscaler_1.change(factor_in_name, inputs=[upscaler_1], outputs=[factor], show_progress="hidden")
        return {
            "upscale_enabled": enabled,
            "upscale_mode": mode,
            "upscale_by": factor,
            "max_side_length": max_side_length,
            "upscale_to_width": width,
            "upscale_to_height": height,
            "upscale_crop": crop,
            "upscaler_1_name": upscaler_1,
            "upscaler_2_name": upscaler_2,
            "upscaler_2_visibility": visibility,
        }

    def upscale(
        self,
        image: Image.Image,
        info: dict[str, Any],
        upscaler: UpscalerData,
        upscale_mode: int,
        upscale_by: float,
        max_side_length: int,
        upscale_to_width: int,
        upscale_to_height: int,
        upscale_crop: bool,
    ) -> Image.Image:
        """Returns the image enlarged by a factor (mode 0) or to a size (mode 1), and notes in info what was done."""
        limits = bounds.current()
        if upscale_mode == SCALE_TO:
            target = (upscale_to_width, upscale_to_height)
            limits.check_covering(image.size, target, ("upscale_to_width", "upscale_to_height"))
            upscale_by = max(upscale_to_width / image.width, upscale_to_height / image.height)
            info["Postprocess upscale to"] = f"{upscale_to_width}x{upscale_to_height}"
        else:
            info["Postprocess upscale by"] = upscale_by
            if max_side_length and max(image.size) * upscale_by > max_side_length:
                upscale_to_width, upscale_to_height = limit_size_by_one_dimention(
                    image.width * upscale_by, image.height * upscale_by, max_side_length
                )
                upscale_by = max(upscale_to_width / image.width, upscale_to_height / image.height)
                info["Max side length"] = max_side_length
            limits.check_scaled(image.size, upscale_by, "upscale_by")

        is_cropped = upscale_mode == SCALE_TO and upscale_crop
        key = (
            image.mode,
            image.size,
            hash(image.tobytes()),
            upscaler.name,
            upscale_mode,
            upscale_by,
            upscale_to_width,
            upscale_to_height,
            is_cropped,
        )
        enlarged = upscale_cache.pop(key, None)
        if enlarged is None:
            enlarged = upscaler.scaler.upscale(image, upscale_by, upscaler.data_path)
        upscale_cache[key] = enlarged
        while len(upscale_cache) > max(shared.opts.upscaling_max_images_in_cache, 0):
            upscale_cache.pop(next(iter(upscale_cache)))

        if is_cropped:
            info["Postprocess crop to"] = f"{upscale_to_width}x{upscale_to_height}"
            return centre_on_canvas(enlarged, upscale_to_width, upscale_to_height)
        return enlarged.copy()

    def process_firstpass(
        self,
        pp: PostprocessedImage,
        upscale_enabled: bool = True,
        upscale_mode: int = 1,
        upscale_by: float = 2.0,
        max_side_length: int = 0,
        upscale_to_width: int | None = None,
        upscale_to_height: int | None = None,
        upscale_crop: bool = False,
        upscaler_1_name: str | None = None,
        upscaler_2_name: str | None = None,
        upscaler_2_visibility: float = 0.0,
    ) -> None:
        """Tells later scripts the size that the image is going to have."""
        if upscale_mode == SCALE_TO:
            pp.shared.target_width, pp.shared.target_height = upscale_to_width, upscale_to_height
        else:
            pp.shared.target_width, pp.shared.target_height = limit_size_by_one_dimention(
                int(pp.image.width * upscale_by), int(pp.image.height * upscale_by), max_side_length
            )

    def process(
        self,
        pp: PostprocessedImage,
        upscale_enabled: bool = True,
        upscale_mode: int = 1,
        upscale_by: float = 2.0,
        max_side_length: int = 0,
        upscale_to_width: int | None = None,
        upscale_to_height: int | None = None,
        upscale_crop: bool = False,
        upscaler_1_name: str | None = None,
        upscaler_2_name: str | None = None,
        upscaler_2_visibility: float = 0.0,
    ) -> None:
        """Enlarges the image, by a blend of two upscalers if a second one is visible."""
        if not upscale_enabled:
            return
        first = find_upscaler(upscaler_1_name, "upscaler_1")
        second = find_upscaler(upscaler_2_name, "upscaler_2")
        if first is None:
            return

        target = (upscale_mode, upscale_by, max_side_length, upscale_to_width, upscale_to_height, upscale_crop)
        image = self.upscale(pp.image, pp.info, first, *target)
        pp.info["Postprocess upscaler"] = first.name
        if second is not None and upscaler_2_visibility > 0:
            other = self.upscale(pp.image, pp.info, second, *target)
            pp.info["Postprocess upscaler 2"] = second.name
            image = Image.blend(image, other.convert(image.mode), upscaler_2_visibility)
        pp.image = image

    def image_changed(self) -> None:
        """Forgets what was enlarged."""
        upscale_cache.clear()


class ScriptPostprocessingUpscaleSimple(ScriptPostprocessingUpscale):
    name = "Simple Upscale"
    order = 900

    def ui(self) -> dict[str, Any]:
        """Makes the controls, and returns them by the names of the arguments of `process`."""
        names = [upscaler.name for upscaler in shared.sd_upscalers]
        with FormRow():
            upscaler_name = gr.Dropdown(names, value=names[0] if names else None, label="Upscaler")
            upscale_by = gr.Slider(0.05, 8.0, 2, step=0.05, label="Upscale by")
        return {"upscale_by": upscale_by, "upscaler_name": upscaler_name}

    def process_firstpass(
        self, pp: PostprocessedImage, upscale_by: float = 2.0, upscaler_name: str | None = None
    ) -> None:
        """Tells later scripts the size that the image is going to have."""
        pp.shared.target_width = int(pp.image.width * upscale_by)
        pp.shared.target_height = int(pp.image.height * upscale_by)

    def process(self, pp: PostprocessedImage, upscale_by: float = 2.0, upscaler_name: str | None = None) -> None:
        """Enlarges the image by a factor."""
        upscaler = find_upscaler(upscaler_name, "upscaler_name")
        if upscaler is None:
            return
        pp.image = self.upscale(pp.image, pp.info, upscaler, SCALE_BY, upscale_by, 0, 0, 0, False)
        pp.info["Postprocess upscaler"] = upscaler.name


def centre_on_canvas(image: Image.Image, width: int, height: int) -> Image.Image:
    """Returns the middle of image on a black canvas, RGB."""
    canvas = Image.new("RGB", (width, height))
    canvas.paste(image, box=(width // 2 - image.width // 2, height // 2 - image.height // 2))
    return canvas


def swap(width: int, height: int) -> tuple[int, int]:
    """Returns width and height exchanged."""
    return height, width


def factor_in_name(upscaler_name: str | None) -> Any:
    """Returns the factor in a model's name for the Resize slider, if the setting asks for it."""
    if not shared.opts.set_scale_by_when_changing_upscaler:
        return gr.skip()
    factor = re.search(r"(\d)[xX]|[xX](\d)", upscaler_name or "")
    return int(factor.group(1) or factor.group(2)) if factor else gr.skip()
