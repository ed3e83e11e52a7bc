"""face: the handlers of the Extras tab and its API: values of a form in, images and HTML out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from modules import scripts
from modules.job import postprocess
from modules.job.postprocess import Wanted
from modules.ui_common import plaintext_to_html


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
    """Runs the scripts of the Extras tab, and returns the images, what was done to the last as HTML, and "".

    extras_mode: 0 works on image, 1 on image_folder (images or uploaded files), 2 on the files in input_dir.
    output_dir: where mode 2 saves. show_extras_results: whether mode 2 returns images. args: values of the scripts'
    controls. Raises InvalidInput if there is nothing to work on.
    """
    wanted = Wanted(extras_mode, image, image_folder, input_dir, output_dir, show_extras_results, save_output)
    return as_outputs(postprocess.run(lambda pp: scripts.scripts_postproc.run(pp, args), wanted))


def as_outputs(done: postprocess.Postprocessed) -> tuple[list[Image.Image], str, str]:
    """Returns the images of a run, what was done and what was left out as HTML, and "" for the log."""
    said = plaintext_to_html(done.infotext)
    if done.left_out:
        said += plaintext_to_html("\n".join(["Left out:", *done.left_out]), classname="error")
    return done.images, said, ""


def run_postprocessing_webui(id_task: str, *args: Any, **kwargs: Any) -> tuple[list[Image.Image], str, str]:
    """Returns what `run_postprocessing` does; the page gives the id of the task first."""
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
    """Returns what `run_postprocessing` does; the shipped scripts get these arguments by name, other scripts none.

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
    wanted = Wanted(extras_mode, image, image_folder, input_dir, output_dir, show_extras_results, save_output)
    return as_outputs(postprocess.run(lambda pp: scripts.scripts_postproc.run_with_names(pp, scripts_args), wanted))
