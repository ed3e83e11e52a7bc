"""Outpainting mk2: grows an image side by side; what is inpainted there starts from noise in its colours and
textures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from modules import bounds, images, processing, scripts
from modules.job.records import ImageRecord, first_record, hand_on, images_made, record_of
from modules.outpainting import SIDES, Margins, get_matched_noise, mask_around, round_up
from modules.processing import Processed, StableDiffusionProcessing, fix_seed
from modules.shared import opts, state

MASKED_CONTENT_ORIGINAL = 1


@dataclass(frozen=True)
class Growth:
    """One step: pixels added on a side. blur: of the mask along that axis, in pixels; (x, y)."""

    side: str
    pixels: int
    blur: tuple[int, int]

    @property
    def is_horizontal(self) -> bool:
        """Whether the image grows in width."""
        return self.side in ("left", "right")

    def grown(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns a size (width, height) after the step."""
        width, height = size
        return (width + self.pixels, height) if self.is_horizontal else (width, height + self.pixels)

    def kept_part(
        self, size: tuple[int, int], grown: tuple[int, int], border: tuple[int, int]
    ) -> tuple[int, int, int, int]:
        """Returns the rectangle of a canvas that is not made anew: the old image, less a border where it grows."""
        n, (border_x, border_y) = self.pixels, border
        return (
            n + border_x if self.side == "left" else 0,
            n + border_y if self.side == "up" else 0,
            size[0] - n - border_x if self.side == "right" else grown[0],
            size[1] - n - border_y if self.side == "down" else grown[1],
        )

    def near_edge(self, size: tuple[int, int], part: tuple[int, int]) -> tuple[int, int, int, int]:
        """Returns the box of a part of a canvas that touches the side that grows."""
        x = size[0] - part[0] if self.side == "right" else 0
        y = size[1] - part[1] if self.side == "down" else 0
        return (x, y, x + part[0], y + part[1])


