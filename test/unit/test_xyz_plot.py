"""Axes and layout of X/Y/Z plots, with cells made by a job that only says what it was asked for."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from PIL import Image

from modules import processing, shared, xyz_plot
from modules.errors import InvalidInput
from modules.processing import Processed, StableDiffusionProcessingTxt2Img
from modules.xyz_plot import Axis, AxisOption, AxisOptionImg2Img, AxisOptionTxt2Img, Plot, PlotOptions, read_axis

DATA = Path(__file__).resolve().parent.parent / "data"
INTEGERS = json.loads((DATA / "test_vectors.json").read_text(encoding="utf8"))["xyz_int_values"]


def set_field(name):
    return lambda p, x, xs: setattr(p, name, x)


NOTHING = AxisOption("Nothing", str, lambda p, x, xs: None, format_value=xyz_plot.format_nothing)
SEED = AxisOption("Seed", int, set_field("seed"))
STEPS = AxisOption("Steps", int, set_field("steps"))
CFG = AxisOption("CFG Scale", float, set_field("cfg_scale"))
SAMPLER = AxisOption("Sampler", str, set_field("sampler_name"), choices=lambda: ["a", "b"])


@pytest.mark.parametrize("row", INTEGERS, ids=lambda row: row["in"])
def test_whole_numbers(row):
    expected = row["out"] if isinstance(row["out"], list) else [int(row["out"])]
    assert xyz_plot.int_values(row["in"]) == expected


def test_numbers_are_read_as_those_of_settings():
    assert xyz_plot.int_values("20.0") == [20]
    for text in ("1.5", "many", "inf"):
        with pytest.raises(ValueError, match="must be a whole number"):
            xyz_plot.int_values(text)
    with pytest.raises(ValueError, match="must be a number"):
        xyz_plot.float_values("nan")


@pytest.mark.parametrize(
    ("text", "values"),
    [("10-1 (-1)", list(range(10, 2, -1))), (" 1 - 3 ", [1, 2, 3]), ("-2-1", [-2, -1, 0, 1]), ("+5", [5])],
)
def test_ranges_of_whole_numbers(text, values):
    assert xyz_plot.int_values(text) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1-3", [1.0, 2.0, 3.0]),
        ("0-1 (+0.5)", [0.0, 0.5, 1.0]),
        ("0-0.9 (+0.5)", [0.0, 0.5, 1.0]),
        ("1-2 [3]", [1.0, 1.5, 2.0]),
        ("7.5", [7.5]),
        (".5-1.5", [0.5, 1.5]),
    ],
)
def test_decimals(text, values):
    assert xyz_plot.float_values(text) == pytest.approx(values)


def test_texts_are_fields_of_a_csv_line():
    assert xyz_plot.csv_string_to_list_strip('a, "b, c" ,d\ne') == ["a", "b, c", "d", "e"]
    assert xyz_plot.list_to_csv_string(["a", "b, c"]) == 'a,"b, c"'


def test_values_by_type():
    assert xyz_plot.values_of(STEPS, ["1-2", "", "5"]) == [1, 2, 5]
    assert xyz_plot.values_of(CFG, ["", "5"]) == [5.0]
    assert xyz_plot.values_of(SAMPLER, ["a", ""]) == ["a", ""]
    order = AxisOption("Prompt order", xyz_plot.str_permutations, None)
    assert xyz_plot.values_of(order, ["x", "y"]) == [("x", "y"), ("y", "x")]


@pytest.mark.parametrize("text", ["many", "1-5 (+0)"])
def test_text_that_is_no_number_is_bad_input(text):
    with pytest.raises(InvalidInput, match="Steps: "):
        xyz_plot.values_of(STEPS, [text])
    with pytest.raises(InvalidInput, match="CFG Scale: "):
        xyz_plot.values_of(CFG, [text])


def test_axis_from_menu_or_text():
    p = StableDiffusionProcessingTxt2Img()
    assert read_axis(p, SAMPLER, "c, d", ["a", "b"], csv_mode=False, keeps_random=False).values == ["a", "b"]
    assert read_axis(p, SAMPLER, "c, d", ["a"], csv_mode=True, keeps_random=False).values == ["c", "d"]
    assert read_axis(p, SAMPLER, "c", [], csv_mode=False, keeps_random=False).values == ["c"]
    assert read_axis(p, SAMPLER, "", None, csv_mode=False, keeps_random=False).values == []
    assert read_axis(p, NOTHING, "ignored", [], csv_mode=False, keeps_random=False).values == [0]
    prepared = AxisOption("X", str, None, prepare=lambda text: text.split("/"))
    assert read_axis(p, prepared, "a/b", [], csv_mode=False, keeps_random=False).values == ["a", "b"]


def test_axis_is_checked_before_the_first_picture():
    def refuse(p, xs):
        raise InvalidInput(f"not {xs}")

    with pytest.raises(InvalidInput, match="not \\['a'\\]"):
        read_axis(None, AxisOption("X", str, None, confirm=refuse), "a", [], csv_mode=False, keeps_random=False)


def test_random_seeds_are_fixed_unless_kept():
    p = StableDiffusionProcessingTxt2Img()
    fixed = read_axis(p, SEED, "5, -1", [], csv_mode=False, keeps_random=False)
    assert fixed.values[0] == 5
    assert fixed.values[1] >= 0
    assert fixed.infotext("X", keeps_random=False)["Fixed X Values"] == f"5, {fixed.values[1]}"
    kept = read_axis(p, SEED, "5, -1", [], csv_mode=False, keeps_random=True)
    assert kept.values == [5, -1]
    assert kept.infotext("Y", keeps_random=True) == {"Y Type": "Seed", "Y Values": "5, -1"}


def test_legends():
    values = [0.1 + 0.2, "folder/name", ("x", "y")]
    formats = [
        xyz_plot.format_value_add_label,
        xyz_plot.format_remove_path,
        xyz_plot.format_value_join_list,
    ]
    texts = [f(None, CFG, value) for f, value in zip(formats, values, strict=True)]
    assert texts == ["CFG Scale: 0.3", "name", "x, y"]


def test_options_know_their_tab():
    assert AxisOption("X", str, None).is_img2img is None
    assert AxisOptionTxt2Img("X", str, None).is_img2img is False
    assert AxisOptionImg2Img("X", str, None).is_img2img is True
    assert AxisOption("X", str, None) != AxisOption("X", str, None)


@pytest.fixture
def jobs(monkeypatch, tmp_path):
    """Cells are pictures whose size and infotext say what was asked for; returns the jobs."""
    done = []

    def process_images(p):
        if p.cfg_scale == 13:
            raise RuntimeError("unlucky")
        done.append(p)
        p.all_prompts, p.all_seeds, p.all_subseeds = [p.prompt], [p.seed], [0]
        image = Image.new("RGB", (p.width, p.height), (p.steps, 0, 0))
        return Processed(p, [image], p.seed, f"steps {p.steps} cfg {p.cfg_scale}")

    monkeypatch.setattr(processing, "process_images", process_images)
    monkeypatch.setattr(processing, "create_infotext", lambda p, *args: f"{p.steps} {p.extra_generation_params}")
    monkeypatch.setitem(shared.opts.data, "grid_save", False)
    shared.state.begin("test")
    yield done
    shared.state.end()


OPTIONS = {
    "draw_legend": False,
    "include_lone_images": True,
    "include_sub_grids": True,
    "no_fixed_seeds": False,
    "vary_seeds": (False, False, False),
    "margin_size": 0,
}


def plot(x, y=None, z=None, seed=100, **options):
    nothing = Axis(NOTHING, [0], "")
    p = StableDiffusionProcessingTxt2Img(prompt="red apple", seed=seed, width=16, height=8, steps=1)
    axes = (x, y or nothing, z or nothing)
    return Plot(p, axes, PlotOptions(**{**OPTIONS, **options}))


def axis(option, *values):
    return Axis(option, list(values), xyz_plot.list_to_csv_string(values))


def test_cells_are_made_for_all_values(jobs):
    result = plot(axis(STEPS, 3, 4), axis(CFG, 1.0, 2.0)).run()
    assert [(p.steps, p.cfg_scale) for p in jobs] == [(3, 1.0), (4, 1.0), (3, 2.0), (4, 2.0)]
    assert [image.size for image in result.images] == [(32, 16), (32, 16), *[(16, 8)] * 4]
    assert result.index_of_first_image == 1
    assert result.infotexts[2:] == ["steps 3 cfg 1.0", "steps 4 cfg 1.0", "steps 3 cfg 2.0", "steps 4 cfg 2.0"]
    assert result.images[0].getpixel((20, 4)) == (4, 0, 0)
    assert shared.state.job_count == 4
    assert shared.state.job == "4 out of 4"
    assert shared.state.xyz_plot_x == (STEPS, [3, 4])


def test_grid_for_each_z_and_one_of_all(jobs):
    result = plot(axis(STEPS, 3), axis(CFG, 1.0, 2.0), axis(SEED, 7, 8, 9)).run()
    assert [image.size for image in result.images[:4]] == [(48, 16), (16, 16), (16, 16), (16, 16)]
    assert len(result.images) == len(result.infotexts) == 4 + 6
    assert result.all_seeds == [7, 8, 9, 7, 7, 8, 8, 9, 9]
    x = "'X Type': 'Steps', 'X Values': '3'"
    y = "'Y Type': 'CFG Scale', 'Y Values': '1.0,2.0'"
    z = "'Z Type': 'Seed', 'Z Values': '7,8,9', 'Fixed Z Values': '7, 8, 9'"
    assert result.infotexts[0] == f"3 {{'Script': 'X/Y/Z plot', {x}, {y}, {z}}}"
    assert result.infotexts[1] == result.infotexts[3] == f"3 {{'Script': 'X/Y/Z plot', {x}, {y}}}"


def test_parts_are_left_out(jobs):
    result = plot(axis(STEPS, 3, 4), include_lone_images=False, include_sub_grids=False).run()
    assert [image.size for image in result.images] == [(32, 8)]
    assert (len(result.infotexts), len(result.all_prompts), len(result.all_seeds)) == (3, 2, 2)
    result = plot(axis(STEPS, 3, 4), include_lone_images=False).run()
    assert [image.size for image in result.images] == [(32, 8), (32, 8)]
    assert (len(result.infotexts), len(result.all_prompts)) == (4, 3)


def test_dearest_axis_changes_least_often(jobs):
    def costs(*values):
        rows = [Axis(AxisOption("X", str, None, cost=cost), [0], "") for cost in values]
        return plot(*rows).loop_order()

    assert costs(0, 0, 0) == costs(1, 1, 0) == [2, 1, 0]
    assert costs(1, 0, 0) == [0, 2, 1]
    assert costs(1, 0.5, 0) == [0, 1, 2]
    assert costs(0.5, 1, 0) == [1, 0, 2]
    assert costs(0, 0, 1) == [2, 1, 0]
    assert costs(0.5, 0, 1) == [2, 0, 1]


def test_loop_follows_the_order(jobs):
    dear = AxisOption("Steps", int, set_field("steps"), cost=1)
    plot(axis(dear, 3, 4), axis(CFG, 1.0, 2.0)).run()
    assert [(p.steps, p.cfg_scale) for p in jobs] == [(3, 1.0), (3, 2.0), (4, 1.0), (4, 2.0)]


@pytest.mark.parametrize(
    ("varied", "seeds"),
    [
        ((True, False, False), [100, 101, 100, 101, 100, 101, 100, 101]),
        ((False, True, False), [100, 100, 101, 101, 100, 100, 101, 101]),
        ((True, True, True), [100, 101, 102, 103, 104, 105, 106, 107]),
        ((True, False, True), [100, 101, 100, 101, 102, 103, 102, 103]),
    ],
)
def test_seeds_vary_along_axes(jobs, varied, seeds):
    result = plot(axis(STEPS, 1, 2), axis(CFG, 1.0, 2.0), axis(SAMPLER, "a", "b"), vary_seeds=varied).run()
    assert result.all_seeds[2:] == seeds


def test_failing_cell_is_blank(jobs, caplog):
    result = plot(axis(CFG, 1.0, 13.0, 2.0)).run()
    assert result.images[3].getpixel((0, 0)) == (0, 0, 0)
    assert result.infotexts[3] == ""
    assert len(jobs) == 2
    assert "unlucky" in caplog.text


def test_failing_first_cell_leaves_the_others(jobs):
    result = plot(axis(CFG, 13.0, 1.0)).run()
    assert result.images[2].mode == "P"
    assert result.images[3].size == (16, 8)


def test_plot_of_failures_has_no_pictures(jobs, caplog):
    result = plot(axis(CFG, 13.0)).run()
    assert result.images == [] and "a cell is empty: unlucky" in result.comments
    assert "no cell has a picture" in caplog.text


def test_plot_without_values_has_no_pictures(jobs):
    result = plot(axis(CFG)).run()
    assert result.images == [] and "an axis has no values" in result.comments


def test_interrupted_plot_keeps_what_it_has(jobs, monkeypatch):
    def interrupt(p, x, xs):
        p.steps = x
        shared.state.interrupted = x == 2

    stopping = AxisOption("Steps", int, interrupt)
    result = plot(axis(stopping, 1, 2, 3)).run()
    assert [p.steps for p in jobs] == [1, 2]
    assert len(result.images) == 5


def test_legend_is_drawn_around_grids(jobs, monkeypatch):
    drawn = []

    def draw(grid, width, height, columns, rows, margin):
        drawn.append(([t[0].text for t in columns], [t[0].text for t in rows], (width, height), margin))
        return grid

    monkeypatch.setattr(xyz_plot.images, "draw_grid_annotations", draw)
    plot(axis(STEPS, 1, 2), axis(SAMPLER, "a"), axis(CFG, 1.0), draw_legend=True, margin_size=4).run()
    assert drawn == [
        (["Steps: 1", "Steps: 2"], ["Sampler: a"], (16, 8), 4),
        (["CFG Scale: 1.0"], [""], (32, 8), 0),
    ]


@pytest.mark.parametrize(("sub_grids", "count"), [(True, 3), (False, 1)])
def test_grids_are_saved(jobs, monkeypatch, sub_grids, count):
    saved = []
    monkeypatch.setitem(shared.opts.data, "grid_save", True)
    monkeypatch.setattr(xyz_plot.images, "save_image", lambda image, *args, **kwargs: saved.append((args, kwargs)))
    plot(axis(STEPS, 1), None, axis(SEED, 7, 8), include_sub_grids=sub_grids).run()
    assert [args[1] for args, _ in saved] == ["xyz_grid"] * count
    assert [kwargs["seed"] for _, kwargs in saved] == [7, 7, 8][:count]


def test_steps_are_planned(jobs):
    hires = AxisOptionTxt2Img("Hires steps", int, set_field("hr_second_pass_steps"))
    made = plot(axis(STEPS, 3, 4), axis(hires, 0, 5))
    assert made.planned_steps() == 2 * (3 + 4)
    made.p.enable_hr, made.p.n_iter = True, 2
    assert made.planned_steps() == 2 * ((3 + 3) + (4 + 4) + (3 + 5) + (4 + 5))


def test_too_large_a_plot_is_bad_input(monkeypatch):
    monkeypatch.setitem(shared.opts.data, "img_max_size_mp", 2)
    p = StableDiffusionProcessingTxt2Img(width=1000, height=1000)
    axes = [axis(STEPS, 1), axis(STEPS, 1), axis(STEPS, 1)]
    xyz_plot.check_size(p, axes)
    axes[0] = axis(STEPS, 1, 2)
    with pytest.raises(InvalidInput, match="2 megapixels"):
        xyz_plot.check_size(p, axes)


def test_places_count_x_fastest():
    made = plot(axis(STEPS, 1, 2), axis(STEPS, 1, 2), axis(STEPS, 1, 2))
    assert made.places() == [(x, y, z) for z, y, x in itertools.product(range(2), repeat=3)]
