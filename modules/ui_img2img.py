"""face: the img2img tab: its images and canvases, and the sections it shares in form with txt2img."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr
from PIL import Image

from modules import img2img as img2img_job
from modules import scripts, sd_models, shared, ui_interrogate
from modules.job.request import Img2ImgFields
from modules.ui_canvas import InpaintSketchCanvas, MaskCanvas, SketchCanvas
from modules.ui_common import QUIET
from modules.ui_components import FormGroup, FormHTML, FormRow, ToolButton
from modules.ui_form import Form
from modules.ui_generation import (
    GenerationTab,
    Section,
    add_accordions,
    add_batch_column,
    add_batch_row,
    add_cfg_slider,
    add_checkboxes,
    add_override_settings,
    add_scripts,
    add_size_sliders,
    add_swap_button,
    connect_job,
    connect_paste,
    connect_restore,
    connect_token_counters,
    create_tab,
)
from modules.ui_symbols import detect_image_size_symbol

COPY_DESTINATIONS = {"img2img": "init_img", "sketch": "sketch", "inpaint": "init_img_with_mask"} | {
    "inpaint sketch": "inpaint_color_sketch"
}
"""What "Copy image to" offers: name -> the control of the form that gets the image."""

PNG_INFO_PROPERTIES = ("Prompt", "Negative prompt", "Seed", "CFG scale", "Sampler", "Steps", "Model hash")


class Img2ImgTab(GenerationTab):
    def connect(self) -> None:
        """Connects the tab's buttons."""
        connect_job(self, img2img_job.img2img, img2img_job.request_of_call, "submit_img2img")
        connect_restore(self, "restoreProgressImg2img")
        connect_token_counters(self)
        connect_modes(self.form)
        connect_copy_buttons(self.form)
        connect_source_sizes(self.form)
        ui_interrogate.connect(self.toprow, self.form)
        connect_paste(self, {"img2img": self.form["init_img"], "inpaint": self.form["init_img_with_mask"]})

    def setup(self, page: Any, demo: gr.Blocks) -> None:
        """Connects the tab to the rest of the page: the slider for pix2pix models follows the settings."""
        outputs = [self.form["image_cfg_scale"]]
        demo.load(fn=image_cfg_scale_visibility, inputs=[], outputs=outputs, queue=False, **QUIET)
        settings_json = page.settings.text_settings
        settings_json.change(fn=image_cfg_scale_visibility, inputs=[], outputs=outputs, **QUIET)


def image_cfg_scale_visibility() -> Any:
    """Shows Image CFG Scale while the loaded model is one that edits images by instruction."""
    model = sd_models.model_data.sd_model
    return gr.update(visible=model is not None and model.cond_stage_key == "edit")


def create_ui() -> GenerationTab:
    """Builds the tab in blocks of its own, to be rendered into the page."""
    form = Form("img2img", img2img_job.Img2ImgValues, Img2ImgFields)
    return create_tab(Img2ImgTab, form, scripts.scripts_img2img, SECTIONS)


def create_images(form: Form) -> None:
    """Makes the sub-tabs, each with its image, and the resize mode below them."""
    form.add("mode", gr.Number(value=0, precision=0, visible=False))
    with gr.Tabs(elem_id="mode_img2img") as tabs:
        for label, tab_id, elem_id, create in IMAGE_TABS:
            with gr.Tab(label, id=tab_id, elem_id=elem_id):
                create(form)
    form.parts["mode_tabs"] = tabs
    with FormRow():
        resize_mode = gr.Radio(
            label="Resize mode",
            elem_id="resize_mode",
            choices=["Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)"],
            type="index",
            value="Just resize",
        )
    form.add("resize_mode", resize_mode)
    form.parts["source_sizes"] = gr.Textbox(value="{}", visible=False, elem_id="img2img_source_sizes")


def canvas_arguments(label: str, elem_id: str) -> dict[str, Any]:
    """Returns the arguments that all canvases of the tab share."""
    return {
        "label": label,
        "elem_id": elem_id,
        "show_label": False,
        "interactive": True,
        "height": shared.opts.img2img_editor_height,
    }


def create_image_tab(form: Form) -> None:
    """Makes the tab of one image that is changed as a whole."""
    image = gr.Image(
        sources=["upload"],
        type="pil",
        format="png",
        image_mode="RGBA",
        buttons=[],
        **canvas_arguments("Image for img2img", "img2img_image"),
    )
    form.add("init_img", image)
    add_copy_image_controls("img2img", form)


def create_sketch_tab(form: Form) -> None:
    """Makes the tab of an image to paint on."""
    color = shared.opts.img2img_sketch_default_brush_color
    arguments = canvas_arguments("Image for img2img", "img2img_sketch")
    form.add("sketch", SketchCanvas(image_mode="RGB", brush_color=color, **arguments))
    add_copy_image_controls("sketch", form)


