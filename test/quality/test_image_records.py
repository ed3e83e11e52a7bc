"""Each image of a job keeps its own seed, prompt and infotext: in a batch of images, after scripts, and on the page."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from dataclasses import dataclass

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from modules import call_queue, images, processing, scripts, shared, txt2img, ui_common, ui_tempdir
from modules.job.request import ImageBatch, JobRequest
from modules.processing_runner import JobResult, ProcessingRunner

SMALL = {"prompt": "red apple", "width": 64, "height": 64}
OF_CONTROLS = {"steps": 2, "seed": 500, "sampler_name": "Euler a"}
UNSAVED = {"do_not_save_samples": True, "do_not_save_grid": True}


def run(kind="txt2img", script=None, script_args=(), batch=None, **fields):
    """Runs a job; script_args: values of the script's controls."""
    if kind == "img2img" and batch is None:
        fields.setdefault("init_images", [picture("red")])
    values = {script: list(script_args)} if script else {}
    attributes = {name: fields.pop(name, value) for name, value in OF_CONTROLS.items()}
    request = JobRequest(kind, SMALL | UNSAVED | fields, script, values, attributes, batch=batch)
    with call_queue.gpu_job("records"):
        return ProcessingRunner(request).run()


def picture(color):
    return Image.linear_gradient("L").resize((64, 64)).convert("RGB").point(lambda x: x // 2 + len(color) * 10)


def seed_of(text):
    return int(re.search(r"Seed: (\d+)", text)[1])


@dataclass
class Page:
    """What the page holds of a result, and its Save buttons."""

    info: str
    gallery: list
    folder: object

    def save(self, index, zipped=False):
        downloads, message = ui_common.save_files(self.info, self.gallery, zipped, index)
        assert "Saved: " in message
        return downloads["value"]

    def rows(self):
        with (self.folder / "log.csv").open(encoding="utf8", newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def page(app, tmp_path, monkeypatch):
    """Shows a result on the page."""
    monkeypatch.setitem(shared.opts.data, "outdir_save", str(tmp_path / "saved"))

    def show(result: JobResult | processing.Processed) -> Page:
        processed = getattr(result, "processed", result)
        shown, info, _, _ = txt2img.result_outputs(processed)
        gallery = []
        for number, image in enumerate(shown):
            path = tmp_path / f"shown{number}.png"
            image.save(path)
            ui_tempdir.register_tmp_file(None, str(path))
            gallery.append((str(path), None))
        return Page(info, gallery, tmp_path / "saved")

    return show


@pytest.fixture
def folder(app, tmp_path):
    """Two pictures; the infotext of the first names another sampler and schedule."""
    source = tmp_path / "in"
    source.mkdir()
    info = PngInfo()
    info.add_text(
        "parameters", "pear\nSteps: 3, Sampler: DPM++ 2M Exponential, CFG scale: seven, Seed: 99, Size: 64x64"
    )
    picture("a").save(source / "a.png", pnginfo=info)
    picture("much brighter").save(source / "b.png")
    return source


class TestBatch:
    def test_every_picture_starts_from_what_the_form_says(self, folder, monkeypatch):
        """A script changes strength, counts and prompt of its job; the next picture knows nothing of it."""
        seen = []
        original = processing.process_images
        monkeypatch.setattr(
            processing,
            "process_images",
            lambda p: seen.append((round(p.denoising_strength, 6), p.n_iter, p.batch_size)) or original(p),
        )
        result = run(
            "img2img",
            "Loopback",
            [2, 0.9, "Linear", "None"],
            ImageBatch(str(folder)),
            n_iter=2,
            denoising_strength=0.3,
        )
        assert seen == [(0.3, 1, 1), (0.9, 1, 1)] * 4
        assert [record.kind for record in result.records] == ["grid", "image", "image"] * 2

    def test_parameters_of_a_picture_end_with_it(self, folder, caplog):
        batch = ImageBatch(str(folder), png_info=["Prompt", "Sampler", "Seed", "Steps", "CFG scale"])
        first, second = (record.infotext for record in run("img2img", batch=batch).records)
        assert "Sampler: DPM++ 2M, Schedule type: Exponential" in first and "Seed: 99" in first and "Steps: 3" in first
        assert "Schedule type: Automatic" in second and "Seed: 500" in second and "pear" not in second
        assert "CFG scale: 7.0" in first and "'seven' is no number" in caplog.text

    def test_pictures_are_those_of_jobs_of_their_own(self, folder):
        both = run("img2img", batch=ImageBatch(str(folder)), n_iter=2, denoising_strength=0.5)
        alone = run("img2img", batch=ImageBatch([str(folder / "b.png")]), n_iter=2, denoising_strength=0.5)
        made = [[image for image in result.images if record_is_image(image)] for result in (both, alone)]
        assert [image.tobytes() for image in made[0][2:]] == [image.tobytes() for image in made[1]]

    @pytest.mark.parametrize(
        ("script", "args"),
        [
            (None, ()),
            ("Loopback", (2, 0.5, "Linear", "None")),
            ("SD upscale", ("", 16, "None", 1.0)),
            ("Outpainting mk2", ("", 64, 4, ["left"], 1.0, 0.05)),
            ("Poor man's outpainting", (32, 4, 1, ["right"])),
            ("Prompts from file or textbox", (False, False, "start", "cat --steps 3\n--prompt dog --seed 7")),
        ],
    )
    def test_any_result_of_a_batch_can_be_saved(self, folder, page, script, args):
        shown = page(run("img2img", script, args, ImageBatch(str(folder))))
        records = json.loads(shown.info)["records"]
        for index, record in enumerate(records):
            path = shown.save(index)[0]
            assert path.endswith(f"-{record['seed']}.png")
            with Image.open(path) as saved:
                assert images.read_info_from_image(saved)[0] == record["infotext"] != ""
                assert seed_of(record["infotext"]) == record["seed"] == int(shown.rows()[-1]["seed"])
        assert len(shown.save(-1, zipped=True)) == len(records) + 1


def record_is_image(image):
    return image.record.kind == "image"


class TestPage:
    def test_the_row_describes_the_picture_that_was_saved(self, page):
        shown = page(run(n_iter=3, prompt=["red apple", "pear", "blue car"], cfg_scale=4.5))
        path = shown.save(2)[0]
        (row,) = shown.rows()
        assert path.endswith("-502.png") and row["filename"] in path
        assert (row["seed"], row["prompt"], row["cfgs"], row["width"]) == ("502", "blue car", "4.5", "64")
        assert ui_common.update_generation_info(shown.info, "", 2)[0].startswith("<p>blue car")

    def test_an_archive_is_named_by_the_picture_in_it(self, page):
        archive, path = page(run(n_iter=2)).save(1, zipped=True)
        assert "501" in archive.rsplit("/", 1)[1]
        with zipfile.ZipFile(archive) as packed:
            assert [path.endswith(name) for name in packed.namelist()] == [True]

    def test_masks_are_saved_under_the_seed_of_their_picture(self, page):
        masked = {"mask": Image.new("L", (64, 64), 255), "override_settings": {"return_mask": True}}
        shown = page(run("img2img", n_iter=2, **masked))
        assert [shown.save(index)[0].rsplit("-", 1)[1] for index in range(4)] == [
            "500.png",
            "500.png",
            "501.png",
            "501.png",
        ]

    @pytest.mark.parametrize(
        "lists",
        [{}, {"infotexts": []}, {"infotexts": ["x"], "all_seeds": [1], "all_prompts": ["a", "b", "c", "d"]}],
    )
    def test_scripts_of_extensions_need_not_fill_the_lists(self, page, monkeypatch, lists):
        def script(p, *args):
            made = [processing.process_images(p).images[0] for p.seed in (500, 600)]
            own = Image.new("RGB", (64, 64))
            return processing.Processed(p, [*made, own], 500, "of all", **lists)

        monkeypatch.setattr(scripts.scripts_txt2img, "run", script)
        shown = page(run())
        assert [shown.save(index)[0].rsplit("-", 1)[1] for index in range(2)] == ["500.png", "600.png"]
        assert [row["seed"] for row in shown.rows()] == ["500", "600"]
        assert len(shown.save(2)) == 1 and len(shown.save(-1, zipped=True)) == 4

    def test_a_grid_names_the_first_seed(self, page):
        result = run(n_iter=3, do_not_save_grid=False)
        assert [(record.kind, record.seed) for record in result.records] == [
            ("grid", 500),
            ("image", 500),
            ("image", 501),
            ("image", 502),
        ]
        assert [seed_of(text) for text in result.processed.infotexts] == [500, 500, 501, 502]
        assert seed_of(result.processed.info) == 500

    def test_a_picture_of_a_plot_says_how_it_was_made(self, app):
        script = next(script for script in scripts.scripts_txt2img.scripts if script.title() == "X/Y/Z plot")
        axis = [option.label for option in script.current_axis_options].index("Sampler")
        args = [axis, "DPM++ 2M,Euler,DDIM", []]
        args += [0, "", [], 0, "", [], False, True, False, False, False, False, False, 0, True]
        result = run(script="X/Y/Z plot", script_args=args, steps=4)
        cells = [image.info["parameters"] for image in result.images if record_is_image(image)]
        assert [re.search("Sampler: (.*?), Schedule type: (.*?),", text).groups() for text in cells] == [
            ("DPM++ 2M", "Karras"),
            ("Euler", "Automatic"),
            ("DDIM", "Automatic"),
        ]
        assert [record.infotext for record in result.records if record.kind == "image"] == cells


class TestOutpainting:
    @pytest.mark.parametrize(
        ("name", "args"),
        [
            ("Outpainting mk2", ("", 64, 4, ["left"], 1.0, 0.05)),
            ("Poor man's outpainting", (32, 4, 1, ["right"])),
        ],
    )
    def test_as_many_images_as_asked_for_each_with_its_seed(self, app, name, args):
        result = run("img2img", name, args, n_iter=2, batch_size=2, seed=-1)
        made = [record for record in result.records if record.kind == "image"]
        first = made[0].seed
        assert [record.seed for record in made] == [first, first + 1, first + 2, first + 3]
        assert [seed_of(record.infotext) for record in made] == [record.seed for record in made]
        assert len({image.tobytes() for image in result.images if record_is_image(image)}) == 4

    @pytest.mark.parametrize(
        ("name", "args"),
        [
            ("Outpainting mk2", ("", 64, 4, ["left", "right"], 1.0, 0.05)),
            ("Poor man's outpainting", (32, 4, 1, ["right", "down"])),
        ],
    )
    def test_an_image_can_be_made_again_by_its_seed(self, app, name, args):
        several = [image for image in run("img2img", name, args, n_iter=2).images if record_is_image(image)]
        assert run("img2img", name, args, seed=501).images[-1].tobytes() == several[1].tobytes()
