"""engine: saving and reading images, and the image operations of `image_ops` with the program's settings filled in.

The settings of a job's files come from its snapshot (`p.opts_snapshot`), so one job writes all its files alike.
"""

from __future__ import annotations

import io
import logging
import os
import struct
import uuid
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, ImageCms, ImageFont, UnidentifiedImageError

from modules import (
    bounds,
    dialects,
    errors,
    image_annotations,
    image_ops,
    model_sidecars,
    run_files,
    script_callbacks,
    shared,
)
from modules.dialects.chunks import GRAPH_CHUNKS, chunks_of
from modules.image_annotations import AnnotationStyle, Font, GridAnnotation
from modules.image_files import (
    ImageEncoding,
    atomic_file,
    encode_image,
    fitting_extension,
    pillow_format,
    translated_errors,
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
from modules.options import OptionValues
from modules.paths_internal import default_output_dir, roboto_ttf_file
from modules.shared_options import OUTPUT_FOLDERS
from modules.upscaler import UpscalerData, UpscalerSettings

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

# What Pillow raises beside OSError for files it cannot decode.
DAMAGED_IMAGE = (
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    EOFError,
    struct.error,
    zlib.error,
    ImageCms.PyCMSError,
)

ORIGINAL = "original parameters"
"""Under this name what another program wrote stays beside its translation."""

UNREADABLE = "unreadable metadata"
"""Under this name stands whose metadata they are, and why they cannot be read."""


@dataclass(frozen=True)
class GridSettings(OptionValues):
    """How grids are laid out and lettered. The names are those of the options."""

    font: str
    grid_background_color: str
    grid_prevent_empty_spots: bool
    grid_text_active_color: str
    grid_text_inactive_color: str
    n_rows: int


@dataclass(frozen=True)
class SaveSettings:
    """Where images are saved, under which name and with which files beside them. The names are those of the options.

    encoder: how they are encoded. img_downscale_threshold: in MiB. target_side_length: in pixels.
    """

    directories_filename_pattern: str
    export_for_4chan: bool
    grid_save_to_dirs: bool
    img_downscale_threshold: float
    samples_filename_pattern: str
    save_images_add_number: bool
    save_images_replace_action: str
    save_to_dirs: bool
    save_txt: bool
    target_side_length: float
    encoder: ImageEncoding

    @classmethod
    def from_opts(cls, options: Any) -> SaveSettings:
        """Returns what the settings, or the snapshot of a job, say about saving."""
        named = {field.name: getattr(options, field.name) for field in fields(cls) if field.name != "encoder"}
        return cls(**named, encoder=ImageEncoding.from_opts(options))

    def uses_subfolder(self, grid: bool, no_prompt: bool) -> bool:
        """Returns whether a grid, or an image that may have a folder of its prompt, goes into a subfolder."""
        return self.grid_save_to_dirs if grid else self.save_to_dirs and not no_prompt

    def name_pattern(self) -> str:
        """Returns the pattern of what follows the number in a name."""
        return self.samples_filename_pattern or ("[seed]" if self.save_to_dirs else "[seed]-[prompt_spaces]")


class SavedFiles(tuple[str, str | None]):
    """The pair (image file, text file or None) that `save_image` returns. all: every file it wrote, these included."""

    all: tuple[str, ...]

    def __new__(cls, image: str, text: str | None = None, *, small_copy: str | None = None) -> SavedFiles:
        saved = super().__new__(cls, (image, text))
        saved.all = tuple(path for path in (image, small_copy, text) if path is not None)
        return saved


def get_font(fontsize: int) -> Font:
    """Returns the font for texts in images: the setting font, or the one that ships with the program."""
    font = GridSettings.from_opts(shared.opts).font
    try:
        return ImageFont.truetype(font or roboto_ttf_file, fontsize)
    except OSError:
        logger.warning("The font %r of the setting font cannot be read; the built-in one is used", font)
        return ImageFont.truetype(roboto_ttf_file, fontsize)


def image_grid(
    imgs: Sequence[Image.Image], batch_size: int = 1, rows: float | None = None, *, options: Any = None
) -> Image.Image:
    """Returns all images in one; options: settings to use for the current ones. Callbacks may change its shape."""
    settings = GridSettings.from_opts(options or shared.opts)
    row_count, columns = image_ops.grid_shape(
        len(imgs), batch_size, rows, n_rows=settings.n_rows, prevent_empty_spots=settings.grid_prevent_empty_spots
    )
    params = script_callbacks.ImageGridLoopParams(imgs, columns, row_count)
    script_callbacks.image_grid_callback(params)
    return image_ops.compose_grid(params.imgs, params.rows, params.cols, settings.grid_background_color)


def draw_grid_annotations(
    im: Image.Image,
    width: int,
    height: int,
    hor_texts: Sequence[Sequence[GridAnnotation]],
    ver_texts: Sequence[Sequence[GridAnnotation]],
    margin: int = 0,
) -> Image.Image:
    """Returns the grid im, of cells width x height, with texts above its columns and left of its rows."""
    settings = GridSettings.from_opts(shared.opts)
    style = AnnotationStyle(
        get_font,
        active_color=settings.grid_text_active_color,
        inactive_color=settings.grid_text_inactive_color,
        background_color=settings.grid_background_color,
    )
    return image_annotations.draw_grid_annotations(im, width, height, hor_texts, ver_texts, margin, style)


def draw_prompt_matrix(
    im: Image.Image, width: int, height: int, all_prompts: Sequence[str], margin: int = 0
) -> Image.Image:
    """Returns the grid of a prompt matrix with its parts as texts; the first of all_prompts is in every image."""
    hor_texts, ver_texts = image_annotations.prompt_matrix_texts(all_prompts[1:])
    return draw_grid_annotations(im, width, height, hor_texts, ver_texts, margin)


def resize_image(
    resize_mode: int, im: Image.Image, width: int, height: int, upscaler_name: str | None = None
) -> Image.Image:
    """Returns im at width x height.

    resize_mode: 0 stretches, 1 covers and cuts, 2 fits and fills the bands with the edge's colours.
    upscaler_name: what enlarges; the setting upscaler_for_img2img if not given. An unknown one counts as the first.
    """
    upscaler_name = upscaler_name or UpscalerSettings.from_opts(shared.opts).upscaler_for_img2img

    def resize(image: Image.Image, w: int, h: int) -> Image.Image:
        """Returns image at w x h, through the upscaler where it grows."""
        bounds.current().check_pixels(w * h, "width")
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
    """Writes image to filename, whole or not at all, with its infotext geninfo where the format keeps one.

    extension: ".png" and so on, that of filename if not given. existing_pnginfo: text chunks for a PNG, to which
    geninfo is added as pnginfo_section_name. Raises InvalidInput for an unknown format, WebuiError on a full disk.
    """
    settings = ImageEncoding.from_opts(options or shared.opts)
    texts = dict(existing_pnginfo or {})
    if geninfo is not None:
        texts[pnginfo_section_name] = geninfo
    with atomic_file(filename) as file:
        encode_image(image, file, extension or os.path.splitext(filename)[1], settings, geninfo, texts)


def check_format(image_format: str) -> None:
    """Raises InvalidInput, naming the setting samples_format, for a format such as "png" that cannot be written."""
    pillow_format(f".{image_format}")


def encode(image: Image.Image, image_format: str, infotext: str | None = None) -> bytes:
    """Returns the file of an image that is sent, not saved, in a format such as "png"; it always carries its texts.

    A PNG carries all texts of image.info, the other formats infotext, that of image.info if not given. Raises
    InvalidInput for an unknown format.
    """
    settings = replace(ImageEncoding.from_opts(shared.opts), enable_pnginfo=True)
    texts = {key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)}
    file = io.BytesIO()
    if infotext and image_format != "png":
        texts["parameters"] = infotext
    encode_image(image, file, f".{image_format}", settings, infotext or texts.get("parameters"), texts)
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
) -> SavedFiles:
    """Saves an image under the name that the settings give it, and returns its path and that of its text file, if any.

    path: output folder. basename: what the name starts with ("" for samples, "grid"). info: infotext.
    short_filename: the number alone. no_prompt: no subfolder by the settings. existing_info: further PNG chunks, to
    which info is added as pnginfo_section_name. p: the job. forced_filename: name without extension, used as it is.
    suffix: added to the filled pattern. save_to_dirs: whether to use a subfolder, decided by the settings if None.
    An image whose name cannot be used, whatever the settings make of it, gets its number alone. Raises InvalidInput for
    a format that cannot be used, WebuiError if the file cannot be written.
    """
    options = options_of(p)
    settings = SaveSettings.from_opts(options)
    for field in ("outpath_samples", "outpath_grids"):
        if path == getattr(p, field, None):
            check_output_folder(path, field)
    names = FilenameGenerator(p, seed, prompt, image, basename=basename)
    extension = fitting_extension(image, extension)
    pillow_format(f".{extension}")

    is_in_subfolder = settings.uses_subfolder(grid, no_prompt) if save_to_dirs is None else save_to_dirs
    pnginfo = dict(existing_info or {})
    if info is not None:
        pnginfo[pnginfo_section_name] = info

    with ExitStack() as reservations:
        try:
            folder = _subfolder(path, names, settings) if is_in_subfolder else path
            with translated_errors(folder):
                os.makedirs(folder, exist_ok=True)
            name = forced_filename
            if name is None:
                decoration = _decoration(names, settings, short_filename, suffix)
                name = _numbered(decoration, folder, names.basename, settings, reservations)
            fullfn = _inside(folder, f"{name}.{extension}", "samples_filename_pattern")
        except (errors.WebuiError, UnicodeError) as e:
            fullfn = _plain_name(path, names, extension, reservations, e)
        params = script_callbacks.ImageSaveParams(image, p, fullfn, pnginfo)
        script_callbacks.before_image_saved_callback(params)

        info = params.pnginfo.get(pnginfo_section_name)
        texts = {"existing_pnginfo": params.pnginfo, "pnginfo_section_name": pnginfo_section_name, "options": options}
        try:
            params.filename = _free_name(params.filename, settings, reservations)
            save_image_with_geninfo(params.image, info, params.filename, **texts)
        except (errors.InvalidInput, UnicodeError) as e:  # the system does not take the name
            params.filename = _plain_name(path, names, extension, reservations, e)
            save_image_with_geninfo(params.image, info, params.filename, **texts)
        fullfn = params.filename

    image.already_saved_as = fullfn
    run_files.keep([fullfn])
    small_copy = _save_small_copy(params, info, settings, options) if settings.export_for_4chan else None
    txt_fullfn = _save_text(fullfn, info) if settings.save_txt and info is not None else None
    script_callbacks.image_saved_callback(params)
    saved = SavedFiles(fullfn, txt_fullfn, small_copy=small_copy)
    run_files.keep(saved.all)
    return saved