def create_inpaint_tab(form: Form) -> None:
    """Makes the tab of an image with a painted mask."""
    color = shared.opts.img2img_inpaint_mask_brush_color
    arguments = canvas_arguments("Image for inpainting with mask", "img2maskimg")
    form.add("init_img_with_mask", MaskCanvas(image_mode="RGBA", brush_color=color, **arguments))
    add_copy_image_controls("inpaint", form)


def create_inpaint_sketch_tab(form: Form) -> None:
    """Makes the tab of an image whose paint is mask and colour."""
    color = shared.opts.img2img_inpaint_sketch_default_brush_color
    arguments = canvas_arguments("Color sketch inpainting", "inpaint_sketch")
    form.add("inpaint_color_sketch", InpaintSketchCanvas(image_mode="RGB", brush_color=color, **arguments))
    form.add("inpaint_color_sketch_orig", gr.State(None))
    add_copy_image_controls("inpaint sketch", form)


def create_inpaint_upload_tab(form: Form) -> None:
    """Makes the tab of an image with an uploaded mask."""
    common = {"sources": ["upload"], "interactive": True, "type": "pil", "format": "png", "buttons": []}
    image = gr.Image(label="Image for img2img", show_label=False, elem_id="img_inpaint_base", **common)
    mask = gr.Image(label="Mask", image_mode="RGBA", elem_id="img_inpaint_mask", **common)
    form.add("init_img_inpaint", image)
    form.add("init_mask_inpaint", mask)


def create_batch_tab(form: Form) -> None:
    """Makes the tab of many images: uploaded, or from a folder."""
    source_type = gr.Textbox(visible=False, value="upload")
    form.add("img2img_batch_source_type", source_type)
    with gr.Tabs(elem_id="img2img_batch_source"):
        with gr.Tab("Upload", id="batch_upload", elem_id="img2img_batch_upload_tab") as upload_tab:
            files = gr.Files(label="Files", interactive=True, elem_id="img2img_batch_upload")
            form.add("img2img_batch_upload", files)
        with gr.Tab("From directory", id="batch_from_dir", elem_id="img2img_batch_from_dir_tab") as directory_tab:
            create_batch_directories(form)
    for tab, name in ((upload_tab, "upload"), (directory_tab, "from dir")):
        tab.select(fn=None, js=f"() => '{name}'", inputs=[], outputs=[source_type], **QUIET)
    create_batch_png_info(form)


def create_batch_directories(form: Form) -> None:
    """Makes the folders of a batch."""
    gr.HTML(
        "<p class='text-hint'>Every picture below a folder on the computer where the server runs. Without an output "
        "folder results are saved as usual. A single mask is for all pictures; of several, each is for the picture of "
        "its name, and pictures without one are left out.</p>"
    )
    labels = {
        "input_dir": "Input directory",
        "output_dir": "Output directory",
        "inpaint_mask_dir": "Inpaint batch mask directory (required for inpaint batch processing only)",
    }
    for name, label in labels.items():
        form.add(f"img2img_batch_{name}", gr.Textbox(label=label, elem_id=f"img2img_batch_{name}", **shared.hide_dirs))


def create_batch_png_info(form: Form) -> None:
    """Makes what a batch takes from the infotexts of its images."""
    with gr.Accordion("PNG info", open=False):
        use = gr.Checkbox(label="Append png info to prompts", elem_id="img2img_batch_use_png_info")
        directory = gr.Textbox(
            label="PNG info directory",
            placeholder="Leave empty to use the input pictures' own",
            elem_id="img2img_batch_png_info_dir",
            **shared.hide_dirs,
        )
        properties = gr.CheckboxGroup(
            list(PNG_INFO_PROPERTIES),
            label="Parameters to take from png info",
            info="Prompts are added to those above, other parameters replace the tab's.",
        )
    form.add("img2img_batch_use_png_info", use)
    form.add("img2img_batch_png_info_dir", directory)
    form.add("img2img_batch_png_info_props", properties)


def add_copy_image_controls(tab_name: str, form: Form) -> None:
    """Adds buttons that copy the image of a sub-tab to another one; connected when all images are there."""
    elem_name = tab_name.replace(" ", "_")
    with gr.Row(elem_id=f"img2img_copy_to_{elem_name}", elem_classes=["copy-image-row"]):
        gr.HTML("Copy image to: ", elem_id=f"img2img_label_copy_to_{elem_name}")
        for destination in COPY_DESTINATIONS:
            button = gr.Button(destination, interactive=destination != tab_name, size="sm")
            if destination != tab_name:
                form.parts[f"copy {tab_name} to {destination}"] = button


