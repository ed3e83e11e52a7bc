"""job: from decoded pixels to what the user gets: restored faces, colours, overlays, files, masks and the grid.

Everything about files, formats and grids is read from the settings snapshot of the run, so that a setting changed
meanwhile can't tear a job's files apart.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from modules import devices, face_restoration, image_ops, images, paths, scripts, shared, util
from modules.job import decode
from modules.job.records import keep_record
from modules.job.settings import OutputSettings

if TYPE_CHECKING:
    import torch

    from modules.job.run_state import RunState
    from modules.opts_snapshot import OptsSnapshot

logger = logging.getLogger(__name__)


@dataclass
class JobOutput:
    """What a run has produced so far. `infotexts` has one entry per image (and one for the grid); returned masks have
    none.
    """

    images: list[Image.Image] = field(default_factory=list)
    infotexts: list[str] = field(default_factory=list)
    index_of_first_image: int = 0

    def add(self, images: Sequence[Image.Image], infotexts: Sequence[str]) -> None:
        """Adds what has been made of a batch."""
        self.images += images
        self.infotexts += infotexts


@dataclass
class UnfinishedImage:
    """One image on its way through the post-steps, with what is needed to save any state of it."""

    p: RunState
    index: int
    infotext: Callable[[], str]
    save: bool
    settings: OutputSettings

    def keep_record(self, image: Image.Image, kind: str, text: str) -> None:
        """Notes on an image, or a mask of it, what it was made from."""
        p, index = self.p, self.index
        keep_record(
            image,
            kind,
            text,
            seed=p.seeds[index],
            subseed=p.subseeds[index],
            prompt=p.prompts[index],
            negative_prompt=p.negative_prompts[index],
        )

    def save_as(self, image: Image.Image, suffix: str = "") -> None:
        """Writes one state of the image into the samples folder."""
        p = self.p
        images.save_image(
            image,
            p.outpath_samples,
            "",
            p.seeds[self.index],
            p.prompts[self.index],
            p.opts_snapshot.samples_format,
            info=self.infotext(),
            p=p,
            suffix=suffix,
        )


def finish_batch(p: RunState, batch: list[torch.Tensor], output: JobOutput, infotext: Callable[[int], str]) -> None:
    """Runs the post-steps on every image of a batch (each (3, H, W) in 0..1) and adds the results to `output`."""
    save = save_samples(p)
    settings = OutputSettings.from_opts(shared.opts)
    for index, pixels in enumerate(batch):
        p.batch_index = index
        unfinished = UnfinishedImage(p, index, functools.partial(infotext, index), save, settings)
        finish_image(unfinished, decode.to_uint8(pixels), output)
    devices.torch_gc()


def finish_image(unfinished: UnfinishedImage, pixels: np.ndarray, output: JobOutput) -> None:
    """Restores faces, calls the script hooks, matches colours, lays the overlay on, and saves and returns one image
    (H, W, 3) and its masks.
    """
    p, index, snapshot = unfinished.p, unfinished.index, unfinished.p.opts_snapshot
    if p.restore_faces:
        if unfinished.save and snapshot.save_images_before_face_restoration:
            unfinished.save_as(Image.fromarray(pixels), "-before-face-restoration")
        devices.torch_gc()
        pixels = face_restoration.restore_faces(pixels)
        devices.torch_gc()
    image = Image.fromarray(pixels)

    if p.scripts is not None:
        pp = scripts.PostprocessImageArgs(image)
        p.scripts.postprocess_image(p, pp)
        image = pp.image

    mask_for_overlay, overlay_image = overlay_of(p, index, unfinished.settings)
    if p.color_corrections is not None and index < len(p.color_corrections):
        if unfinished.save and snapshot.save_images_before_color_correction:
            uncorrected, _ = lay_over(p, image, overlay_image)
            unfinished.save_as(uncorrected, "-before-color-correction")
        image = image_ops.apply_color_correction(p.color_corrections[index], image)
    image, original_denoised_image = lay_over(p, image, overlay_image)

    if p.scripts is not None:
        pp = scripts.PostprocessImageArgs(image)
        p.scripts.postprocess_image_after_composite(p, pp)
        image = pp.image

    if unfinished.save:
        unfinished.save_as(image)
    text = unfinished.infotext()
    output.infotexts.append(text)
    if snapshot.enable_pnginfo:
        image.info["parameters"] = text
    unfinished.keep_record(image, "image", text)
    output.images.append(image)
    if mask_for_overlay is not None:
        output.images.extend(finish_masks(unfinished, mask_for_overlay, original_denoised_image))


def lay_over(p: RunState, image: Image.Image, overlay: Image.Image | None) -> tuple[Image.Image, Image.Image]:
    """Returns (image with the unmasked part of the source over it, image without); enlarged as img2img's are."""
    return image_ops.apply_overlay(image, p.paste_to, overlay, functools.partial(images.resize_image, 0))