def _subfolder(path: str, names: FilenameGenerator, settings: SaveSettings) -> str:
    """Returns the subfolder of path that the pattern of the settings names."""
    dirname = names.apply(settings.directories_filename_pattern or "[prompt_words]")
    return _inside(path, dirname.lstrip(" ").rstrip("\\ /"), "directories_filename_pattern")


def _decoration(names: FilenameGenerator, settings: SaveSettings, short_filename: bool, suffix: str) -> str:
    """Returns what follows the number in a name."""
    if short_filename or names.seed is None:
        return suffix
    return names.apply(settings.name_pattern()) + suffix


def _numbered(
    decoration: str, folder: str, basename: str | None, settings: SaveSettings, reservations: ExitStack
) -> str:
    """Returns a name: decoration after a number, kept for it by reservations, unless the settings want none."""
    if decoration and not settings.save_images_add_number:
        return decoration
    prefix = number_prefix(reservations.enter_context(reserved_number(folder, basename)), basename)
    return f"{prefix}-{decoration}" if decoration else prefix


def _free_name(path: str, settings: SaveSettings, reservations: ExitStack) -> str:
    """Returns path as file systems take it.

    It gets a suffix, kept for it, where the settings do not replace files, and where one of this run's own is there.
    """
    adds_suffix = settings.save_images_replace_action == "Add number suffix"

    def is_taken(name: str) -> bool:
        """Says whether an image of that name, or the text beside it, must not be written."""
        has_text = settings.save_txt and run_files.is_kept(f"{os.path.splitext(name)[0]}.txt")
        return has_text or run_files.is_kept(name) or (adds_suffix and os.path.exists(name))

    path = shorten_filename(path)
    if not adds_suffix and not is_taken(path):
        return path
    with translated_errors(path):
        os.makedirs(os.path.dirname(path) or os.curdir, exist_ok=True)
        return reservations.enter_context(unused_name(path, is_taken))


