"""From a request to its result: script values by name, what the job object gets, and what is known of the images."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image

from modules import img2img, processing, processing_runner, scripts, shared
from modules.errors import NotFound
from modules.job.request import ImageBatch, JobRequest
from modules.processing_runner import OutputFolders, ProcessingRunner, flat_arguments, named_scripts, values_by_script
from modules.script_ui import default_args

FIELDS = {"prompt": "red apple", "width": 64, "height": 64, "steps": 2, "seed": 1, "sampler_name": "Euler"}
UNSAVED = {"do_not_save_samples": True, "do_not_save_grid": True}


def request(kind="txt2img", fields=None, **changes):
    return JobRequest(kind, FIELDS | UNSAVED | (fields or {}), is_api=True, **changes)


class Twin(scripts.Script):
    """A script with one value, of the same title as others."""

    def __init__(self, place):
        self.args_from, self.args_to = place, place + 1

    def title(self):
        return "Twin"


class TestScriptValues:
    @pytest.mark.parametrize("runner", ["scripts_txt2img", "scripts_img2img"])
    def test_names_and_back_give_the_same_list(self, app, runner):
        runner = getattr(scripts, runner)
        for choice in range(len(runner.selectable_scripts) + 1):
            args = [choice, *(f"value {place}" for place in range(1, len(runner.inputs)))]
            script, values = values_by_script(runner, args)
            again = flat_arguments(runner, JobRequest("txt2img", {}, script=script, script_values=values))
            assert again == args

    def test_scripts_are_known_by_their_titles(self, app):
        runner = scripts.scripts_txt2img
        script, values = values_by_script(runner, [1, *default_args(runner)[1:]])
        assert script == runner.titles[0]
        assert len(values["Seed"]) == 6 and "Sampler" in values

    def test_what_is_left_out_keeps_its_default(self, app):
        runner = scripts.scripts_txt2img
        defaults = default_args(runner)
        assert flat_arguments(runner, JobRequest("txt2img", {})) == defaults
        args = flat_arguments(runner, JobRequest("txt2img", {}, script_values={"Seed": [5]}))
        place = runner.script("Seed").args_from
        assert args[place] == 5 and args[:place] + args[place + 1 :] == defaults[:place] + defaults[place + 1 :]

    def test_a_script_whose_defaults_nobody_knows_gets_its_values(self):
        runner = scripts.ScriptRunner()
        runner.scripts = [Twin(3)]
        assert flat_arguments(runner, JobRequest("txt2img", {}, script_values={"Twin": ["a"]})) == [0, None, None, "a"]

    def test_two_scripts_of_one_title_are_told_apart(self):
        runner = scripts.ScriptRunner()
        runner.inputs, runner.default_args = [None] * 4, [0, "", "", ""]
        twins = [Twin(place) for place in (1, 2, 3)]
        runner.scripts = twins[:2]
        runner.selectable_scripts = [twins[1], twins[2]]
        assert [name for name, _ in named_scripts(runner)] == ["Twin", "Twin (2)", "Twin (3)"]
        script, values = values_by_script(runner, [2, "a", "b", "c"])
        assert script == "Twin (3)"
        assert flat_arguments(runner, JobRequest("txt2img", {}, script=script, script_values=values)) == [
            2,
            "a",
            "b",
            "c",
        ]

    @pytest.mark.parametrize("changes", [{"script": "Nowhere"}, {"script_values": {"Nowhere": [1]}}])
    def test_a_script_that_is_not_there_is_named(self, app, changes):
        with pytest.raises(NotFound, match="Nowhere"):
            ProcessingRunner(request(**changes)).create()

    def test_a_menu_entry_of_an_infotext_selects_nothing(self, app):
        assert values_by_script(scripts.scripts_txt2img, ["None"])[0] is None


class TestCreation:
    def test_fields_scripts_and_user_are_those_of_the_request(self, app):
        p = ProcessingRunner(request(user="ann", script_values={"Seed": [9]})).create()
        assert isinstance(p, processing.StableDiffusionProcessingTxt2Img)
        assert (p.prompt, p.width, p.user, p.is_api) == ("red apple", 64, "ann", True)
        assert p.scripts is scripts.scripts_txt2img
        assert p.script_args[p.scripts.script("Seed").args_from] == 9

    def test_attributes_win_over_what_scripts_set(self, app):
        asked = replace(request(script_values={"Seed": [9]}), is_api=False)
        assert ProcessingRunner(asked).create().seed == 9
        assert ProcessingRunner(replace(asked, attributes={"seed": 4, "mark": "x"})).create().seed == 4

    def test_a_job_does_not_change_its_request(self, app):
        asked = request(fields={"override_settings": {"CLIP_stop_at_last_layers": 2}, "styles": ["a"]})
        p = ProcessingRunner(asked).create()
        p.override_settings.clear()
        p.styles.append("b")
        assert asked.overrides == {"CLIP_stop_at_last_layers": 2} and asked.fields["styles"] == ["a"]

    def test_classes_that_an_extension_puts_in_place_are_used(self, app, monkeypatch):
        class Mine(processing.StableDiffusionProcessingTxt2Img):
            pass

        monkeypatch.setattr(processing, "StableDiffusionProcessingTxt2Img", Mine)
        assert isinstance(ProcessingRunner(request()).create(), Mine)

    @pytest.mark.parametrize(
        ("is_api", "common", "expected"),
        [(False, "", "own"), (False, "common", "common"), (True, "common", "own"), (True, "", "own")],
    )
    def test_folders_common_to_all_kinds_are_the_pages(self, is_api, common, expected):
        options = SimpleNamespace(
            outdir_samples=common, outdir_grids="", outdir_txt2img_samples="own", outdir_txt2img_grids="grids"
        )
        folders = OutputFolders.from_opts(options, "txt2img", is_api)
        assert folders == OutputFolders(expected, "grids")

    def test_a_folder_that_is_asked_for_wins(self, app):
        p = ProcessingRunner(request(fields={"outpath_samples": "elsewhere"})).create()
        assert (p.outpath_samples, p.outpath_grids) == ("elsewhere", shared.opts.outdir_txt2img_grids)


class TestResult:
    def test_each_image_has_its_record(self, app, data_dir):
        fields = {"batch_size": 2, "do_not_save_samples": False, "do_not_save_grid": False}
        result = ProcessingRunner(request(fields=fields)).run()
        assert [record.kind for record in result.records] == ["grid", "image", "image"]
        assert [(record.seed, record.subseed is not None) for record in result.records[1:]] == [(1, True), (2, True)]
        assert result.infotexts == result.processed.infotexts
        assert result.seeds[1:] == [1, 2]
        assert len(result.files) == 3
        for image, file in zip(result.images, result.files, strict=True):
            assert Image.open(file).tobytes() == image.tobytes()

    def test_masks_are_those_of_their_image_and_unsaved_images_have_no_file(self, app):
        fields = {
            "init_images": [Image.new("RGB", (64, 64), "red")],
            "mask": Image.new("L", (64, 64), 255),
            "override_settings": {"return_mask": True, "return_mask_composite": True},
        }
        result = ProcessingRunner(request("img2img", fields)).run()
        assert [(record.kind, record.seed) for record in result.records] == [
            ("image", 1),
            ("mask", 1),
            ("mask", 1),
        ]
        assert result.files == []

    def test_settings_are_told_as_the_hooks_left_them(self, app, monkeypatch):
        def before(p):
            p.override_settings["tiling"] = True

        monkeypatch.setattr(scripts.scripts_txt2img, "before_process", before)
        result = ProcessingRunner(request(fields={"override_settings": {"CLIP_stop_at_last_layers": 2}})).run()
        assert result.overrides == {"CLIP_stop_at_last_layers": 2, "tiling": True}

    @pytest.mark.parametrize(("is_api", "script", "asked"), [(True, False, 0), (True, True, 1), (False, False, 1)])
    def test_who_asks_the_scripts(self, app, monkeypatch, is_api, script, asked):
        calls = []
        monkeypatch.setattr(scripts.scripts_txt2img, "run", lambda p, *args: calls.append(args[0]))
        monkeypatch.setattr(processing, "process_images", lambda p: processing.Processed(p, []))
        name = scripts.scripts_txt2img.titles[0] if script else None
        ProcessingRunner(replace(request(script=name), is_api=is_api)).run()
        assert calls == [int(script)] * asked

    def test_images_of_a_script_may_come_from_anywhere(self, app, monkeypatch):
        made = SimpleNamespace(images=["text", Image.new("RGB", (2, 2))])
        monkeypatch.setattr(scripts.scripts_txt2img, "run", lambda p, *args: made)
        result = ProcessingRunner(request(script=scripts.scripts_txt2img.titles[0])).run()
        assert [record.kind for record in result.records] == ["other", "other"]

    def test_the_run_is_closed_after_an_error(self, app, monkeypatch):
        closed = []
        monkeypatch.setattr(processing, "process_images", lambda p: 1 / 0)
        monkeypatch.setattr(processing.StableDiffusionProcessingTxt2Img, "close", lambda p: closed.append(p))
        with pytest.raises(ZeroDivisionError):
            ProcessingRunner(request()).run()
        assert len(closed) == 1

    def test_a_batch_is_run_by_what_the_face_has_set(self, app, tmp_path):
        assert processing_runner.ProcessingRunner.run_batch is img2img.run_batch
        Image.new("RGB", (64, 64), "red").save(tmp_path / "one.png")
        asked = replace(request("img2img", {"denoising_strength": 0.5}), batch=ImageBatch(str(tmp_path), scale_by=0.5))
        assert [image.size for image in ProcessingRunner(asked).run().images] == [(32, 32)]


class TestPickle:
    @pytest.mark.parametrize("runner", ["scripts_txt2img", "scripts_img2img"])
    def test_a_request_with_all_scripts_travels(self, app, runner):
        runner = getattr(scripts, runner)
        kind = "img2img" if runner is scripts.scripts_img2img else "txt2img"
        image = Image.new("RGB", (8, 8), "red")
        fields = {"init_images": [image], "mask": image} if kind == "img2img" else {"firstpass_image": image}
        for choice in range(len(runner.selectable_scripts) + 1):
            script, values = values_by_script(runner, [choice, *default_args(runner)[1:]])
            asked = request(kind, fields, script=script, script_values=values, batch=ImageBatch(["a.png"]))
            assert pickle.loads(pickle.dumps(asked)) == asked

    def test_a_copy_makes_the_same_image(self, app):
        asked = request(script_values={"Seed": [7]})
        first, second = (ProcessingRunner(r).run().images[0] for r in (asked, pickle.loads(pickle.dumps(asked))))
        assert first.tobytes() == second.tobytes()


class Failing(scripts.Script):
    """Fails in a hook of each job."""

    filename = "failing.py"

    def title(self):
        return "Failing"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def process(self, p, *args):
        raise ValueError("no luck")


def test_a_job_says_which_extension_failed_in_it(app, sd_model, monkeypatch):
    runner = scripts.scripts_txt2img
    monkeypatch.setattr(runner, "alwayson_scripts", [*runner.alwayson_scripts, Failing()])
    monkeypatch.setattr(runner, "scripts", [*runner.scripts, runner.alwayson_scripts[-1]])
    monkeypatch.setattr(runner, "callback_map", {})
    Failing.args_from = Failing.args_to = 0
    result = ProcessingRunner(request()).run()
    place = "(test_processing_runner.py"
    assert result.processed.comments.startswith("Script failing.py failed in process")
    assert result.processed.comments.endswith("ValueError: no luck\n") and place not in result.processed.comments