def create_dimensions(form: Form) -> None:
    """Makes the size of the result: in pixels, or as a factor."""
    selected_tab = gr.Number(value=0, precision=0, visible=False)
    form.add("selected_scale_tab", selected_tab)
    with FormRow():
        with gr.Column(elem_id="img2img_column_size", scale=4), gr.Tabs(elem_id="img2img_tabs_resize"):
            with gr.Tab("Resize to", id="to", elem_id="img2img_tab_resize_to") as tab_to:
                create_resize_to(form)
            with gr.Tab("Resize by", id="by", elem_id="img2img_tab_resize_by") as tab_by:
                create_resize_by(form)
        add_batch_column(form)
    for number, tab in enumerate((tab_to, tab_by)):
        tab.select(fn=None, js=f"() => {number}", inputs=[], outputs=[selected_tab], **QUIET)


def create_resize_to(form: Form) -> None:
    """Makes the size in pixels."""
    with FormRow():
        with gr.Column(elem_id="img2img_column_size", scale=4):
            add_size_sliders(form)
        with gr.Column(elem_id="img2img_dimensions_row", scale=1, elem_classes="dimensions-tools"):
            add_swap_button(form)
            detect = ToolButton(
                detect_image_size_symbol, elem_id="img2img_detect_image_size_btn", tooltip="Take the picture's size"
            )
    detect.click(
        fn=None, js="detectImageSize", inputs=[form["width"], form["height"]], outputs=[form["width"], form["height"]]
    )


def create_resize_by(form: Form) -> None:
    """Makes the size as a factor, with the size it leads to."""
    form.add("scale_by", gr.Slider(0.05, 4.0, step=0.05, label="Scale", value=1.0, elem_id="img2img_scale"))
    with FormRow():
        hint = FormHTML(resize_from_to_html(0, 0, 0.0), elem_id="img2img_scale_resolution_preview")
        gr.Slider(label="Unused", elem_id="img2img_unused_scale_by_slider", visible=False)
        update = gr.Button(visible=False, elem_id="img2img_update_resize_to")
    size = [gr.Number(value=0, visible=False), gr.Number(value=0, visible=False)]
    arguments = {"fn": resize_from_to_html, "js": "currentImg2imgSourceResolution"}
    arguments |= {"inputs": [*size, form["scale_by"]], "outputs": [hint], **QUIET}
    form["scale_by"].change(trigger_mode="always_last", **arguments)
    update.click(**arguments)


def resize_from_to_html(width: float, height: float, scale_by: float) -> str:
    """Returns HTML saying from which size to which "Resize by" goes."""
    if not width or not height:
        return "no image selected"
    sizes = (f"{int(width)}x{int(height)}", f"{int(width * scale_by)}x{int(height * scale_by)}")
    first, final = (f"<span class='resolution'>{size}</span>" for size in sizes)
    return f"resize: from {first} to {final}"


def create_denoising(form: Form) -> None:
    """Makes the denoising strength."""
    strength = gr.Slider(
        minimum=0.0,
        maximum=1.0,
        step=0.01,
        label="Denoising strength",
        value=0.75,
        elem_id="img2img_denoising_strength",
    )
    form.add("denoising_strength", strength)


def create_cfg(form: Form) -> None:
    """Makes the strengths of guidance by text and by image."""
    with gr.Row():
        add_cfg_slider(form)
        image_cfg_scale = gr.Slider(
            minimum=0,
            maximum=3.0,
            step=0.05,
            label="Image CFG Scale",
            value=1.5,
            elem_id="img2img_image_cfg_scale",
            visible=False,
        )
    form.add("image_cfg_scale", image_cfg_scale)


def create_inpaint_controls(form: Form) -> None:
    """Makes what only the three inpaint modes use; shown while one of them is chosen."""
    with FormGroup(elem_id="inpaint_controls", visible=False) as group:
        with FormRow():
            blur = gr.Slider(label="Mask blur", minimum=0, maximum=64, step=1, value=4, elem_id="img2img_mask_blur")
            alpha = gr.Slider(
                label="Mask transparency",
                minimum=0,
                maximum=100,
                step=1,
                value=0,
                elem_id="img2img_mask_alpha",
                visible=False,
            )
        create_inpaint_radios(form)
        with FormRow():
            with gr.Column():
                area = gr.Radio(
                    label="Inpaint area",
                    choices=["Whole picture", "Only masked"],
                    type="index",
                    value="Whole picture",
                    elem_id="img2img_inpaint_full_res",
                )
            with gr.Column(scale=4):
                padding = gr.Slider(
                    label="Only masked padding, pixels",
                    minimum=0,
                    maximum=256,
                    step=4,
                    value=32,
                    elem_id="img2img_inpaint_full_res_padding",
                )
    form.parts["inpaint_controls"] = group
    form.add("mask_blur", blur)
    form.add("mask_alpha", alpha)
    form.add("inpaint_full_res", area)
    form.add("inpaint_full_res_padding", padding)