def _plain_name(path: str, names: FilenameGenerator, extension: str, reservations: ExitStack, reason: Exception) -> str:
    """Returns a path for an image whose own name cannot be used: its number alone, in the folder path. Says so."""
    reservations.close()
    with translated_errors(path):
        os.makedirs(path, exist_ok=True)
    try:
        name = number_prefix(reservations.enter_context(reserved_number(path, names.basename)), names.basename)
    except errors.NotSaved:
        raise
    except errors.WebuiError:
        name = uuid.uuid4().hex
    fullfn = os.path.join(path, f"{name}.{extension}")
    message = f"A picture could not have the name of the settings and is saved as {fullfn}: {reason}"
    logger.warning("%s", message)
    if hasattr(names.p, "comment"):
        names.p.comment(message)
    return fullfn


def check_output_folder(folder: str, field: str) -> None:
    """Raises InvalidInput for a folder of results that can be none, and under --hide-ui-dir-config for one that is in
    none of those of the settings; a job may have got it from an argument of any script.
    """
    if "\0" in (folder or ""):
        raise errors.InvalidInput(f"{field}: {folder!r} is no folder", field=field)
    if folder and any(map(os.path.isfile, (folder, *Path(folder).parents))):
        raise errors.InvalidInput(f"{field}: {folder!r} is a file, or would be in one: name a folder", field=field)
    if not shared.cmd_opts.hide_ui_dir_config or not folder:
        return
    allowed = [default_output_dir, *filter(None, (getattr(shared.opts, name) for name in OUTPUT_FOLDERS))]
    if not any(Path(os.path.abspath(folder)).is_relative_to(os.path.abspath(root)) for root in allowed):
        raise errors.InvalidInput(
            f"{field}: {folder!r} is in no output folder of the settings, and others cannot be chosen here "
            "(--hide-ui-dir-config)",
            field=field,
        )


