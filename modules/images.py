"""engine: saving and reading pictures, and the picture operations of `image_ops` with the program's settings filled in.

The settings of a job's files come from its snapshot (`p.opts_snapshot`), so one job writes all its files alike.
"""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image, ImageFont, UnidentifiedImageError

from modules import errors, image_annotations, image_ops, infotext, script_callbacks, sd_samplers, shared
from modules.image_annotations import AnnotationStyle, Font, GridAnnotation
from modules.image_files import (
    EncodingSettings,
    atomic_file,
    encode_image,
    fitting_extension,
    pillow_format,
    translated_errors,
    user_comment,
)
from modules.image_names import (
    FilenameGenerator,
    number_prefix,
    options_of,
    reserved_number,
    shorten_filename,
    unused_name,
)
from modules.image_ops import LANCZOS, fix_image
from modules.paths_internal import roboto_ttf_file

if TYPE_CHECKING:
    from modules.upscaler import UpscalerData

logger = logging.getLogger(__name__)

# What Pillow puts into `Image.info` about the file itself.
IGNORED_INFO_KEYS = {
    "jfif",
    "jfif_version",
    "jfif_unit",
    "jfif_density",
    "dpi",
    "exif",
    "loop",
    "background",
    "timestamp",
    "duration",
    "progressive",
    "progression",
    "icc_profile",
    "chromaticity",
    "photoshop",
}

MAX_TEXT_FILE = 10000  # characters of a text dropped on a prompt
NO_CHANGE = {"__type__": "update"}  # what a handler returns to leave a component of the page as it is

# Formats a picture can be sent in.
ENCODERS = frozenset({"png", "jpg", "jpeg", "webp", "avif", "gif"})

NOVELAI_ENSD = 31337
NOVELAI_CLIP_SKIP = 2


def get_font(fontsize: int) -> Font:
    """Return the font for texts in pictures: the setting font, or the one that ships with the program."""
    try:
        return ImageFont.truetype(shared.opts.font or roboto_ttf_file, fontsize)
    except OSError:
        logger.warning("The font %r of the setting font cannot be read; the built-in one is used", shared.opts.font)
        return ImageFont.truetype(roboto_ttf_file, fontsize)


def image_grid(
    imgs: Sequence[Image.Image], batch_size: int = 1, rows: float | None = None, *, options: Any = None
) -> Image.Image:
    """Return all images in one; options: settings to use for the current ones. Callbacks may change its shape."""
    options = options or shared.opts
    row_count, columns = image_ops.grid_shape(
        len(imgs), batch_size, rows, n_rows=options.n_rows, prevent_empty_spots=options.grid_prevent_empty_spots
    )
    params = script_callbacks.ImageGridLoopParams(imgs, columns, row_count)
    script_callbacks.image_grid_callback(params)
    return image_ops.compose_grid(params.imgs, params.rows, params.cols, options.grid_background_color)


def draw_grid_annotations(
    im: Image.Image,
    width: int,
    height: int,
    hor_texts: Sequence[Sequence[GridAnnotation]],
    ver_texts: Sequence[Sequence[GridAnnotation]],
    margin: int = 0,
) -> Image.Image:
    """Return the grid im, of cells width x height, with texts above its columns and left of its rows."""
    style = AnnotationStyle(
        get_font,
        active_color=shared.opts.grid_text_active_color,
        inactive_color=shared.opts.grid_text_inactive_color,
        background_color=shared.opts.grid_background_color,
    )
    return image_annotations.draw_grid_annotations(im, width, height, hor_texts, ver_texts, margin, style)


def draw_prompt_matrix(
    im: Image.Image, width: int, height: int, all_prompts: Sequence[str], margin: int = 0
) -> Image.Image:
    """Return the grid of a prompt matrix with its parts as texts; the first of all_prompts is in every picture."""
    hor_texts, ver_texts = image_annotations.prompt_matrix_texts(all_prompts[1:])
    return draw_grid_annotations(im, width, height, hor_texts, ver_texts, margin)


def resize_image(
    resize_mode: int, im: Image.Image, width: int, height: int, upscaler_name: str | None = None
) -> Image.Image:
    """Bring im to width x height.

    resize_mode: 0 stretches, 1 covers and cuts, 2 fits and fills the bands with the edge's colours.
    upscaler_name: what enlarges; the setting upscaler_for_img2img if not given. An unknown one counts as the first.
    """
    upscaler_name = upscaler_name or shared.opts.upscaler_for_img2img

    def resize(image: Image.Image, w: int, h: int) -> Image.Image:
        if upscaler_name is None or upscaler_name == "None" or image.mode == "L":
            return image_ops.resize_lanczos(image, w, h)
        scale = max(w / image.width, h / image.height)
        if scale > 1.0:
            upscaler = _find_upscaler(upscaler_name)
            image = upscaler.scaler.upscale(image, scale, upscaler.data_path)
        return image if image.size == (w, h) else image_ops.resize_lanczos(image, w, h)

    return image_ops.resize_image(resize_mode, im, width, height, resize)


