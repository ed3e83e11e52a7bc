"""Soft inpainting: blends inpainted and original content gradually, and lets the mask end where changes end."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageFilter, ImageOps
from soft_inpainting import SoftInpaintingSettings, difference_mask, latent_blend, step_mask

from modules import image_ops, images, scripts
from modules.processing import StableDiffusionProcessing
from modules.shared import opts
from modules.ui_components import InputAccordion

RESIZE_LATENT = 3
BLUR_RADIUS = 4

HELP = """
Soft inpainting keeps transitions between old and new content smooth. It works on the mask as it is: paint or upload
one with soft edges, or use a high *Mask blur*. Where the mask is grey, steps blend both contents; at the end, each part
that hardly changed is replaced by the original.

* **Schedule bias**: above 1, more of the original is kept in early steps; below 1, in late steps.
* **Preservation strength**: how strongly grey parts of the mask keep the original. 0 keeps nothing but black parts.
* **Transition contrast boost**: raise it if transitions look washed out.
* **Mask influence**: how much the mask, besides the change itself, decides what is replaced by the original.
* **Difference threshold**: how large a change must be to be seen. Lower it if parts of the new content are missing.
* **Difference contrast**: how sharp the edge is between what is seen and what is not.
"""

CONTROLS: tuple[tuple[str, str, dict[str, float], str], ...] = (
    (
        "mask_blend_power",
        "Schedule bias",
        {"minimum": 0, "maximum": 8, "step": 0.1, "value": 1},
        "Soft inpainting schedule bias",
    ),
    (
        "mask_blend_scale",
        "Preservation strength",
        {"minimum": 0, "maximum": 8, "step": 0.05, "value": 0.5},
        "Soft inpainting preservation strength",
    ),
    (
        "inpaint_detail_preservation",
        "Transition contrast boost",
        {"minimum": 1, "maximum": 32, "step": 0.5, "value": 4},
        "Soft inpainting transition contrast boost",
    ),
    (
        "composite_mask_influence",
        "Mask influence",
        {"minimum": 0, "maximum": 1, "step": 0.05, "value": 0},
        "Soft inpainting mask influence",
    ),
    (
        "composite_difference_threshold",
        "Difference threshold",
        {"minimum": 0, "maximum": 8, "step": 0.25, "value": 0.5},
        "Soft inpainting difference threshold",
    ),
    (
        "composite_difference_contrast",
        "Difference contrast",
        {"minimum": 0, "maximum": 8, "step": 0.25, "value": 2},
        "Soft inpainting difference contrast",
    ),
)
"""Element id, label, range and infotext key of each slider, in the order of the arguments."""


def has_mask(p: StableDiffusionProcessing) -> bool:
    """Returns whether a job is inpainting."""
    return getattr(p, "image_mask", None) is not None


class Script(scripts.Script):
    section = "inpaint"

    def __init__(self) -> None:
        self.masks_for_overlay: list[Image.Image] = []
        self.overlay_images: list[Image.Image] = []

    def title(self) -> str:
        """Returns its name in the menu and in the API."""
        return "Soft inpainting"

    def show(self, is_img2img: bool) -> Any:
        """Returns AlwaysVisible on img2img."""
        return scripts.AlwaysVisible if is_img2img else False

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes the switch and its sliders."""
        with InputAccordion(False, label="Soft inpainting", elem_id="soft_inpainting_enabled") as enabled:
            sliders = [gr.Slider(label=label, elem_id=elem_id, **limits) for elem_id, label, limits, _ in CONTROLS]
            with gr.Accordion("Help", open=False):
                gr.Markdown(HELP)

        keys = [key for *_, key in CONTROLS]
        self.infotext_fields = [(enabled, "Soft inpainting enabled"), *zip(sliders, keys, strict=True)]
        self.paste_field_names = ["Soft inpainting enabled", *keys]
        return [enabled, *sliders]

    def process(self, p: StableDiffusionProcessing, enabled: bool, *values: float) -> None:
        """Keeps the mask as soft as it is, and writes the values into the infotext."""
        self.masks_for_overlay = self.overlay_images = []
        if not enabled or not has_mask(p):
            return
        p.mask_round = False
        p.extra_generation_params["Soft inpainting enabled"] = enabled
        for (*_, key), value in zip(CONTROLS, values, strict=True):
            p.extra_generation_params[key] = value

    def on_mask_blend(
        self, p: StableDiffusionProcessing, mba: scripts.MaskBlendArgs, enabled: bool, *values: float
    ) -> None:
        """Blends the latents of a step; the last blend is left to `post_sample`."""
        if not enabled or not has_mask(p):
            return
        if mba.is_final_blend:
            mba.blended_latent = mba.current_latent
            return
        settings = SoftInpaintingSettings(*values)
        mask = step_mask(mba.nmask, mba.sigma[0], settings)
        mba.blended_latent = latent_blend(mba.init_latent, mba.current_latent, mask, settings.detail)

    def post_sample(
        self, p: StableDiffusionProcessing, ps: scripts.PostSampleArgs, enabled: bool, *values: float
    ) -> None:
        """Finds what of each image has changed, which decides what of the original is laid over it."""
        if not enabled or not has_mask(p) or p.nmask is None:
            return
        settings = SoftInpaintingSettings(*values)
        originals = original_images(p)
        cells = p.nmask[..., 0, :, :].reshape(-1, *p.nmask.shape[-2:])[0]
        self.masks_for_overlay = [
            image_mask_of(p, difference_mask(original, new, cells, settings), image.size)
            for original, new, image in zip(p.init_latent, ps.samples, originals, strict=True)
        ]
        self.overlay_images = [
            cut_overlay(image, mask) for image, mask in zip(originals, self.masks_for_overlay, strict=True)
        ]

    def postprocess_maskoverlay(
        self, p: StableDiffusionProcessing, ppmo: scripts.PostProcessMaskOverlayArgs, enabled: bool, *values: float
    ) -> None:
        """Gives an image the mask and overlay that `post_sample` found for it."""
        if not enabled or not has_mask(p) or ppmo.index >= len(self.masks_for_overlay):
            return
        ppmo.mask_for_overlay = self.masks_for_overlay[ppmo.index]
        ppmo.overlay_image = self.overlay_images[ppmo.index]