def _inside(folder: str, name: str, setting: str) -> str:
    """Returns folder/name; raises InvalidInput if a filled pattern is no path or leads out of the folder."""
    joined = os.path.join(folder, name)
    if "\0" in name or not Path(os.path.abspath(joined)).is_relative_to(os.path.abspath(folder)):
        raise errors.InvalidInput(
            f"the pattern in the setting {setting} gives {name!r}, which is not a path inside {folder}", field=setting
        )
    return joined


def _save_small_copy(
    params: script_callbacks.ImageSaveParams, info: str | None, settings: SaveSettings, options: Any
) -> str | None:
    """Writes a .jpg beside an image whose file or sides exceed the limits of the settings; returns its path, if any."""
    image, fullfn = params.image, params.filename
    limit = int(settings.target_side_length)
    too_large = max(image.size) > limit
    copy = f"{os.path.splitext(fullfn)[0]}.jpg"
    if copy == fullfn or not (too_large or os.path.getsize(fullfn) > settings.img_downscale_threshold * 1024 * 1024):
        return None
    if too_large:
        scale = limit / max(image.size)
        image = image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)), LANCZOS)
    kept = params.pnginfo.get("parameters", info)
    with unused_name(copy) if run_files.is_kept(copy) else nullcontext(copy) as copy:
        save_image_with_geninfo(image, kept, copy, options=options)
    return copy


def _save_text(fullfn: str, info: str) -> str:
    """Writes an infotext into a .txt beside its image."""
    txt_fullfn = f"{os.path.splitext(fullfn)[0]}.txt"
    with atomic_file(txt_fullfn) as file:
        file.write(f"{info}\n".encode())
    return txt_fullfn


def read_info_from_image(image: Image.Image) -> tuple[str | None, dict[str, Any]]:
    """Returns the infotext of an opened image, None if it has none, and what else its file says about it.

    What another program wrote becomes the infotext for the same image; its own words stay among the rest.
    """
    chunks = chunks_of(image)
    items = dict(image.info or {})
    geninfo = items.pop("parameters", None)

    if "exif" in items:
        comment = chunks.get("UserComment")
        if comment:
            items["exif comment"] = comment
            geninfo = comment
        if chunks.get("ImageDescription"):
            items["exif description"] = chunks.get("ImageDescription")
    elif "comment" in items:
        geninfo = chunks.get("comment")

    for key in IGNORED_INFO_KEYS:
        items.pop(key, None)
    found = dialects.translate(chunks, model_sidecars.find)
    if found.text is None:
        return geninfo or chunks.get("stealth") or None, items
    beside = {name: chunks.get(name) for name in GRAPH_CHUNKS if name not in items}
    beside |= {ORIGINAL: chunks.get("parameters", "stealth"), UNREADABLE: found.problem}
    return found.text or None, items | {key: text for key, text in beside.items() if text}


def flatten(img: Image.Image, bgcolor: str) -> Image.Image:
    """Returns img as RGB; transparent parts show bgcolor."""
    return image_ops.flatten(img, bgcolor)


def read(fp: str | Path | BinaryIO, **kwargs: Any) -> Image.Image:
    """Returns an image file opened as it is meant to be seen (`fix_image`); kwargs are those of `Image.open`.

    Raises InvalidInput for one of more pixels than Pillow takes, which would fill the memory, and OSError (often
    UnidentifiedImageError) for one that cannot be read.
    """
    try:
        return fix_image(Image.open(fp, **kwargs))
    except Image.DecompressionBombError as e:
        raise errors.InvalidInput(f"The picture is too large: {e}", field="image") from e
    except DAMAGED_IMAGE as e:
        raise UnidentifiedImageError(f"the picture is damaged: {e}") from e


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
from modules.image_ops import (  # noqa: E402, F401  # A1111 names
    Grid,
    combine_grid,
    count_tiles,
    fix_png_transparency,
    split_grid,
)
from modules.shared import opts  # noqa: E402, F401  # A1111 names
