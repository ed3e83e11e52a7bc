"""job: an X/Y/Z plot: what can vary along an axis, the values typed for it, the cells made of them, and the grids.

A cell is made from a copy of the job to which the values of its place were applied. The axes there are, and their
controls, belong to the script.
"""

from __future__ import annotations

import csv
import itertools
import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from modules import bounds, errors, images, option_values, processing, shared
from modules.job.records import first_record, hand_on
from modules.job.run_state import copy_of_job
from modules.options import OptionValues
from modules.processing import Processed, StableDiffusionProcessing, get_fixed_seed
from modules.shared import state

logger = logging.getLogger(__name__)

TITLE = "X/Y/Z plot"

Apply = Callable[[StableDiffusionProcessing, Any, list[Any]], None]
"""(p of the cell, value, all values of the axis)."""

Confirm = Callable[[StableDiffusionProcessing, list[Any]], None]


def format_value_add_label(p: StableDiffusionProcessing, opt: AxisOption, x: Any) -> str:
    """Returns "<label>: <value>"."""
    return f"{opt.label}: {format_value(p, opt, x)}"


def format_value(p: StableDiffusionProcessing, opt: AxisOption, x: Any) -> Any:
    """Returns the value, decimals rounded to 8 places."""
    return round(x, 8) if isinstance(x, float) else x


def format_value_join_list(p: StableDiffusionProcessing, opt: AxisOption, x: Sequence[str]) -> str:
    """Returns the texts of a value that is a list, parted by commas."""
    return ", ".join(x)


def format_nothing(p: StableDiffusionProcessing, opt: AxisOption, x: Any) -> str:
    """Returns the empty text."""
    return ""


def format_remove_path(p: StableDiffusionProcessing, opt: AxisOption, x: str) -> str:
    """Returns the last part of a path."""
    return os.path.basename(x)


def str_permutations(x: str) -> str:
    """Returns x; as the type of an axis it says that the values are all orders of those given."""
    return x


@dataclass(eq=False)
class AxisOption:
    """What an axis can vary.

    type: int, float and str_permutations read the typed values as numbers, ranges and orders; any other makes a value
    of each text. format_value: what the legend says. confirm: refuses values before the first image. cost: how much
    it takes to change the value, 0 to 1; the dearest axis changes least often. choices: for a menu of values. prepare:
    makes the list of texts, in place of splitting at commas.
    """

    label: str
    type: Callable[[Any], Any]
    apply: Apply
    format_value: Callable[[StableDiffusionProcessing, AxisOption, Any], Any] = format_value_add_label
    confirm: Confirm | None = None
    cost: float = 0.0
    choices: Callable[[], list[str]] | None = None
    prepare: Callable[[str], list[str]] | None = None
    is_img2img: bool | None = field(default=None, init=False)
    """The tab it is on; None for both."""


@dataclass(eq=False)
class AxisOptionImg2Img(AxisOption):
    def __post_init__(self) -> None:
        self.is_img2img = True


@dataclass(eq=False)
class AxisOptionTxt2Img(AxisOption):
    def __post_init__(self) -> None:
        self.is_img2img = False


INTEGER = r"\s*([+-]?\d+)\s*"
DECIMAL = r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*"
re_range = re.compile(rf"{INTEGER}-{INTEGER}(?:\(([+-]\d+)\s*\))?\s*")
re_range_float = re.compile(rf"{DECIMAL}-{DECIMAL}(?:\(([+-](?:\d+(?:\.\d*)?|\.\d+))\s*\))?\s*")
re_range_count = re.compile(rf"{INTEGER}-{INTEGER}\[(\d+)\s*\]\s*")
re_range_count_float = re.compile(rf"{DECIMAL}-{DECIMAL}\[(\d+)\s*\]\s*")


def check_count(count: float) -> None:
    """Raises InvalidInput for more values of an axis than a plot may have images."""
    bounds.current().check("api_max_images", max(count, 0), "values of an axis", bounds.SCRIPT_ARGS)


def collected(groups: Iterable[list[Any]]) -> list[Any]:
    """Returns the values of all groups; raises InvalidInput as soon as they are too many."""
    values: list[Any] = []
    for group in groups:
        values += group
        check_count(len(values))
    return values