def create_inpaint_radios(form: Form) -> None:
    """Makes the choices of inpainting."""
    with FormRow():
        mode = gr.Radio(
            label="Mask mode",
            choices=["Inpaint masked", "Inpaint not masked"],
            value="Inpaint masked",
            type="index",
            elem_id="img2img_mask_mode",
        )
    with FormRow():
        fill = gr.Radio(
            label="Masked content",
            choices=["fill", "original", "latent noise", "latent nothing"],
            value="original",
            type="index",
            elem_id="img2img_inpainting_fill",
        )
    form.add("inpainting_mask_invert", mode)
    form.add("inpainting_fill", fill)


IMAGE_TABS: tuple[tuple[str, str, str, Section], ...] = (
    ("img2img", "img2img", "img2img_img2img_tab", create_image_tab),
    ("Sketch", "img2img_sketch", "img2img_img2img_sketch_tab", create_sketch_tab),
    ("Inpaint", "inpaint", "img2img_inpaint_tab", create_inpaint_tab),
    ("Inpaint sketch", "inpaint_sketch", "img2img_inpaint_sketch_tab", create_inpaint_sketch_tab),
    ("Inpaint upload", "inpaint_upload", "img2img_inpaint_upload_tab", create_inpaint_upload_tab),
    ("Batch", "batch", "img2img_batch_tab", create_batch_tab),
)
"""The sub-tabs: label, id, element id, builder. Their order is that of `img2img.MODES`."""

SECTIONS: dict[str, Section] = {
    "image": create_images,
    "dimensions": create_dimensions,
    "denoising": create_denoising,
    "cfg": create_cfg,
    "checkboxes": add_checkboxes,
    "accordions": add_accordions,
    "batch": add_batch_row,
    "override_settings": add_override_settings,
    "scripts": add_scripts,
    "inpaint": create_inpaint_controls,
}


def connect_modes(form: Form) -> None:
    """Shows the controls of the chosen sub-tab only."""
    outputs = [form.parts["inpaint_controls"], form["mask_alpha"]]
    for mode, tab in enumerate(form.parts["mode_tabs"].children):
        tab.select(fn=controls_of(img2img_job.MODES[mode]), inputs=[], outputs=outputs, **QUIET)


def controls_of(mode: str) -> Callable[[], tuple[Any, Any]]:
    """Returns a handler that shows what a mode uses: the inpaint controls, and the opacity of a sketch."""

    def show() -> tuple[Any, Any]:
        """Returns which parts of inpainting are visible in this mode."""
        return gr.update(visible="inpaint" in mode), gr.update(visible=mode == "inpaint_sketch")

    return show


def image_of(value: Any) -> Image.Image | None:
    """Returns the image of an image control or canvas, without mask or paint settings."""
    return value["image"] if isinstance(value, dict) else value


def connect_copy_buttons(form: Form) -> None:
    """Connects the buttons that copy an image from one tab to another."""
    for source, control in COPY_DESTINATIONS.items():
        for destination, target in COPY_DESTINATIONS.items():
            if source == destination:
                continue
            copied = form.parts[f"copy {source} to {destination}"].click(
                fn=image_of, inputs=[form[control]], outputs=[form[target]]
            )
            copied.then(fn=None, js=f"switch_to_{destination.replace(' ', '_')}", inputs=[], outputs=[])


def connect_source_sizes(form: Form) -> None:
    """Keeps the sizes of the images for the page, which can't see into a canvas: {mode: [width, height]} as JSON."""
    sizes = form.parts["source_sizes"]
    controls = ("init_img", "sketch", "init_img_with_mask", "inpaint_color_sketch", "init_img_inpaint")
    for mode, control in enumerate(controls):
        component = form[control]
        new_image = component.change if isinstance(component, gr.Image) else component.upload
        for trigger in (new_image, component.clear):
            noted = trigger(fn=noting_size(mode), inputs=[component, sizes], outputs=[sizes], **QUIET)
            noted.then(fn=None, js="updateImg2imgResizeToTextAfterChangingImage", inputs=[], outputs=[])


def noting_size(mode: int) -> Callable[[Any, str], str]:
    """Returns a handler that puts the size of the image of a mode among the noted ones."""

    def note(value: Any, sizes: str) -> str:
        """Returns the known sizes of images, with that of this mode."""
        image = image_of(value)
        return json.dumps({**json.loads(sizes), str(mode): image.size if image is not None else [0, 0]})

    return note