class Script(scripts.Script):
    def title(self) -> str:
        """Returns its name in the menu and in the API."""
        return "Outpainting mk2"

    def show(self, is_img2img: bool) -> bool:
        """Returns whether the tab offers it: img2img does."""
        return is_img2img

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes the controls: pixels, blur of the mask, directions, and what the noise is like."""
        info = gr.HTML(
            "<p style='margin-bottom:0.75em'>Works best with many steps (80 or more), Euler a and a denoising strength "
            "of 0.8.</p>"
        )
        pixels = gr.Slider(
            label="Pixels to expand", minimum=8, maximum=256, step=8, value=128, elem_id=self.elem_id("pixels")
        )
        mask_blur = gr.Slider(
            label="Mask blur", minimum=0, maximum=64, step=1, value=8, elem_id=self.elem_id("mask_blur")
        )
        direction = gr.CheckboxGroup(
            label="Outpainting direction", choices=list(SIDES), value=list(SIDES), elem_id=self.elem_id("direction")
        )
        noise_q = gr.Slider(
            label="Fall-off exponent (lower=higher detail)",
            minimum=0.0,
            maximum=4.0,
            step=0.01,
            value=1.0,
            elem_id=self.elem_id("noise_q"),
        )
        color_variation = gr.Slider(
            label="Color variation",
            minimum=0.0,
            maximum=1.0,
            step=0.01,
            value=0.05,
            elem_id=self.elem_id("color_variation"),
        )
        return [info, pixels, mask_blur, direction, noise_q, color_variation]

    def run(
        self,
        p: StableDiffusionProcessing,
        _: Any,
        pixels: int,
        mask_blur: float,
        direction: list[str] | str,
        noise_q: float,
        color_variation: float,
    ) -> Processed:
        """Grows the image of the job, batch by batch, on one side after the other."""
        source = p.init_images[0]
        check_size(p, source, pixels, direction, mask_blur)
        wanted = Margins.on_sides(pixels, direction)
        margins = wanted.fitted(*source.size)
        blur = (mask_blur if wanted.left or wanted.right else 0, mask_blur if wanted.up or wanted.down else 0)
        growths = [Growth(side, getattr(margins, side), blur) for side in SIDES if getattr(margins, side) > 0]
        p.mask_blur_x, p.mask_blur_y = blur[0] * 4, blur[1] * 4
        p.inpaint_full_res = False
        p.inpainting_mask_invert = 0
        p.inpainting_fill = MASKED_CONTENT_ORIGINAL
        p.do_not_save_samples = p.do_not_save_grid = True

        fix_seed(p)
        outpainting = Outpainting(p, noise_q, color_variation)
        batches, p.n_iter = p.n_iter, 1
        state.job_count = batches * len(growths)
        results: list[Image.Image] = []
        for batch in range(batches):
            if results and (state.interrupted or state.stopping_generation):
                break
            results += outpainting.grow_batch(batch, source, growths)
        return outpainting.result(results)


def check_size(
    p: StableDiffusionProcessing, source: Image.Image, pixels: float, direction: list[str] | str, mask_blur: float
) -> None:
    """Raises InvalidInput for a grown image, a blur or a number of images beyond the bounds."""
    limits = bounds.current()
    limits.check("api_max_size", pixels, "pixels to expand", bounds.SCRIPT_ARGS)
    limits.check("api_max_size", mask_blur, "pixels of mask blur", bounds.SCRIPT_ARGS)
    limits.check_size(*Margins.on_sides(pixels, direction).target(*source.size), bounds.SCRIPT_ARGS)
    limits.check_images(p.n_iter * p.batch_size, "n_iter")


class Outpainting:
    """The jobs that grow images. size: that of the form, which limits what one job makes anew."""

    def __init__(self, p: StableDiffusionProcessing, noise_q: float, color_variation: float):
        self.p = p
        self.noise_q = noise_q
        self.color_variation = color_variation
        self.size = p.width, p.height
        self.batch_size = p.batch_size
        self.seed, self.subseed = p.seed, p.subseed

    def grow_batch(self, batch: int, source: Image.Image, growths: list[Growth]) -> list[Image.Image]:
        """Grows an image as often as a batch is large, each time with a seed of its own on all sides."""
        p, place = self.p, batch * self.batch_size
        p.seed, p.subseed = self.seed + (0 if p.subseed_strength else place), self.subseed + place
        p.seeds = None  # else the encoder's noise would go on from the batch before
        grown = [source.copy() for _ in range(self.batch_size)]
        records: list[ImageRecord] = []
        for growth in growths:
            grown, records_of_side = self.grow(grown, growth)
            records = records or records_of_side
        for image, record in zip(grown, records, strict=False):
            hand_on(record, image)
        return grown

    def grow(self, sources: list[Image.Image], growth: Growth) -> tuple[list[Image.Image], list[ImageRecord]]:
        """Grows all images of a batch on one side, in one job; returns also what is known of what was made there."""
        p = self.p
        grown = growth.grown(sources[0].size)
        canvas_size = round_up(grown[0]), round_up(grown[1])
        if growth.is_horizontal:
            p.width, p.height = min(self.size[0], grown[0]), canvas_size[1]
        else:
            p.width, p.height = canvas_size[0], min(self.size[1], grown[1])
        box = growth.near_edge(canvas_size, (p.width, p.height))
        mask = mask_around(canvas_size, growth.kept_part(canvas_size, grown, growth.blur))
        canvases = [self.filled_canvas(source, growth, mask) for source in sources]

        p.init_images = [canvas.crop(box) for canvas in canvases]
        p.batch_size = len(sources)
        p.image_mask = mask.crop(box)
        border = (2 * growth.blur[0], 2 * growth.blur[1])
        p.latent_mask = mask_around((p.width, p.height), growth.kept_part((p.width, p.height), grown, border))
        processed = processing.process_images(p)
        made = images_made(processed)
        for canvas, part in zip(canvases, made, strict=False):
            canvas.paste(part, box[:2])
        records = [record_of(part) for part in made]
        records += [first_record(processed)] * (len(canvases) - len(made))  # where it was stopped
        return [canvas.crop((0, 0, *grown)) for canvas in canvases], records

    def filled_canvas(self, source: Image.Image, growth: Growth, mask: Image.Image) -> Image.Image:
        """Returns the image on a larger canvas whose new part is filled with noise like it."""
        canvas = Image.new("RGB", mask.size)
        canvas.paste(
            source, (growth.pixels if growth.side == "left" else 0, growth.pixels if growth.side == "up" else 0)
        )
        pixels, mask_pixels = (np.asarray(image, dtype=np.float64) / 255 for image in (canvas, mask))
        filled = get_matched_noise(pixels, mask_pixels, self.noise_q, self.color_variation)
        return Image.fromarray(np.clip(filled * 255, 0, 255).astype(np.uint8))

    def result(self, results: list[Image.Image]) -> Processed:
        """Saves all images, and the grid of them, as the settings say."""
        p, first = self.p, record_of(results[0])
        has_grid = len(results) > 1 or not opts.grid_only_if_multiple
        grid = images.image_grid(results)
        hand_on(first, grid, "grid")
        returned = [grid, *results] if opts.return_grid and has_grid else results
        if opts.samples_save:
            for image in results:
                record = record_of(image)
                images.save_image(
                    image, p.outpath_samples, "", record.seed, p.prompt, opts.samples_format, info=record.infotext, p=p
                )
        if opts.grid_save and has_grid:
            images.save_image(
                grid,
                p.outpath_grids,
                "grid",
                first.seed,
                p.prompt,
                opts.grid_format,
                info=first.infotext,
                short_filename=not opts.grid_extended_filename,
                grid=True,
                p=p,
            )
        return Processed(p, returned, first.seed, first.infotext)