def _find_upscaler(name: str) -> UpscalerData:
    for upscaler in shared.sd_upscalers:
        if upscaler.name == name:
            return upscaler
    first = shared.sd_upscalers[0]
    logger.warning("Could not find an upscaler named %r, using %r instead", name, first.name)
    return first


def save_image_with_geninfo(
    image: Image.Image,
    geninfo: str | None,
    filename: str,
    extension: str | None = None,
    existing_pnginfo: Mapping[str, Any] | None = None,
    pnginfo_section_name: str = "parameters",
    *,
    options: Any = None,
) -> None:
    """Write image to filename, whole or not at all, with its infotext geninfo where the format keeps one.

    extension: ".png" and so on, that of filename if not given. existing_pnginfo: text chunks for a PNG, to which
    geninfo is added as pnginfo_section_name. Raises InvalidInput for an unknown format, WebuiError on a full disk.
    """
    options = options or shared.opts
    settings = EncodingSettings(options.jpeg_quality, options.webp_lossless, options.enable_pnginfo)
    texts = dict(existing_pnginfo or {})
    if geninfo is not None:
        texts[pnginfo_section_name] = geninfo
    with atomic_file(filename) as file:
        encode_image(image, file, extension or os.path.splitext(filename)[1], settings, geninfo, texts)


def encode(image: Image.Image, image_format: str, infotext: str | None = None) -> bytes:
    """Return the file of a picture that is sent, not saved; image_format is one of `ENCODERS`.

    A PNG carries all texts of image.info, the other formats the infotext.
    """
    settings = EncodingSettings(shared.opts.jpeg_quality, shared.opts.webp_lossless)
    texts = {key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)}
    file = io.BytesIO()
    encode_image(image, file, f".{image_format}", settings, infotext, texts)
    return file.getvalue()


def save_image(
    image: Image.Image,
    path: str,
    basename: str | None,
    seed: int | None = None,
    prompt: str | None = None,
    extension: str = "png",
    info: str | None = None,
    short_filename: bool = False,
    no_prompt: bool = False,
    grid: bool = False,
    pnginfo_section_name: str = "parameters",
    p: Any = None,
    existing_info: Mapping[str, Any] | None = None,
    forced_filename: str | None = None,
    suffix: str = "",
    save_to_dirs: bool | None = None,
) -> tuple[str, str | None]:
    """Save a picture under the name that the settings give it, and return its path and that of its text file, if any.

    path: output folder. basename: what the name starts with ("" for samples, "grid"). info: infotext.
    short_filename: the number alone. no_prompt: no subfolder by the settings. existing_info: further PNG chunks, to
    which info is added as pnginfo_section_name. p: the job. forced_filename: name without extension, used as it is.
    suffix: added to the filled pattern. save_to_dirs: whether to use a subfolder, decided by the settings if None.
    Raises InvalidInput for a pattern or format that cannot be used, WebuiError if the file cannot be written.
    """
    options = options_of(p)
    names = FilenameGenerator(p, seed, prompt, image, basename=basename)
    extension = fitting_extension(image, extension)
    pillow_format(f".{extension}")

    if save_to_dirs is None:
        save_to_dirs = options.grid_save_to_dirs if grid else options.save_to_dirs and not no_prompt
    folder = path
    if save_to_dirs:
        dirname = names.apply(options.directories_filename_pattern or "[prompt_words]")
        folder = _inside(path, dirname.lstrip(" ").rstrip("\\ /"), "directories_filename_pattern")
    with translated_errors(folder):
        os.makedirs(folder, exist_ok=True)

    pnginfo = dict(existing_info or {})
    if info is not None:
        pnginfo[pnginfo_section_name] = info

    with ExitStack() as reservations:
        name = forced_filename
        if name is None:
            decoration = _decoration(names, options, short_filename, suffix)
            name = decoration
            if options.save_images_add_number or not decoration:
                number = number_prefix(reservations.enter_context(reserved_number(folder, basename)), basename)
                name = f"{number}-{decoration}" if decoration else number
        fullfn = _inside(folder, f"{name}.{extension}", "samples_filename_pattern")
        params = script_callbacks.ImageSaveParams(image, p, fullfn, pnginfo)
        script_callbacks.before_image_saved_callback(params)

        fullfn = shorten_filename(params.filename)
        if options.save_images_replace_action == "Add number suffix":
            fullfn = reservations.enter_context(unused_name(fullfn))
        params.filename = fullfn
        info = params.pnginfo.get(pnginfo_section_name)
        save_image_with_geninfo(
            params.image,
            info,
            fullfn,
            existing_pnginfo=params.pnginfo,
            pnginfo_section_name=pnginfo_section_name,
            options=options,
        )

    image.already_saved_as = fullfn
    if options.export_for_4chan:
        _save_small_copy(params.image, fullfn, info, options)
    txt_fullfn = _save_text(fullfn, info) if options.save_txt and info is not None else None
    script_callbacks.image_saved_callback(params)
    return fullfn, txt_fullfn