def int_values(text: str) -> list[int]:
    """Returns whole numbers of one text: 7, 1-5, 1-9 (+2), 9-1 (-2), or 1-9 [3] for that many."""
    if found := re_range.fullmatch(text):
        start, end, step = int(found[1]), int(found[2]) + 1, int(found[3] or 1)
        check_count((end - start) // step)
        return list(range(start, end, step))
    if found := re_range_count.fullmatch(text):
        check_count(int(found[3]))
        return [int(x) for x in np.linspace(int(found[1]), int(found[2]), int(found[3])).tolist()]
    return [option_values.read_int(text)]


def float_values(text: str) -> list[float]:
    """Returns decimals of one text, with the same ranges; the end of a range may be passed by less than its step."""
    if found := re_range_float.fullmatch(text):
        step = float(found[3] or 1)
        check_count((float(found[2]) - float(found[1])) / step)
        return np.arange(float(found[1]), float(found[2]) + step, step).tolist()
    if found := re_range_count_float.fullmatch(text):
        check_count(int(found[3]))
        return np.linspace(float(found[1]), float(found[2]), int(found[3])).tolist()
    return [float(option_values.read_float(text))]


def csv_string_to_list_strip(data_str: str) -> list[str]:
    """Returns the fields of CSV text, blanks around them removed."""
    rows = csv.reader(StringIO(data_str), skipinitialspace=True)
    return [text.strip() for text in itertools.chain.from_iterable(rows)]


def list_to_csv_string(data_list: Sequence[Any]) -> str:
    """Returns values as one line of CSV, its opposite."""
    line = StringIO()
    csv.writer(line).writerow(data_list)
    return line.getvalue().strip()


def values_of(option: AxisOption, texts: list[str]) -> list[Any]:
    """Returns the values that the texts of an axis mean. Raises InvalidInput for a text that means none."""
    try:
        if option.type is int:
            return collected(int_values(text) for text in texts if text.strip())
        if option.type is float:
            return collected(float_values(text) for text in texts if text.strip())
        if option.type is str_permutations:
            check_count(math.factorial(min(len(texts), 100)))
            return list(itertools.permutations(texts))
        check_count(len(texts))
        return [option.type(text) for text in texts]
    except (ValueError, ZeroDivisionError, OverflowError) as e:
        given = ", ".join(texts)[:100]
        raise errors.InvalidInput(
            f"{option.label}: {given}: {e}; give numbers, or ranges like 1-5", field="script_args"
        ) from e


class AxisInfo(NamedTuple):
    """An axis as the running plot shows it to others, in state.xyz_plot_x, _y and _z."""

    axis: AxisOption
    values: list[Any]


@dataclass
class Axis:
    """An axis of one plot: what varies, its values, and the text they were given as."""

    option: AxisOption
    values: list[Any]
    text: str

    @property
    def is_seed(self) -> bool:
        """Whether it varies a seed."""
        return self.option.label in ("Seed", "Var. seed")

    def legend(self, p: StableDiffusionProcessing) -> list[str]:
        """Returns a text per value for the grid."""
        return [str(self.option.format_value(p, self.option, value)) for value in self.values]

    def infotext(self, letter: str, keeps_random: bool) -> dict[str, str]:
        """Returns what the infotext of a grid says of the axis."""
        if self.option.label == "Nothing":
            return {}
        said = {f"{letter} Type": self.option.label, f"{letter} Values": self.text}
        if self.is_seed and not keeps_random:
            said[f"Fixed {letter} Values"] = ", ".join(str(value) for value in self.values)
        return said


def read_axis(
    p: StableDiffusionProcessing, option: AxisOption, text: str | None, chosen: Any, csv_mode: bool, keeps_random: bool
) -> Axis:
    """Returns an axis of the chosen values, where it has a menu and csv_mode is off; if there are none, of the text.

    Seeds left to chance become random ones, unless keeps_random.
    """
    text = text or ""
    if option.label == "Nothing":
        return Axis(option, [0], text)
    if option.choices is not None and not csv_mode and (chosen or not text):
        texts, text = list(chosen or []), list_to_csv_string(chosen or [])
    else:
        texts = (option.prepare or csv_string_to_list_strip)(text)
    axis = Axis(option, values_of(option, texts), text)
    if option.confirm is not None:
        option.confirm(p, axis.values)
    if axis.is_seed and not keeps_random:
        axis.values = [get_fixed_seed(value) for value in axis.values]
    return axis


class Place(NamedTuple):
    x: int
    y: int
    z: int


@dataclass(frozen=True)
class PlotSettings(OptionValues):
    """What a plot takes from the settings. The names are those of the options. img_max_size_mp: megapixels."""

    grid_format: str
    grid_save: bool
    img_max_size_mp: float


@dataclass(frozen=True)
class PlotOptions:
    """What is made of the cells, and which of them get seeds of their own."""

    draw_legend: bool
    include_lone_images: bool
    include_sub_grids: bool
    no_fixed_seeds: bool
    vary_seeds: tuple[bool, bool, bool]
    margin_size: int


class Plot:
    """The cells of x · y · z values, made one after the other, and the grids of them: one for each value of z, and one
    of these side by side. A place is (ix, iy, iz).
    """

    def __init__(self, p: StableDiffusionProcessing, axes: tuple[Axis, Axis, Axis], options: PlotOptions):
        self.p = p
        self.axes = axes
        self.options = options
        self.cells: dict[Place, Processed] = {}
        self.grid_infotexts: list[str] = [""] * len(axes[2].values)
        self.main_infotext = ""

    def places(self) -> list[Place]:
        """Returns all places, x counting fastest: the order of the result."""
        nx, ny, nz = (len(axis.values) for axis in self.axes)
        return [Place(ix, iy, iz) for iz in range(nz) for iy in range(ny) for ix in range(nx)]

    def loop_order(self) -> list[int]:
        """Numbers of the axes, from the one that changes least often: z, y, x, or the one dearest axis first."""
        costs = [axis.option.cost for axis in self.axes]
        if costs.count(max(costs)) > 1:
            return [2, 1, 0]
        outer = costs.index(max(costs))
        first, second = (axis for axis in range(3) if axis != outer)
        return [outer, first, second] if costs[first] > costs[second] else [outer, second, first]

    def planned_steps(self) -> int:
        """Returns the sampling steps of all cells together."""
        total = 0
        for place in self.places():
            given = {axis.option.label: axis.values[i] for axis, i in zip(self.axes, place, strict=True)}
            steps = given.get("Steps", self.p.steps)
            total += steps
            if getattr(self.p, "enable_hr", False):
                total += given.get("Hires steps", self.p.hr_second_pass_steps) or steps
        return total * self.p.n_iter

    def run(self) -> Processed:
        """Makes all cells, unless interrupted, and the result of them."""
        places = self.places()
        state.xyz_plot_x, state.xyz_plot_y, state.xyz_plot_z = (
            AxisInfo(axis.option, axis.values) for axis in self.axes
        )
        state.job_count = len(places) * self.p.n_iter
        shared.total_tqdm.updateTotal(self.planned_steps())
        order = self.loop_order()
        for place in sorted(places, key=lambda place: [place[axis] for axis in order]):
            state.job = f"{1 + places.index(place)} out of {len(places)}"
            self.cells[place] = self.make_cell(place)
        return self.result()

    def make_cell(self, place: Place) -> Processed:
        """Returns the job of one place; without images if it fails, or the plot was stopped."""
        if state.interrupted or state.stopping_generation:
            return Processed(self.p, [], self.p.seed, "")
        p = copy_of_job(self.p)
        for axis, i in zip(self.axes, place, strict=True):
            axis.option.apply(p, axis.values[i], axis.values)
        seed_offset = self.seed_offset(place)
        if seed_offset:
            p.seed += seed_offset
        try:
            processed = processing.process_images(p)
        except Exception as e:  # one cell that cannot be made, whatever the reason, leaves the others
            errors.display(e, "generating image for xyz plot")
            self.p.comment(f"X/Y/Z plot: a cell is empty: {e}")
            return Processed(self.p, [], self.p.seed, "")
        if place[:2] == (0, 0):
            self.describe_grids(p, place.z)
        return processed

    def seed_offset(self, place: Place) -> int:
        """Returns what is added to the seed so that it differs along the chosen axes."""
        offset, stride = 0, 1
        for axis, i, is_varied in zip(self.axes, place, self.options.vary_seeds, strict=True):
            if is_varied:
                offset += i * stride
                stride *= len(axis.values)
        return offset

    def describe_grids(self, p: StableDiffusionProcessing, iz: int) -> None:
        """Keeps the infotext of the grid whose first cell was just made, and with the very first that of all grids."""
        keeps_random = self.options.no_fixed_seeds
        x, y, z = (axis.infotext(letter, keeps_random) for axis, letter in zip(self.axes, "XYZ", strict=True))
        p.extra_generation_params = {**p.extra_generation_params, "Script": TITLE, **x, **y}
        self.grid_infotexts[iz] = infotext_of(p)
        if iz == 0:
            p.extra_generation_params = {**p.extra_generation_params, **z}
            self.main_infotext = infotext_of(p)

    def result(self) -> Processed:
        """Returns the result of the plot: based on the first cell's, with the grids before the images of the cells.

        No images at all when no cell has one.
        """
        cells = [self.cells[place] for place in self.places()]
        if not any(cell.images for cell in cells):
            reason = "" if cells else ", because an axis has no values"
            logger.warning("X/Y/Z plot: no cell has a picture%s", reason)
            self.p.comment(f"X/Y/Z plot: no cell has a picture{reason}")
            return Processed(self.p, [])
        cell_images = filled([cell.images[0] if cell.images else None for cell in cells], (self.p.width, self.p.height))

        per_grid = len(cells) // len(self.axes[2].values)
        grids = [self.grid(cell_images[start : start + per_grid]) for start in range(0, len(cells), per_grid)]
        result = copy(cells[0])
        result.index_of_first_image = 1
        result.images = [self.main_grid(grids), *grids, *cell_images]
        result.all_prompts = [cell.prompt for cell in (*cells[::per_grid], *cells)]
        result.all_seeds = [cell.seed for cell in (*cells[::per_grid], *cells)]
        cell_infotexts = [cell.infotexts[0] if cell.infotexts else "" for cell in cells]
        result.infotexts = [self.main_infotext, *self.grid_infotexts, *cell_infotexts]
        for image, text, cell in zip(result.images, result.infotexts, [cells[0], *cells[::per_grid]], strict=False):
            hand_on(first_record(cell), image, "grid", infotext=text)
        settings = PlotSettings.from_opts(shared.opts)
        if settings.grid_save:
            self.save_grids(result, len(grids), settings.grid_format)
        self.leave_out(result, len(grids))
        return result

    def grid(self, cells: list[Image.Image]) -> Image.Image:
        """Returns the grid of one value of z."""
        x, y, _ = self.axes
        grid = images.image_grid(cells, rows=len(y.values))
        return self.annotated(grid, cells, x.legend(self.p), y.legend(self.p), self.options.margin_size)

    def main_grid(self, grids: list[Image.Image]) -> Image.Image:
        """Returns the grids of all values of z side by side."""
        return self.annotated(images.image_grid(grids, rows=1), grids, self.axes[2].legend(self.p), [""], margin=0)

    def annotated(
        self, grid: Image.Image, cells: list[Image.Image], above: list[str], beside: list[str], margin: int
    ) -> Image.Image:
        """Returns a grid with texts above its columns and beside its rows; as it is without legends."""
        if not self.options.draw_legend:
            return grid
        width, height = (max(sizes) for sizes in zip(*(cell.size for cell in cells), strict=True))
        columns, rows = ([[images.GridAnnotation(text)] for text in texts] for texts in (above, beside))
        return images.draw_grid_annotations(grid, width, height, columns, rows, margin)

    def save_grids(self, result: Processed, count: int, extension: str) -> None:
        """Writes the main grid and, if they are wanted and several, those of the values of z."""
        for number in range(1 + count if count > 1 and self.options.include_sub_grids else 1):
            first_cell = max(number - 1, 0)
            images.save_image(
                result.images[number],
                self.p.outpath_grids,
                "xyz_grid",
                info=result.infotexts[number],
                extension=extension,
                prompt=result.all_prompts[first_cell],
                seed=result.all_seeds[first_cell],
                grid=True,
                p=result,
            )

    def leave_out(self, result: Processed, count: int) -> None:
        """Removes what is not to be returned. The texts of cells stay when their images go."""
        if not self.options.include_lone_images:
            del result.images[1 + count :]
        if not self.options.include_sub_grids:
            for listed in (result.images, result.infotexts):
                del listed[1 : 1 + count]
            for listed in (result.all_prompts, result.all_seeds):
                del listed[:count]


def infotext_of(p: StableDiffusionProcessing) -> str:
    """Returns the infotext of the first image of a job."""
    return processing.create_infotext(p, p.all_prompts, p.all_seeds, p.all_subseeds)


def filled(cells: list[Image.Image | None], size: tuple[int, int]) -> list[Image.Image]:
    """Returns the images, with blank ones, like the first where that is there, for None."""
    first = cells[0]
    mode, size = ("P", size) if first is None else (first.mode, first.size)
    return [Image.new(mode, size) if cell is None else cell for cell in cells]


def size_of(text: str) -> tuple[int, int] | None:
    """Returns the size that a text like 512x768 means, None for any other."""
    width, _, height = text.partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        return None


def check_size(p: StableDiffusionProcessing, axes: tuple[Axis, ...]) -> None:
    """Raises InvalidInput for a plot of more images than a job may make, or larger than the setting img_max_size_mp."""
    cells = len(axes[0].values) * len(axes[1].values) * len(axes[2].values)
    bounds.current().check_images(cells * p.n_iter * p.batch_size, bounds.SCRIPT_ARGS)
    width, height = p.width, p.height
    for axis in axes:
        if axis.option.label == "Size":
            width, height = max((size_of(text) or (width, height) for text in axis.values), key=math.prod)
            bounds.current().check_size(width, height, bounds.SCRIPT_ARGS)
    megapixels = round(cells * width * height / 1_000_000)
    limit = PlotSettings.from_opts(shared.opts).img_max_size_mp
    if megapixels >= limit:
        raise errors.InvalidInput(
            f"the plot would have {megapixels} megapixels, and the setting img_max_size_mp allows less than "
            f"{limit}: take fewer values, or smaller images",
            field="script_args",
        )