def overlay_of(p: RunState, index: int, settings: OutputSettings) -> tuple[Image.Image | None, Image.Image | None]:
    """Returns (mask for the overlay, overlay) of an image, after the scripts have had their say."""
    mask_for_overlay = getattr(p, "mask_for_overlay", None)
    has_overlay = settings.overlay_inpaint and p.overlay_images is not None and index < len(p.overlay_images)
    overlay_image = p.overlay_images[index] if has_overlay else None
    if p.scripts is None:
        return mask_for_overlay, overlay_image
    ppmo = scripts.PostProcessMaskOverlayArgs(index, mask_for_overlay, overlay_image)
    p.scripts.postprocess_maskoverlay(p, ppmo)
    return ppmo.mask_for_overlay, ppmo.overlay_image


def finish_masks(
    unfinished: UnfinishedImage, mask_for_overlay: Image.Image, original_denoised_image: Image.Image
) -> list[Image.Image]:
    """Saves and returns the mask and the masked part of the result, as the settings ask for."""
    snapshot = unfinished.p.opts_snapshot
    returned = []
    if snapshot.return_mask or snapshot.save_mask:
        mask = mask_for_overlay.convert("RGB")
        if unfinished.save and snapshot.save_mask:
            unfinished.save_as(mask, "-mask")
        if snapshot.return_mask:
            unfinished.keep_record(mask, "mask", unfinished.infotext())
            returned.append(mask)
    if snapshot.return_mask_composite or snapshot.save_mask_composite:
        masked_part = original_denoised_image.convert("RGBA").convert("RGBa")
        mask = images.resize_image(2, mask_for_overlay, *masked_part.size).convert("L")
        composite = Image.composite(masked_part, Image.new("RGBa", masked_part.size), mask).convert("RGBA")
        if unfinished.save and snapshot.save_mask_composite:
            unfinished.save_as(composite, "-mask-composite")
        if snapshot.return_mask_composite:
            unfinished.keep_record(composite, "mask", unfinished.infotext())
            returned.append(composite)
    return returned


_rememberer = ThreadPoolExecutor(1, "last job")


def remember(infotext: str) -> Future[None]:
    """Writes the infotext of a job that begins to where the page finds that of the last one, beside the job: a file
    that takes the place of another costs as much as many steps of a small image. What cannot be written is logged.
    """
    return _rememberer.submit(_remember, os.path.join(paths.data_path, "params.txt"), infotext)


def _remember(filename: str, infotext: str) -> None:
    try:
        util.write_text_atomically(filename, infotext, flush=False)
    except OSError as e:
        logger.warning("the parameters of the last job cannot be kept in %s: %s", filename, e)


def add_grid(p: RunState, output: JobOutput, grid_infotext: Callable[[], str]) -> None:
    """Puts a grid of all images before them, and saves it, as the settings ask for."""
    snapshot: OptsSnapshot = p.opts_snapshot
    if p.do_not_save_grid or not (snapshot.return_grid or snapshot.grid_save):
        return
    if not output.images or (len(output.images) < 2 and snapshot.grid_only_if_multiple):
        return
    grid = images.image_grid(output.images, p.batch_size, options=snapshot)
    text = grid_infotext()
    if snapshot.return_grid:
        output.infotexts.insert(0, text)
        if snapshot.enable_pnginfo:
            grid.info["parameters"] = text
        keep_record(
            grid,
            "grid",
            text,
            seed=p.all_seeds[0],
            subseed=p.all_subseeds[0],
            prompt=p.main_prompt,
            negative_prompt=p.main_negative_prompt,
        )
        output.images.insert(0, grid)
        output.index_of_first_image = 1
    if snapshot.grid_save:
        images.save_image(
            grid,
            p.outpath_grids,
            "grid",
            p.all_seeds[0],
            p.all_prompts[0],
            snapshot.grid_format,
            info=text,
            short_filename=not snapshot.grid_extended_filename,
            p=p,
            grid=True,
        )


def save_samples(p: RunState) -> bool:
    """Tells whether images of this job go to disk: interrupted and skipped ones only if the setting
    save_incomplete_images says so.
    """
    options = p.opts_snapshot or shared.opts
    complete = not shared.state.interrupted and not shared.state.skipped
    return options.samples_save and not p.do_not_save_samples and (options.save_incomplete_images or complete)
