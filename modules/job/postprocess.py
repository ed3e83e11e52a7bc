"""job: images through the postprocessing scripts, one by one, and saved as the Extras tab and its API want it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError

from modules import devices, errors, images, infotext, shared, util
from modules.options import OptionValues
from modules.scripts_postprocessing import PostprocessedImage

logger = logging.getLogger(__name__)

SINGLE_IMAGE, BATCH, BATCH_FROM_DIRECTORY = range(3)

RunScripts = Callable[[PostprocessedImage], None]


class Source(NamedTuple):
    """An image to work on, or its file, and the name it came under (None without one)."""

    image: Image.Image | str
    name: str | None


class Postprocessed(NamedTuple):
    """What a run gives: the images to show, and what was done to the last one, as infotext."""

    images: list[Image.Image]
    infotext: str


@dataclass(frozen=True)
class PostprocessingSettings(OptionValues):
    """How results are named and saved. The names are those of the options."""

    enable_pnginfo: bool
    outdir_extras_samples: str
    outdir_samples: str
    postprocessing_existing_caption_action: str
    samples_format: str
    use_original_name_batch: bool


def run(
    run_scripts: RunScripts,
    extras_mode: int,
    image: Image.Image | None,
    image_folder: Sequence[Any],
    input_dir: str,
    output_dir: str,
    show_results: bool,
    save_output: bool,
) -> Postprocessed:
    """Returns what scripts make of images, after saving it unless save_output is false.

    extras_mode: 0 works on image, 1 on image_folder (images or uploaded files), 2 on the files in input_dir.
    output_dir: where mode 2 saves. show_results: whether mode 2 returns images. Raises InvalidInput if there is nothing
    to work on.
    """
    settings = PostprocessingSettings.from_opts(shared.opts)
    sources = find_images(extras_mode, image, image_folder, input_dir)
    folder = output_folder(extras_mode, output_dir, settings) if save_output else None
    is_shown = extras_mode != BATCH_FROM_DIRECTORY or show_results
    return process_images(sources, run_scripts, folder, is_shown, settings)


def find_images(
    extras_mode: int, image: Image.Image | None, image_folder: Sequence[Any], input_dir: str
) -> list[Source]:
    """Returns what to work on; raises InvalidInput if that is nothing."""
    if extras_mode == BATCH:
        return [_uploaded(entry) for entry in image_folder]
    if extras_mode == BATCH_FROM_DIRECTORY:
        if shared.cmd_opts.hide_ui_dir_config:
            raise errors.InvalidInput("--hide-ui-dir-config does not allow a batch from a directory", field="input_dir")
        if not input_dir or not os.path.isdir(input_dir):
            raise errors.InvalidInput(f"input directory {input_dir!r} does not exist", field="input_dir")
        return [Source(path, path) for path in shared.listfiles(input_dir)]
    if not image:
        raise errors.InvalidInput("image not selected", field="image")
    return [Source(image, None)]


def _uploaded(entry: Any) -> Source:
    """Returns the image and name of an entry of a batch: an image, a path or an uploaded file."""
    if isinstance(entry, Image.Image):
        return Source(images.fix_image(entry), "")
    path = os.path.abspath(entry if isinstance(entry, str) else entry.name)
    name = getattr(entry, "orig_name", None) or os.path.basename(path)
    return Source(images.read(path), os.path.splitext(name)[0])


def output_folder(extras_mode: int, output_dir: str, settings: PostprocessingSettings) -> str:
    """Returns where results are saved."""
    if extras_mode == BATCH_FROM_DIRECTORY and output_dir:
        return output_dir
    return settings.outdir_samples or settings.outdir_extras_samples


def process_images(
    sources: Sequence[Source],
    run_scripts: RunScripts,
    folder: str | None,
    is_shown: bool,
    settings: PostprocessingSettings,
) -> Postprocessed:
    """Runs scripts over images, saves the results in folder (not if None), and returns those to show."""
    devices.torch_gc()
    outputs: list[Image.Image] = []
    text = ""
    shared.state.job_count = len(sources)
    for source, name in sources:
        shared.state.nextjob()
        shared.state.textinfo = name
        shared.state.skipped = False
        if shared.state.interrupted or shared.state.stopping_generation:
            break
        used_suffixes: dict[str, int] = {}
        for pp in process_source(source, run_scripts):
            text = infotext.build_parameters(pp.info)
            if settings.enable_pnginfo:
                pp.image.info["postprocessing"] = text
            shared.state.assign_current_image(pp.image)
            if folder is not None:
                save_result(pp, folder, name, pp.get_suffix(used_suffixes), text, settings)
            if is_shown:
                outputs.append(pp.image)
    devices.torch_gc()
    return Postprocessed(outputs, text)


def process_source(source: Image.Image | str, run_scripts: RunScripts) -> list[PostprocessedImage]:
    """Returns what the scripts make of an image: itself and those added, each with what the source's file said.

    A file that is no image gives nothing, nor does a skipped one.
    """
    if isinstance(source, str):
        try:
            source = images.read(source)
        except (UnidentifiedImageError, OSError):
            logger.warning("%s is not a picture and is left out", source)
            return []
    parameters, existing_info = images.read_info_from_image(source)
    parameters = existing_info.pop(images.ORIGINAL, None) or existing_info.get("exif comment") or parameters
    if parameters:
        existing_info["parameters"] = parameters

    pp = PostprocessedImage(source if source.mode in ("RGB", "RGBA") else source.convert("RGB"))
    run_scripts(pp)
    if shared.state.skipped:
        return []
    results = [pp, *pp.extra_images]
    for result in results:
        result.image.info = dict(existing_info)
    return results


def save_result(
    pp: PostprocessedImage, folder: str, name: str | None, suffix: str, text: str, settings: PostprocessingSettings
) -> None:
    """Saves a result under the name of its source, as the settings say, and its caption beside it."""
    keeps_name = settings.use_original_name_batch and name is not None
    stem = os.path.splitext(os.path.basename(name))[0] if keeps_name else ""
    path, _ = images.save_image(
        pp.image,
        path=folder,
        basename="",
        extension=settings.samples_format,
        info=text,
        short_filename=True,
        no_prompt=True,
        pnginfo_section_name="extras",
        existing_info=pp.image.info,
        forced_filename=f"{stem}{suffix}" if keeps_name else None,
        suffix=suffix,
    )
    if pp.caption:
        save_caption(os.path.splitext(path)[0] + ".txt", pp.caption, settings.postprocessing_existing_caption_action)


def save_caption(path: str, caption: str, action: str) -> None:
    """Writes a caption. action: what becomes of the text of an existing file: Ignore, Keep, Prepend, Append."""
    existing = ""
    if os.path.exists(path):
        with open(path, encoding="utf8") as file:
            existing = file.read().strip()

    if existing and action == "Keep":
        caption = existing
    elif existing and action == "Prepend":
        caption = f"{existing} {caption}"
    elif existing and action == "Append":
        caption = f"{caption} {existing}"
    util.write_text_atomically(path, caption.strip())
