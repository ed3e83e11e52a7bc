"""job: images through the postprocessing scripts, one by one, and saved as the Extras tab and its API want it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from PIL import Image

from modules import bounds, devices, errors, image_ops, images, infotext, run_files, shared, util
from modules.options import OptionValues
from modules.scripts_postprocessing import PostprocessedImage

logger = logging.getLogger(__name__)

SINGLE_IMAGE, BATCH, BATCH_FROM_DIRECTORY = range(3)

FAILURES = (errors.WebuiError, OSError, ValueError, TypeError, ArithmeticError, LookupError, RuntimeError, MemoryError)
"""What ends the work on one image of a batch, not the batch: bad files, sizes that are too large, bugs of scripts."""

RunScripts = Callable[[PostprocessedImage], None]


class Source(NamedTuple):
    """An image to work on, its file, or why there is none, and the name it came under (None without one)."""

    image: Image.Image | str | errors.WebuiError
    name: str | None


@dataclass(frozen=True)
class Wanted:
    """What is to be worked on, and what becomes of the results.

    extras_mode: 0 works on image, 1 on image_folder (images or uploaded files), 2 on the files in input_dir.
    output_dir: where mode 2 saves. show_results: whether mode 2 returns images.
    """

    extras_mode: int
    image: Image.Image | None
    image_folder: Sequence[Any]
    input_dir: str
    output_dir: str
    show_results: bool
    save_output: bool = True

    @property
    def is_shown(self) -> bool:
        """Whether the results are returned, and so all held in memory."""
        return self.extras_mode != BATCH_FROM_DIRECTORY or self.show_results


class Postprocessed(NamedTuple):
    """What a run gives: the images to show, what was done to the last one, as infotext, and what could not be done.

    left_out: a line for each source of a batch without result, or whose results are not shown: its name and the reason.
    """

    images: list[Image.Image]
    infotext: str
    left_out: list[str]


@dataclass(frozen=True)
class PostprocessingSettings(OptionValues):
    """How results are named and saved. The names are those of the options."""

    enable_pnginfo: bool
    outdir_extras_samples: str
    outdir_samples: str
    postprocessing_existing_caption_action: str
    samples_format: str
    use_original_name_batch: bool


def run(run_scripts: RunScripts, wanted: Wanted) -> Postprocessed:
    """Returns what scripts make of images, after saving it unless save_output is false.

    Raises InvalidInput if there is nothing to work on, or more to show than the settings allow.
    """
    settings = PostprocessingSettings.from_opts(shared.opts)
    sources = find_images(wanted.extras_mode, wanted.image, wanted.image_folder, wanted.input_dir)
    if wanted.is_shown:
        bounds.current().check_images(len(sources), "image_folder")
    folder = output_folder(wanted.extras_mode, wanted.output_dir, settings) if wanted.save_output else None
    return process_images(sources, run_scripts, folder, wanted.is_shown, settings)


def find_images(
    extras_mode: int, image: Image.Image | None, image_folder: Sequence[Any], input_dir: str
) -> list[Source]:
    """Returns what to work on; raises InvalidInput if that is nothing."""
    if extras_mode == BATCH:
        return [_uploaded(entry) for entry in image_folder or []]
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
    """Returns an entry of a batch, which is an image, a path, an uploaded file or a source already, and its name."""
    if isinstance(entry, Source):
        return entry
    if isinstance(entry, Image.Image):
        return Source(images.fix_image(entry), None)
    path = os.path.abspath(entry if isinstance(entry, str) else entry.name)
    return Source(path, getattr(entry, "orig_name", None) or os.path.basename(path))


def output_folder(extras_mode: int, output_dir: str, settings: PostprocessingSettings) -> str:
    """Returns where results are saved."""
    if extras_mode == BATCH_FROM_DIRECTORY and output_dir:
        return output_dir
    return settings.outdir_samples or settings.outdir_extras_samples


@run_files.one_run()
def process_images(
    sources: Sequence[Source],
    run_scripts: RunScripts,
    folder: str | None,
    is_shown: bool,
    settings: PostprocessingSettings,
) -> Postprocessed:
    """Runs scripts over images, saves the results in folder (not if None), and returns those to show.

    One that fails does not end a batch. Raises what the first one failed with where all of them do. Results that are
    more than may be held in memory are saved, but not returned.
    """
    devices.torch_gc()
    run_files.keep(source for source, _ in sources if isinstance(source, str))
    outputs: list[Image.Image] = []
    failures: list[tuple[str, Exception]] = []
    text = ""
    shared.state.job_count = len(sources)
    for number, (source, name) in enumerate(sources, 1):
        shared.state.nextjob()
        shared.state.textinfo = name
        shared.state.skipped = False
        if shared.state.interrupted or shared.state.stopping_generation:
            break
        try:
            results = process_source(source, run_scripts)
            text = finish(results, folder, name, settings) if results else text
            outputs += to_show(results, outputs) if is_shown else []
        except FAILURES as e:
            failures.append((os.path.basename(name) if name else f"picture {number}", e))
            logger.warning("%s is left out: %s", *failures[-1])
            devices.torch_gc()
    devices.torch_gc()
    if failures and len(failures) == len(sources):
        raise failures[0][1]
    return Postprocessed(outputs, text, [f"{name}: {e}" for name, e in failures if has_image_name(name)])


def to_show(results: Sequence[PostprocessedImage], shown: Sequence[Image.Image]) -> list[Image.Image]:
    """Returns the images of results that are shown with others. Raises InvalidInput for more than may be held."""
    added = [pp.image for pp in results]
    bounds.current().check_pixels(sum(image.width * image.height for image in (*shown, *added)), "image_folder")
    return added


def has_image_name(name: str) -> bool:
    """Returns whether a file, by its name, is meant to be an image; a directory may hold texts and logs beside them."""
    extension = os.path.splitext(name)[1].lower()
    return not extension or extension in Image.registered_extensions()


def process_source(source: Image.Image | str | errors.WebuiError, run_scripts: RunScripts) -> list[PostprocessedImage]:
    """Returns what the scripts make of an image: itself and those added, each with what the source's file said.

    A skipped one gives nothing. Raises InvalidInput for a file that is no image.
    """
    if isinstance(source, errors.WebuiError):
        raise source
    if isinstance(source, str):
        try:
            source = images.read(source)
        except OSError as e:
            raise errors.InvalidInput(f"not a picture that can be read ({e})", field="image") from e
    source = image_ops.plain_mode(source)
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


def finish(
    results: Sequence[PostprocessedImage], folder: str | None, name: str | None, settings: PostprocessingSettings
) -> str:
    """Shows and saves (not if folder is None) the results of one source; returns what was done to the last one."""
    used_suffixes: dict[str, int] = {}
    text = ""
    for pp in results:
        text = infotext.build_parameters(pp.info)
        if settings.enable_pnginfo:
            pp.image.info["postprocessing"] = text
        shared.state.assign_current_image(pp.image)
        if folder is not None:
            save_result(pp, folder, name, pp.get_suffix(used_suffixes), text, settings)
    return text


def save_result(
    pp: PostprocessedImage, folder: str, name: str | None, suffix: str, text: str, settings: PostprocessingSettings
) -> None:
    """Saves a result under the name of its source, as the settings say, and its caption beside it."""
    keeps_name = settings.use_original_name_batch and bool(name)
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