def original_images(p: StableDiffusionProcessing) -> list[Image.Image]:
    """Returns the image that each of the batch is laid under, RGBA, at the size of the result, or uncropped."""
    originals = []
    for init_image in p.init_images:
        image = images.flatten(init_image, opts.img2img_background_color)
        if p.paste_to is None:
            image = images.resize_image(
                0 if p.resize_mode == RESIZE_LATENT else p.resize_mode, image, p.width, p.height
            )
        originals.append(image.convert("RGBA"))
    count = len(p.init_latent)
    return originals * count if len(originals) == 1 else originals[:count]


def image_mask_of(p: StableDiffusionProcessing, cells: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Returns the mask (L) of an image from that of its cells, 0..1, smoothed and put back where it was cut out."""
    mask = Image.fromarray((cells * 255).astype(np.uint8))
    mask = images.resize_image(2, mask, p.width, p.height).convert("L")
    mask = mask.filter(ImageFilter.GaussianBlur(radius=BLUR_RADIUS))
    if p.paste_to is None:
        return mask if mask.size == size else images.resize_image(2, mask, *size).convert("L")
    return image_ops.uncrop(mask, size, p.paste_to).convert("L")


def cut_overlay(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Returns what of the image (RGBA) stays: all the mask is black on."""
    overlay = Image.new("RGBa", image.size)
    overlay.paste(image.convert("RGBa"), mask=ImageOps.invert(mask))
    return overlay.convert("RGBA")
