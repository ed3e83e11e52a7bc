"""SD upscale: enlarges an image and makes it anew in overlapping tiles of the job's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from PIL import Image

from modules import bounds, devices, errors, image_ops, images, processing, scripts, shared
from modules.job.records import ImageRecord, first_record, hand_on, images_made
from modules.processing import Processed, StableDiffusionProcessing, fix_seed
from modules.shared import opts, state
from modules.upscaler import UpscalerData


def find_upscaler(index: int | str) -> UpscalerData:
    """Returns the upscaler at a place of the list, or of a name in any letter case; raises InvalidInput without one."""
    if isinstance(index, str):
        found = [upscaler for upscaler in shared.sd_upscalers if upscaler.name.lower() == index.lower()]
    else:
        found = shared.sd_upscalers[index : index + 1]
    if not found:
        raise errors.InvalidInput(f"There is no upscaler {index!r}; GET /sdapi/v1/upscalers lists them", "script_args")
    return found[0]


class Script(scripts.Script):
    def title(self) -> str:
        """Returns its name in the menu and in the API."""
        return "SD upscale"

    def show(self, is_img2img: bool) -> bool:
        """Returns whether the tab offers it: img2img does."""
        return is_img2img

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes the controls: overlap of tiles, upscaler, factor."""
        names = [upscaler.name for upscaler in shared.sd_upscalers]
        info = gr.HTML(
            "<p style='margin-bottom:0.75em'>Enlarges the picture by the factor; tiles get width and height above.</p>"
        )
        overlap = gr.Slider(
            minimum=0, maximum=256, step=16, label="Tile overlap", value=64, elem_id=self.elem_id("overlap")
        )
        scale_factor = gr.Slider(
            minimum=1.0,
            maximum=4.0,
            step=0.05,
            label="Scale Factor",
            value=2.0,
            elem_id=self.elem_id("scale_factor"),
        )
        upscaler_index = gr.Radio(
            label="Upscaler",
            choices=names,
            value=names[0] if names else None,
            type="index",
            elem_id=self.elem_id("upscaler_index"),
        )
        return [info, overlap, upscaler_index, scale_factor]

    def run(
        self,
        p: StableDiffusionProcessing,
        _: Any,
        overlap: int,
        upscaler_index: int | str,
        scale_factor: float,
    ) -> Processed:
        """Enlarges the image of the job and makes it anew."""
        fix_seed(p)
        upscaler = find_upscaler(upscaler_index)
        p.extra_generation_params["SD upscale overlap"] = overlap
        p.extra_generation_params["SD upscale upscaler"] = upscaler.name
        image = images.flatten(p.init_images[0], opts.img2img_background_color)
        check_size(p, image, scale_factor if upscaler.name != "None" else 1, overlap)
        if upscaler.name != "None":
            image = upscaler.scaler.upscale(image, scale_factor, upscaler.data_path)
        devices.torch_gc()
        grid = images.split_grid(image, tile_w=p.width, tile_h=p.height, overlap=overlap)
        return make_anew(p, grid, plan_runs(p, grid))


def check_size(p: StableDiffusionProcessing, image: Image.Image, factor: float, overlap: int) -> None:
    """Raises InvalidInput for an enlarged image, or a number of tiles, beyond the bounds."""
    limits = bounds.current()
    limits.check_scaled(image.size, factor, bounds.SCRIPT_ARGS)
    width, height = (max(int(side * factor), 8) for side in image.size)
    tiles = images.count_tiles((width, height), (p.width, p.height), overlap)
    limits.check_images(tiles * p.n_iter, bounds.SCRIPT_ARGS)


@dataclass
class Run:
    """Tiles that are made together, by their places in the grid, and the masks that lie over them."""

    places: list[int]
    batch_size: int
    image_mask: Image.Image | None = None
    latent_mask: Image.Image | None = None


def tiles_of(grid: images.Grid) -> list[list[Any]]:
    """Returns the tiles of a grid, each as [x, width, image], row by row."""
    return [tile for _, _, row in grid.tiles for tile in row]


def plan_runs(p: StableDiffusionProcessing, grid: images.Grid) -> list[Run]:
    """Returns what is to be made: batches of tiles; with a mask each tile alone, with its part of the mask, and only
    where that marks something. A mask that marks nothing at all means what it means without tiles.
    """
    places = range(len(tiles_of(grid)))
    if p.image_mask is not None:
        masks = parts(image_ops.create_binary_mask(p.image_mask, round=p.mask_round), grid)
        latent_masks = parts(p.latent_mask.convert("RGB"), grid) if p.latent_mask else [None] * len(places)
        unmarked = (255, 255) if p.inpainting_mask_invert else (0, 0)
        marked = [place for place in places if masks[place].getextrema() != unmarked]
        if marked:
            return [Run([place], 1, masks[place], latent_masks[place]) for place in marked]
    size = p.batch_size
    batches = [list(places[start : start + size]) for start in range(0, len(places), size)]
    return [Run(batch, size, p.image_mask, p.latent_mask) for batch in batches]


def parts(mask: Image.Image, grid: images.Grid) -> list[Image.Image]:
    """Returns the part of a mask that lies over each tile."""
    whole = mask.resize((grid.image_w, grid.image_h), Image.Resampling.BILINEAR)
    return [tile[2] for tile in tiles_of(images.split_grid(whole, grid.tile_w, grid.tile_h, grid.overlap))]


def make_anew(p: StableDiffusionProcessing, grid: images.Grid, runs: list[Run]) -> Processed:
    """Makes the tiles by img2img, run by run, once for each of the job's batches, and joins the results."""
    tiles = tiles_of(grid)
    sources = [tile[2] for tile in tiles]
    repetitions, seed = p.n_iter, p.seed
    p.n_iter = 1
    p.do_not_save_grid = p.do_not_save_samples = True
    state.job_count = len(runs) * repetitions

    results: list[Image.Image] = []
    records: list[ImageRecord] = []
    for repetition in range(repetitions):
        p.seed = seed + repetition
        record = None
        for place in (place for run in runs for place in run.places):
            tiles[place][2] = Image.new("RGB", (p.width, p.height))  # stays where it is interrupted
        for number, run in enumerate(runs, 1 + repetition * len(runs)):
            if is_ending():
                break
            state.job = f"Batch {number} out of {state.job_count}"
            processed = run_img2img(p, run, [sources[place] for place in run.places])
            record = record or first_record(processed)
            p.seed = processed.seed + 1
            for place, image in zip(run.places, images_made(processed), strict=False):
                tiles[place][2] = image
        combined = images.combine_grid(grid)
        records.append(record or ImageRecord(seed=seed + repetition))
        hand_on(records[-1], combined)
        results.append(combined)
        if opts.samples_save:
            info = records[-1].infotext
            images.save_image(
                combined, p.outpath_samples, "", seed + repetition, p.prompt, opts.samples_format, info=info, p=p
            )
        if is_ending():
            break
    return Processed(p, results, seed, records[0].infotext if records else "")


def is_ending() -> bool:
    """Returns whether the user has asked for an end."""
    return state.interrupted or state.stopping_generation


def run_img2img(p: StableDiffusionProcessing, run: Run, sources: list[Image.Image]) -> Processed:
    """Makes the tiles of one run."""
    p.batch_size = run.batch_size
    p.init_images = sources
    p.image_mask, p.latent_mask = run.image_mask, run.latent_mask
    return processing.process_images(p)
