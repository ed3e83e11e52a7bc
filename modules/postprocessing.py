"""job: what the Extras tab and its API do: run the postprocessing scripts over pictures, and save what comes out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image, UnidentifiedImageError

from modules import devices, errors, images, infotext, scripts, shared, util
from modules.scripts_postprocessing import PostprocessedImage
from modules.shared import opts

logger = logging.getLogger(__name__)

SINGLE_IMAGE, BATCH, BATCH_FROM_DIRECTORY = range(3)

RunScripts = Callable[[PostprocessedImage], None]


def run_postprocessing(
    extras_mode: int,
    image: Image.Image | None,
    image_folder: Sequence[Any],
    input_dir: str,
    output_dir: str,
    show_extras_results: bool,
    *args: Any,
    save_output: bool = True,
) -> tuple[list[Image.Image], str, str]:
    """Run the scripts of the Extras tab, and return the pictures, what was done to the last as HTML, and "".

    extras_mode: 0 works on image, 1 on image_folder (images or uploaded files), 2 on the files in input_dir.
    output_dir: where mode 2 saves. show_extras_results: whether mode 2 returns pictures. args: values of the scripts'
    controls. Raises InvalidInput if there is nothing to work on.
    """
    sources = find_images(extras_mode, image, image_folder, input_dir)
    folder = output_folder(extras_mode, output_dir) if save_output else None
    is_shown = extras_mode != BATCH_FROM_DIRECTORY or show_extras_results
    return process_images(sources, lambda pp: scripts.scripts_postproc.run(pp, args), folder, is_shown)


def run_postprocessing_webui(id_task: str, *args: Any, **kwargs: Any) -> tuple[list[Image.Image], str, str]:
    """`run_postprocessing` for the page, which gives the id of the task first."""
    return run_postprocessing(*args, **kwargs)


def run_extras(
    extras_mode: int,
    resize_mode: int,
    image: Image.Image | None,
    image_folder: Sequence[Any],
    input_dir: str,
    output_dir: str,
    show_extras_results: bool,
    gfpgan_visibility: float,
    codeformer_visibility: float,
    codeformer_weight: float,
    upscaling_resize: float,
    upscaling_resize_w: int,
    upscaling_resize_h: int,
    upscaling_crop: bool,
    extras_upscaler_1: str,
    extras_upscaler_2: str,
    extras_upscaler_2_visibility: float,
    upscale_first: bool,
    save_output: bool = True,
    max_side_length: int = 0,
) -> tuple[list[Image.Image], str, str]:
    """`run_postprocessing` with the arguments of the shipped scripts by name; other scripts get none.

    upscale_first is accepted and not used: the order is a setting.
    """
    scripts_args = {
        "Upscale": {
            "upscale_enabled": True,
            "upscale_mode": resize_mode,
            "upscale_by": upscaling_resize,
            "max_side_length": max_side_length,
            "upscale_to_width": upscaling_resize_w,
            "upscale_to_height": upscaling_resize_h,
            "upscale_crop": upscaling_crop,
            "upscaler_1_name": extras_upscaler_1,
            "upscaler_2_name": extras_upscaler_2,
            "upscaler_2_visibility": extras_upscaler_2_visibility,
        },
        "GFPGAN": {"enable": True, "gfpgan_visibility": gfpgan_visibility},
        "CodeFormer": {
            "enable": True,
            "codeformer_visibility": codeformer_visibility,
            "codeformer_weight": codeformer_weight,
        },
    }
    sources = find_images(extras_mode, image, image_folder, input_dir)
    folder = output_folder(extras_mode, output_dir) if save_output else None
    is_shown = extras_mode != BATCH_FROM_DIRECTORY or show_extras_results
    return process_images(
        sources, lambda pp: scripts.scripts_postproc.run_with_names(pp, scripts_args), folder, is_shown
    )


def find_images(
    extras_mode: int, image: Image.Image | None, image_folder: Sequence[Any], input_dir: str
) -> list[tuple[Image.Image | str, str | None]]:
    """Return the pictures to work on, or their files, each with the name it came under (None without one)."""
    if extras_mode == BATCH:
        return [_uploaded(entry) for entry in image_folder]
    if extras_mode == BATCH_FROM_DIRECTORY:
        if shared.cmd_opts.hide_ui_dir_config:
            raise errors.InvalidInput("--hide-ui-dir-config does not allow a batch from a directory", field="input_dir")
        if not input_dir or not os.path.isdir(input_dir):
            raise errors.InvalidInput(f"input directory {input_dir!r} does not exist", field="input_dir")
        return [(path, path) for path in shared.listfiles(input_dir)]
    if not image:
        raise errors.InvalidInput("image not selected", field="image")
    return [(image, None)]


def _uploaded(entry: Any) -> tuple[Image.Image, str]:
    """Return the picture and name of an entry of a batch: an image, a path or an uploaded file."""
    if isinstance(entry, Image.Image):
        return images.fix_image(entry), ""
    path = os.path.abspath(entry if isinstance(entry, str) else entry.name)
    name = getattr(entry, "orig_name", None) or os.path.basename(path)
    return images.read(path), os.path.splitext(name)[0]


def output_folder(extras_mode: int, output_dir: str) -> str:
    """Return where results are saved."""
    if extras_mode == BATCH_FROM_DIRECTORY and output_dir:
        return output_dir
    return opts.outdir_samples or opts.outdir_extras_samples


def process_images(
    sources: Sequence[tuple[Image.Image | str, str | None]],
    run_scripts: RunScripts,
    folder: str | None,
    is_shown: bool,
) -> tuple[list[Image.Image], str, str]:
    """Run scripts over pictures, save the results in folder (not if None), and return those to show with their HTML."""
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
            if opts.enable_pnginfo:
                pp.image.info["postprocessing"] = text
            shared.state.assign_current_image(pp.image)
            if folder is not None:
                save_result(pp, folder, name, pp.get_suffix(used_suffixes), text)
            if is_shown:
                outputs.append(pp.image)
    devices.torch_gc()
    return outputs, infotext.to_html(text), ""


def process_source(source: Image.Image | str, run_scripts: RunScripts) -> list[PostprocessedImage]:
    """Return what the scripts make of a picture: itself and those added, each with what the source's file said.

    A file that is no picture gives nothing, nor does a skipped one.
    """
    if isinstance(source, str):
        try:
            source = images.read(source)
        except (UnidentifiedImageError, OSError):
            logger.warning("%s is not a picture and is left out", source)
            return []
    parameters, existing_info = images.read_info_from_image(source)
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


def save_result(pp: PostprocessedImage, folder: str, name: str | None, suffix: str, text: str) -> None:
    """Save a result under the name of its source, as the settings say, and its caption beside it."""
    keeps_name = opts.use_original_name_batch and name is not None
    stem = os.path.splitext(os.path.basename(name))[0] if keeps_name else ""
    path, _ = images.save_image(
        pp.image,
        path=folder,
        basename="",
        extension=opts.samples_format,
        info=text,
        short_filename=True,
        no_prompt=True,
        pnginfo_section_name="extras",
        existing_info=pp.image.info,
        forced_filename=f"{stem}{suffix}" if keeps_name else None,
        suffix=suffix,
    )
    if pp.caption:
        save_caption(os.path.splitext(path)[0] + ".txt", pp.caption)


def save_caption(path: str, caption: str) -> None:
    """Write a caption; what a file of that name says is kept or joined as the setting tells."""
    existing = ""
    if os.path.exists(path):
        with open(path, encoding="utf8") as file:
            existing = file.read().strip()

    action = opts.postprocessing_existing_caption_action
    if existing and action == "Keep":
        caption = existing
    elif existing and action == "Prepend":
        caption = f"{existing} {caption}"
    elif existing and action == "Append":
        caption = f"{caption} {existing}"
    util.write_text_atomically(path, caption.strip())