def _decoration(names: FilenameGenerator, options: Any, short_filename: bool, suffix: str) -> str:
    """Return what follows the number in a name."""
    if short_filename or names.seed is None:
        return suffix
    pattern = options.samples_filename_pattern or ("[seed]" if options.save_to_dirs else "[seed]-[prompt_spaces]")
    return names.apply(pattern) + suffix


def _inside(folder: str, name: str, setting: str) -> str:
    """Return folder/name; raises InvalidInput if a filled pattern is no path or leads out of the folder."""
    joined = os.path.join(folder, name)
    if "\0" in name or not Path(os.path.abspath(joined)).is_relative_to(os.path.abspath(folder)):
        raise errors.InvalidInput(
            f"the pattern in the setting {setting} gives {name!r}, which is not a path inside {folder}", field=setting
        )
    return joined


def _save_small_copy(image: Image.Image, fullfn: str, info: str | None, options: Any) -> None:
    """Write a .jpg beside a picture whose file or sides exceed the limits of the settings."""
    limit = int(options.target_side_length)
    too_large = max(image.size) > limit
    copy = f"{os.path.splitext(fullfn)[0]}.jpg"
    if copy == fullfn or not (too_large or os.path.getsize(fullfn) > options.img_downscale_threshold * 1024 * 1024):
        return
    if too_large:
        scale = limit / max(image.size)
        image = image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)), LANCZOS)
    save_image_with_geninfo(image, info, copy, options=options)


def _save_text(fullfn: str, info: str) -> str:
    """Write an infotext into a .txt beside its picture."""
    txt_fullfn = f"{os.path.splitext(fullfn)[0]}.txt"
    with atomic_file(txt_fullfn) as file:
        file.write(f"{info}\n".encode())
    return txt_fullfn


def read_info_from_image(image: Image.Image) -> tuple[str | None, dict[str, Any]]:
    """Return the infotext of an opened picture, None if it has none, and what else its file says about it."""
    items = dict(image.info or {})
    geninfo = items.pop("parameters", None)

    if "exif" in items:
        comment = user_comment(items["exif"])
        if comment:
            items["exif comment"] = comment
            geninfo = comment
    elif "comment" in items:
        comment = items["comment"]
        geninfo = comment.decode("utf8", errors="ignore") if isinstance(comment, bytes) else comment

    for key in IGNORED_INFO_KEYS:
        items.pop(key, None)
    if items.get("Software") == "NovelAI":
        geninfo = _novelai_infotext(items, image) or geninfo
    return geninfo, items


def _novelai_infotext(items: Mapping[str, Any], image: Image.Image) -> str | None:
    """Return the infotext for a picture made by NovelAI, from its description and its settings in JSON."""
    try:
        settings = json.loads(items["Comment"])
        sampler = sd_samplers.samplers_map.get(settings["sampler"], "Euler a")
        parameters = {
            "Steps": settings["steps"],
            "Sampler": sampler,
            "CFG scale": settings["scale"],
            "Seed": settings["seed"],
            "Size": f"{image.width}x{image.height}",
            "Clip skip": NOVELAI_CLIP_SKIP,
            "ENSD": NOVELAI_ENSD,
        }
        return infotext.build_infotext(items["Description"], settings["uc"], parameters)
    except (KeyError, TypeError, ValueError):
        errors.report("Error parsing NovelAI image generation parameters", exc_info=True)
        return None


def image_data(data: bytes) -> tuple[Any, None]:
    """Return, for a file dropped on a prompt, the infotext of a picture or a short text as it is; else `NO_CHANGE`.

    The None after it empties the hidden file field.
    """
    with suppress(UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        geninfo, _ = read_info_from_image(read(io.BytesIO(data)))
        return geninfo, None
    try:
        text = data.decode("utf8")
    except UnicodeDecodeError:
        return NO_CHANGE, None
    return (text if len(text) < MAX_TEXT_FILE else NO_CHANGE), None


def flatten(img: Image.Image, bgcolor: str) -> Image.Image:
    """Return img as RGB; transparent parts show bgcolor."""
    return image_ops.flatten(img, bgcolor)


def read(fp: str | Path | BinaryIO, **kwargs: Any) -> Image.Image:
    """Open a picture as it is meant to be seen (`fix_image`); kwargs are those of `Image.open`.

    Raises InvalidInput for one of more pixels than Pillow takes, which would fill the memory.
    """
    try:
        return fix_image(Image.open(fp, **kwargs))
    except Image.DecompressionBombError as e:
        raise errors.InvalidInput(f"The picture is too large: {e}", field="image") from e


from modules.image_names import (  # noqa: E402, F401  # A1111 names
    NOTHING_AND_SKIP_PREVIOUS_TEXT,
    get_next_sequence_number,
    get_sampler_scheduler,
    get_sampler_scheduler_str,
    get_scheduler_str,
    invalid_filename_chars,
    invalid_filename_postfix,
    invalid_filename_prefix,
    max_filename_part_length,
    re_nonletters,
    re_pattern,
    re_pattern_arg,
    sanitize_filename_part,
)
from modules.image_ops import Grid, combine_grid, fix_png_transparency, split_grid  # noqa: E402, F401  # A1111 names
from modules.shared import opts  # noqa: E402, F401  # A1111 names
