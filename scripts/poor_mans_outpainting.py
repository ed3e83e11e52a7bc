"""Poor man's outpainting: grows an image with plain inpainting, tile by tile, along its edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from PIL import Image

from modules import bounds, images, processing, scripts
from modules.job.records import ImageRecord, hand_on, images_made, record_of
from modules.outpainting import SIDES, Margins, mask_around
from modules.processing import Processed, StableDiffusionProcessing, fix_seed
from modules.shared import opts, state


@dataclass
class Tile:
    """A tile that is made anew, with its mask and the mask of its masked content; cell is its entry in the grid."""

    cell: list[Any]
    mask: Image.Image
    latent_mask: Image.Image


class Script(scripts.Script):
    def title(self) -> str:
        """Returns its name in the menu and in the API."""
        return "Poor man's outpainting"

    def show(self, is_img2img: bool) -> bool:
        """Returns whether the tab offers it: img2img does."""
        return is_img2img

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes the controls: pixels, blur of the mask, what the new part starts from, and directions."""
        pixels = gr.Slider(
            label="Pixels to expand", minimum=8, maximum=256, step=8, value=128, elem_id=self.elem_id("pixels")
        )
        mask_blur = gr.Slider(
            label="Mask blur", minimum=0, maximum=64, step=1, value=4, elem_id=self.elem_id("mask_blur")
        )
        inpainting_fill = gr.Radio(
            label="Masked content",
            choices=["fill", "original", "latent noise", "latent nothing"],
            value="fill",
            type="index",
            elem_id=self.elem_id("inpainting_fill"),
        )
        direction = gr.CheckboxGroup(
            label="Outpainting direction", choices=list(SIDES), value=list(SIDES), elem_id=self.elem_id("direction")
        )
        return [pixels, mask_blur, inpainting_fill, direction]

    def run(
        self,
        p: StableDiffusionProcessing,
        pixels: int,
        mask_blur: float,
        inpainting_fill: Any,
        direction: list[str] | str,
    ) -> Processed:
        """Grows the image of the job: tiles that touch the new part are inpainted."""
        check_size(p, pixels, direction, mask_blur)
        p.mask_blur = int(mask_blur) * 2
        p.inpainting_fill = inpainting_fill
        p.inpaint_full_res = False
        p.inpainting_mask_invert = 0
        source = p.init_images[0]
        wanted = Margins.on_sides(pixels, direction)
        margins = wanted.fitted(*source.size)
        canvas = Image.new("RGB", wanted.target(*source.size))
        canvas.paste(source, (margins.left, margins.up))
        mask = mask_around(canvas.size, kept_part(canvas.size, margins, int(mask_blur) * 2), "L")
        latent_mask = mask_around(canvas.size, kept_part(canvas.size, margins, int(mask_blur) // 2), "L")

        grid, masks, latent_masks = (
            images.split_grid(image, tile_w=p.width, tile_h=p.height, overlap=pixels)
            for image in (canvas, mask, latent_mask)
        )
        tiles = new_tiles(grid, masks, latent_masks, kept_part(canvas.size, margins, 0))
        results = make_anew(p, grid, tiles)
        if opts.samples_save:
            for image in results:
                record = record_of(image)
                images.save_image(
                    image, p.outpath_samples, "", record.seed, p.prompt, opts.samples_format, info=record.infotext, p=p
                )
        first = record_of(results[0])
        return Processed(p, results, first.seed, first.infotext)


def check_size(p: StableDiffusionProcessing, pixels: float, direction: list[str] | str, mask_blur: float) -> None:
    """Raises InvalidInput for a grown image, a blur or a number of tiles beyond the bounds."""
    limits = bounds.current()
    limits.check("api_max_size", pixels, "pixels to expand", bounds.SCRIPT_ARGS)
    limits.check("api_max_size", mask_blur, "pixels of mask blur", bounds.SCRIPT_ARGS)
    size = Margins.on_sides(pixels, direction).target(*p.init_images[0].size)
    limits.check_size(*size, bounds.SCRIPT_ARGS)
    tiles = images.count_tiles(size, (p.width, p.height), pixels)
    limits.check_images(tiles * p.n_iter * p.batch_size, bounds.SCRIPT_ARGS)


def kept_part(size: tuple[int, int], margins: Margins, border: int) -> tuple[int, int, int, int]:
    """Returns where the old image is, less a border on the sides that grow."""
    return (
        margins.left + (border if margins.left > 0 else 0),
        margins.up + (border if margins.up > 0 else 0),
        size[0] - margins.right - (border if margins.right > 0 else 0),
        size[1] - margins.down - (border if margins.down > 0 else 0),
    )


def new_tiles(
    grid: images.Grid, masks: images.Grid, latent_masks: images.Grid, old: tuple[int, int, int, int]
) -> list[Tile]:
    """Returns the tiles that do not lie wholly in the old image, row by row."""
    tiles = []
    for (y, height, row), (_, _, mask_row), (_, _, latent_row) in zip(
        grid.tiles, masks.tiles, latent_masks.tiles, strict=True
    ):
        for cell, mask_cell, latent_cell in zip(row, mask_row, latent_row, strict=True):
            x, width, _ = cell
            if x < old[0] or y < old[1] or x + width > old[2] or y + height > old[3]:
                tiles.append(Tile(cell, mask_cell[2], latent_cell[2]))
    return tiles


def make_anew(p: StableDiffusionProcessing, grid: images.Grid, tiles: list[Tile]) -> list[Image.Image]:
    """Returns as many images as the job asks for, the tiles in them inpainted; black where it was stopped.

    Each image has its own seed, which the first of its tiles is made with; the others have the seeds after it.
    """
    fix_seed(p)
    batches, batch_size, seed, subseed = p.n_iter, p.batch_size, p.seed, p.subseed
    p.n_iter = 1
    p.do_not_save_grid = p.do_not_save_samples = True
    state.job_count = batches * len(tiles)
    sources = [tile.cell[2] for tile in tiles]
    results: list[Image.Image] = []
    for batch in range(batches):
        if results and (state.interrupted or state.stopping_generation):
            break
        place = batch * batch_size
        p.seed, p.subseed = seed + (0 if p.subseed_strength else place), subseed + place
        p.seeds = None  # else the encoder's noise would go on from the batch before
        records, made = make_tiles(p, sources, tiles)
        for n in range(batch_size):
            for tile, images_of_tile in zip(tiles, made, strict=True):
                tile.cell[2] = images_of_tile[n]
            results.append(images.combine_grid(grid))
            hand_on(records[n] if n < len(records) else ImageRecord(seed=p.seed), results[-1])
    return results


def make_tiles(
    p: StableDiffusionProcessing, sources: list[Image.Image], tiles: list[Tile]
) -> tuple[list[ImageRecord], list[list[Image.Image]]]:
    """Returns what is known of the first tile of each image, and the images of each tile: one for each of a batch."""
    batch_size = p.batch_size
    records: list[ImageRecord] = []
    made: list[list[Image.Image]] = []
    for source, tile in zip(sources, tiles, strict=True):
        if state.interrupted or state.stopping_generation:
            break
        state.job = f"Batch {state.job_no + 1} out of {state.job_count}"
        p.batch_size = batch_size
        p.init_images, p.image_mask, p.latent_mask = [source], tile.mask, tile.latent_mask
        processed = processing.process_images(p)
        p.seed = processed.seed + 1
        made.append(images_made(processed))
        records = records or [record_of(image) for image in made[0]]
    black = Image.new("RGB", (p.width, p.height))
    made += [[]] * (len(tiles) - len(made))
    return records, [[*made_here, *[black] * (batch_size - len(made_here))] for made_here in made]
