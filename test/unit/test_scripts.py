"""Runners: which scripts they make, which arguments each gets, and which hooks are called in which order."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import gradio as gr
import pytest

from modules import extensions, script_callbacks, script_loading, script_ui, scripts, shared, shared_items
from modules.errors import InvalidInput
from modules.processing import Processed, StableDiffusionProcessingImg2Img, StableDiffusionProcessingTxt2Img
from modules.scripts import AlwaysVisible, Script, ScriptBuiltinUI, ScriptClassData, ScriptRunner
from test.ours import without_ours

CONTRACT = json.loads((Path(__file__).resolve().parent.parent / "data" / "callbacks.json").read_text(encoding="utf8"))


class Counted(Script):
    """Always on, with two values; keeps what its hooks get."""

    def __init__(self):
        self.calls = []

    def title(self):
        return "Counted"

    def show(self, is_img2img):
        return AlwaysVisible

    def ui(self, is_img2img):
        return [gr.Number(value=1, elem_id=self.elem_id("one")), gr.Textbox(label="two", elem_id=self.elem_id("two"))]

    def process(self, p, *args):
        self.calls.append(("process", args))

    def postprocess_image(self, p, pp, *args):
        pp.image = f"{pp.image}!"
        self.calls.append(("postprocess_image", args))

    def postprocess_batch(self, p, *args, **kwargs):
        self.calls.append(("postprocess_batch", args, kwargs))


class Failing(Script):
    def title(self):
        return "Failing"

    def show(self, is_img2img):
        return AlwaysVisible

    def process(self, p, *args):
        raise ValueError("bad hook")


class Chosen(Script):
    def __init__(self):
        self.processed = False

    def title(self):
        return "Chosen One"

    def ui(self, is_img2img):
        return [gr.Slider(minimum=2, maximum=3, label="amount"), gr.Radio(["a", "b"], value="b", type="index")]

    def process(self, p, *args):
        self.processed = True

    def run(self, p, amount, letter):
        return Processed(p, [amount, letter], 5, "done")


class WithoutControls(Script):
    def title(self):
        return "Without controls"

    def run(self, p):
        return None


class BrokenUi(Script):
    def title(self):
        return "Broken ui"

    def show(self, is_img2img):
        return AlwaysVisible

    def ui(self, is_img2img):
        gr.Number()
        raise RuntimeError("no controls")


class BrokenUiChosen(BrokenUi):
    def title(self):
        return "Broken and chosen"

    def show(self, is_img2img):
        return True


class InSection(Counted):
    section = "my_section"

    def title(self):
        return "In section"


class Img2ImgOnly(Script):
    def title(self):
        return "Only, img2img!"

    def show(self, is_img2img):
        return is_img2img


class FromPage(ScriptBuiltinUI):
    create_group = False

    def __init__(self):
        self.set_up = 0

    def title(self):
        return "From page"

    def setup(self, p, *args):
        self.set_up += 1


class SetUp(FromPage):
    setup_for_ui_only = False

    def title(self):
        return "Set up"


@pytest.fixture
def make_runner(monkeypatch):
    """A runner with scripts of the given classes, their controls made."""
    monkeypatch.setattr(scripts, "script_data_sources", [])

    def make(*classes, is_img2img=False):
        rows = [ScriptClassData(cls, f"/x/{cls.__name__.lower()}.py", "/x", None) for cls in classes]
        monkeypatch.setattr(scripts, "scripts_data", rows)
        runner = ScriptRunner()
        runner.initialize_scripts(is_img2img)
        with script_ui.unseen_page():
            runner.prepare_ui()
            for section in dict.fromkeys(script.section for script in runner.scripts if script.section):
                runner.setup_ui_for_section(section)
            runner.setup_ui()
        return runner

    return make


def job(runner, args=None, **fields):
    p = StableDiffusionProcessingTxt2Img(prompt="red apple", **fields)
    p.scripts = runner
    p.script_args = runner.default_args if args is None else args
    return p


@pytest.mark.parametrize("row", CONTRACT["script_runner"]["methods"], ids=lambda row: row["name"])
def test_runner_has_the_methods_of_the_contract(row):
    method = getattr(ScriptRunner, row["name"])
    assert signature_text(method) == row["signature"]


@pytest.mark.parametrize("row", CONTRACT["script_class"]["methods"], ids=lambda row: row["name"])
def test_script_has_the_methods_of_the_contract(row):
    assert signature_text(getattr(Script, row["name"])) == row["signature"]


@pytest.mark.parametrize("row", CONTRACT["script_class"]["attributes"], ids=lambda row: row["name"])
def test_script_has_the_attributes_of_the_contract(row):
    assert str(getattr(Script, row["name"])) == row["default"]


def test_argument_objects_have_the_fields_of_the_contract():
    for name, fields in CONTRACT["script_class"]["argument_objects"].items():
        if hasattr(scripts, name):
            cls = getattr(scripts, name)
            available = set(inspect.signature(cls).parameters) | set(vars(cls))
            assert {field.split(" ")[0] for field in fields} <= available, name


def test_callback_names_are_those_that_can_be_ordered():
    names = without_ours("script_hooks", ScriptRunner().callback_names, lambda name: name.removeprefix("script_"))
    assert names == CONTRACT["script_runner"]["callback_names_for_ordering_settings"]


def signature_text(function) -> str:
    """(a, b=None, *, c=True, **d) without self and annotations."""
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(function).parameters.values()]
    return str(inspect.Signature([p for p in parameters if p.name != "self"]))


def test_scripts_are_sorted_into_always_on_and_selectable(make_runner):
    runner = make_runner(Chosen, Counted, Img2ImgOnly)
    assert [script.title() for script in runner.scripts] == ["Chosen One", "Counted"]
    assert [script.title() for script in runner.alwayson_scripts] == ["Counted"]
    assert runner.titles == ["Chosen One"]
    counted = runner.script("COUNTED")
    assert (counted.tabname, counted.is_txt2img, counted.is_img2img, counted.alwayson) == ("txt2img", True, False, True)
    assert counted.filename == "/x/counted.py"
    assert runner.script("nothing like it") is None


def test_arguments_are_slices_in_order_of_creation(make_runner):
    runner = make_runner(Chosen, Counted, InSection)
    slices = {script.name: (script.args_from, script.args_to) for script in runner.scripts}
    assert slices == {"in section": (1, 3), "counted": (3, 5), "chosen one": (5, 7)}
    assert runner.default_args == [0, 1, "", 1, "", 2, 1]
    assert len(runner.inputs) == 7
    assert runner.inputs[0].label == "Script"


def test_hook_gets_its_own_values_after_what_is_special(make_runner):
    runner = make_runner(Counted, InSection)
    p = job(runner, [0, 10, "x", 20, "y"])
    p.scripts.process(p)
    pp = scripts.PostprocessImageArgs("picture")
    p.scripts.postprocess_image(p, pp)
    p.scripts.postprocess_batch(p, "tensor", batch_number=3)
    in_section, counted = runner.script("In section"), runner.script("Counted")
    assert in_section.calls[0] == ("process", (10, "x"))
    assert counted.calls == [
        ("process", (20, "y")),
        ("postprocess_image", (20, "y")),
        ("postprocess_batch", (20, "y"), {"images": "tensor", "batch_number": 3}),
    ]
    assert pp.image == "picture!!"


def test_failing_hook_is_named_and_the_others_are_called(make_runner, caplog):
    runner = make_runner(Failing, Counted)
    p = job(runner)
    runner.process(p)
    assert runner.script("Counted").calls == [("process", (1, ""))]
    assert "Script failing.py failed in process: ValueError: bad hook [/x/failing.py]" in caplog.text
    assert "bad hook" in caplog.text


def test_selectable_script_gets_no_hooks_of_the_job(make_runner):
    runner = make_runner(Chosen)
    runner.process(job(runner))
    assert not runner.script("Chosen One").processed


def test_only_overridden_hooks_are_called(make_runner):
    runner = make_runner(Counted, Failing)
    assert [script.title() for script in runner.list_scripts_for_method("postprocess_image")] == ["Counted"]
    assert runner.list_scripts_for_method("before_hr") == []


def test_every_hook_of_the_table_reaches_the_script(make_runner):
    seen = []

    def remember(name):
        return lambda self, *args, **kwargs: seen.append(name)

    hooks = [
        name for name in scripts.ScriptRunner().callback_names if name not in ("before_component", "after_component")
    ]
    hooks += ["before_hr", "process_before_every_sampling"]
    cls = type("All", (Counted,), {name: remember(name) for name in hooks} | {"title": lambda self: "All"})
    runner = make_runner(cls)
    p = job(runner)
    special = {"postprocess", "post_sample", "on_mask_blend", "postprocess_maskoverlay", "postprocess_batch_list"}
    special |= {"postprocess_image", "postprocess_image_after_composite", "postprocess_batch"}
    for name in hooks:
        getattr(runner, name)(p, *(["special"] if name in special else []))
    assert seen == hooks


def test_setup_is_called_once_when_runner_and_arguments_are_there(make_runner):
    runner = make_runner(FromPage, SetUp)
    job(runner)
    assert [script.set_up for script in runner.scripts] == [1, 1]


def test_setup_of_the_form_is_skipped_for_the_api(make_runner):
    runner = make_runner(FromPage, SetUp)
    p = StableDiffusionProcessingTxt2Img(prompt="red apple")
    p.is_api = True
    p.scripts = runner
    p.script_args = runner.default_args
    assert [script.set_up for script in runner.scripts] == [0, 1]


def test_chosen_script_carries_the_job_out(make_runner):
    runner = make_runner(WithoutControls, Chosen)
    p = job(runner)
    result = runner.run(p, 2, 7, 8)
    assert (result.images, result.seed, result.info) == ([7, 8], 5, "done")
    assert runner.run(p, 1, 7, 8) is None
    assert runner.run(p, 0, 7, 8) is None
    assert runner.run(p) is None


def test_wrong_number_of_script_arguments_is_bad_input(make_runner):
    runner = make_runner(Chosen)
    with pytest.raises(InvalidInput, match="script_args of Chosen One are amount, letter") as caught:
        runner.run(job(runner), 1, 7)
    assert caught.value.field == "script_args"


def test_script_whose_controls_fail_is_dropped(make_runner, caplog):
    runner = make_runner(BrokenUi, BrokenUiChosen, Counted, Chosen)
    assert [script.title() for script in runner.scripts] == ["Counted", "Chosen One"]
    assert runner.titles == ["Chosen One"]
    assert [name for name, _ in runner.inputs[0].choices] == ["None", "Chosen One"]
    assert runner.run(job(runner), 1, 1, "", 2, 0).images == [2, 0]
    assert "no controls" in caplog.text
    assert "/x/brokenui.py" in caplog.text


def test_a_forgotten_return_is_told_once(make_runner, caplog):
    class Forgetful(Counted):
        def ui(self, is_img2img):
            gr.Number()

        def postprocess_image(self, p, pp, strength):
            """Gets no strength."""

    for _ in range(2):
        runner = make_runner(Forgetful, WithoutControls)
        assert [script.title() for script in runner.scripts] == ["Counted", "Without controls"]
    said = "it returned no controls, but postprocess_image() asks for values of 1: is its `return` missing?"
    assert caplog.text.count(said) == 1 and "failed in ui" in caplog.text and "WithoutControls" not in caplog.text
    runner.process(job(runner))
    assert runner.script("Counted").calls == [("process", ())]


def test_script_that_cannot_be_made_is_left_out(make_runner, caplog):
    class BrokenInit(Counted):
        def __init__(self):
            raise RuntimeError("bad init")

    runner = make_runner(BrokenInit, Chosen)
    assert [script.title() for script in runner.scripts] == ["Chosen One"]
    assert "bad init" in caplog.text


def test_script_without_controls_has_no_name(make_runner):
    runner = make_runner(WithoutControls)
    assert runner.scripts[0].name is None
    assert runner.scripts[0].args_from == runner.scripts[0].args_to == 1


def test_scripts_are_made_anew_each_time(make_runner):
    runner = make_runner(Counted)
    first = runner.scripts[0]
    runner.initialize_scripts(is_img2img=True)
    assert runner.scripts[0] is not first
    assert runner.scripts[0].tabname == "img2img"


def test_further_scripts_come_before_those_of_files(make_runner, monkeypatch):
    data = ScriptClassData(Failing, "/y.py", "/", None)
    monkeypatch.setattr(scripts, "script_data_sources", [lambda: [data]])
    runner = ScriptRunner()
    monkeypatch.setattr(scripts, "scripts_data", [ScriptClassData(Counted, "/x.py", "/", None)])
    runner.initialize_scripts(is_img2img=False)
    assert [script.filename for script in runner.scripts] == ["/y.py", "/x.py"]


def test_element_ids(make_runner):
    assert make_runner(Counted).scripts[0].controls[0].elem_id == "script_txt2img_counted_one"
    assert make_runner(Counted, is_img2img=True).scripts[0].elem_id("x") == "script_img2img_counted_x"
    assert make_runner(Img2ImgOnly, is_img2img=True).scripts[0].elem_id("x") == "script_only_img2img_x"
    assert make_runner(FromPage).scripts[0].elem_id("seed") == "txt2img_seed"


def test_named_argument_is_replaced(make_runner):
    runner = make_runner(Counted)
    assert runner.set_named_arg((0, 1, ""), "counted", "script_txt2img_counted_two", "new") == (0, 1, "new")
    args = [0, 1, ""]
    assert runner.set_named_arg(args, "counted", "counted_one", 5, fuzzy=True) is args
    assert args == [0, 5, ""]
    with pytest.raises(RuntimeError, match="script nothing not found"):
        runner.set_named_arg(args, "nothing", "x", 1)
    with pytest.raises(RuntimeError, match="arg_elem_id x not found in script counted"):
        runner.set_named_arg(args, "counted", "x", 1)


def test_setting_moves_a_hook_to_the_front(make_runner, monkeypatch):
    class Second(Counted):
        def title(self):
            return "Second"

    runner = make_runner(Counted, Second)
    name = runner.ordered_callbacks("process", enable_user_sort=False)[1].name
    assert name == "base/second.py/script_process/Second"
    monkeypatch.setitem(shared.opts.data, "prioritized_callbacks_script_process", [name])
    assert [script.title() for script in runner.ordered_scripts("process")] == ["Second", "Counted"]
    assert [script.title() for script in runner.ordered_scripts("postprocess_image")] == ["Counted", "Second"]


def test_order_is_worked_out_anew_when_scripts_are_added(make_runner):
    runner = make_runner(Counted)
    assert len(runner.ordered_scripts("process")) == 1
    late = Failing()
    late.filename = "/x/late.py"
    runner.scripts.append(late)
    runner.alwayson_scripts.append(late)
    assert runner.ordered_scripts("process")[1] is late


def test_component_hooks_see_the_page_being_built(monkeypatch, make_runner):
    seen = []

    class Watching(Script):
        def __init__(self):
            self.on_before_component(
                lambda on: seen.append(("before early", dict(vars(on.component)))), elem_id="early"
            )
            self.on_after_component(lambda on: seen.append(("after early", on.component.elem_id)), elem_id="early")

        def title(self):
            return "Watching"

        def ui(self, is_img2img):
            self.on_after_component(lambda on: seen.append(("after", on.component.elem_id)), elem_id="early")
            self.on_after_component(lambda on: seen.append(("after", on.component.elem_id)), elem_id="late")
            return []

        def before_component(self, component, **kwargs):
            seen.append(("before_component", kwargs.get("elem_id")))

        def after_component(self, component, **kwargs):
            raise ValueError("not this one")

    monkeypatch.setattr(scripts, "scripts_data", [ScriptClassData(Watching, "/w.py", "/", None)])
    runner = ScriptRunner()
    monkeypatch.setattr(scripts, "scripts_current", runner)
    runner.initialize_scripts(is_img2img=False)
    with script_ui.unseen_page():
        gr.Textbox(elem_id="early")
        runner.prepare_ui()
        runner.setup_ui()
        gr.Textbox(elem_id="late")
    mine = [entry for entry in seen if entry[1] in ({}, "early", "late")]
    assert mine == [
        ("before early", {}),
        ("before_component", "early"),
        ("after early", "early"),
        ("before_component", "late"),
        ("after", "late"),
    ]


def test_infotext_fields_of_all_scripts_are_collected(make_runner):
    class WithFields(Counted):
        def ui(self, is_img2img):
            number = gr.Number()
            self.infotext_fields = [(number, "Steps")]
            self.paste_field_names = ["Steps"]
            return [number]

    runner = make_runner(WithFields)
    assert [target for _, target in runner.infotext_fields[:1]] == ["Steps"]
    assert runner.paste_field_names == ["Steps"]
    menu, pasted = runner.infotext_fields[-1]
    assert menu is runner.inputs[0]
    assert pasted({"Script": "Counted"})["value"] == "Counted"
    assert pasted({})["value"] == "None"


def test_sections_and_hooks_are_listed_for_the_settings(make_runner, monkeypatch):
    monkeypatch.setattr(scripts, "scripts_txt2img", make_runner(InSection))
    monkeypatch.setattr(scripts, "scripts_img2img", make_runner(InSection, Failing, is_img2img=True))
    assert shared_items.items("script_sections") == ["my_section"]
    hooks = dict(shared_items.items("script_hook_callbacks"))
    assert [callback.name for callback in hooks["script_process"]] == [
        "base/insection.py/script_process/InSection",
        "base/failing.py/script_process/Failing",
    ]


CHANGING = """
from modules import scripts

class Changing(scripts.Script):
    def title(self):
        return "Changing"

    def run(self, p):
        return {}
"""


def test_reloaded_code_runs_on_the_same_controls(tmp_path, make_runner, monkeypatch):
    path = tmp_path / "changing.py"
    path.write_text(CHANGING.format(1), encoding="utf8")
    module = script_loading.load_module(str(path))
    monkeypatch.setattr(scripts, "scripts_data", [ScriptClassData(module.Changing, str(path), str(tmp_path), module)])
    runner = ScriptRunner()
    runner.initialize_scripts(is_img2img=False)
    script = runner.scripts[0]
    script.args_from = 7
    path.write_text(CHANGING.format(2), encoding="utf8")
    monkeypatch.setattr(scripts, "scripts_txt2img", runner)
    monkeypatch.setattr(scripts, "scripts_img2img", ScriptRunner())
    scripts.reload_script_body_only()
    assert runner.scripts[0] is script
    assert (script.run(None), script.args_from) == (2, 7)


def test_failing_call_gives_the_default(caplog):
    def broken():
        raise ValueError("broken call")

    assert scripts.wrap_call(broken, "file.py", "ui", default=3) == 3
    assert scripts.wrap_call(lambda x: x + 1, "file.py", "ui", 3) == 4
    assert "Script file.py failed in ui: ValueError: broken call" in caplog.text


def test_job_without_arguments_gives_hooks_none(make_runner):
    runner = make_runner(Failing, Counted)
    p = StableDiffusionProcessingImg2Img(prompt="x")
    p.scripts = runner
    runner.process(p)
    assert runner.script("Counted").calls == [("process", ())]


FILES = {
    "aaa/scripts/one.py": """
from __future__ import annotations
import dataclasses
import gradio as gr
from modules import scripts, script_callbacks
from scripts.one_helper import VALUE
import one_library

folder = scripts.basedir()
script_callbacks.on_ui_settings(lambda: None)


@dataclasses.dataclass
class Data:
    number: int = one_library.NUMBER


class MyTextbox(gr.Textbox):
    pass


class One(scripts.Script):
    def title(self):
        return "One"

    def lazily(self):
        from scripts import one_late
        return one_late.VALUE
""",
    "aaa/scripts/one_helper.py": "VALUE = 1",
    "aaa/scripts/one_late.py": "VALUE = 2",
    "aaa/scripts/__init__.py": "",
    "aaa/one_library.py": "NUMBER = 3",
    "bbb/metadata.ini": "[scripts/two.py]\nBefore = aaa\n",
    "bbb/scripts/two.py": """
from modules import scripts
from modules.scripts_postprocessing import ScriptPostprocessing
from modules.scripts import Script


class Two(Script):
    def title(self):
        return "Two"


class After(ScriptPostprocessing):
    name = "After"
""",
    "bbb/scripts/broken.py": "raise ImportError('cannot be loaded')",
    "bbb/style.css": "",
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, loaded_program):
    """All scripts loaded with two extensions more; afterwards without them."""
    root = tmp_path_factory.mktemp("extensions")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extensions, "extensions_dir", str(root))
        extensions.list_extensions()
        scripts.load_scripts()
        yield {Path(data.path).name: data for data in scripts.scripts_data}
    sys.path[:] = [entry for entry in sys.path if not entry.startswith(str(root))]
    extensions.list_extensions()
    scripts.load_scripts()
    script_callbacks.before_ui_callback()
    script_ui.ensure_controls()


def test_load_order_is_that_of_folders_and_metadata(loaded):
    names = list(loaded)
    assert names.index("loopback.py") < names.index("soft_inpainting_script.py") < names.index("two.py")
    assert names.index("two.py") < names.index("one.py") < names.index("sampler.py")
    assert names[-4:] == ["comments.py", "refiner.py", "sampler.py", "seed.py"]


def test_file_that_fails_leaves_the_others(loaded):
    assert "broken.py" not in loaded
    assert "broken.py" not in sys.modules
    assert "two.py" in loaded


def test_base_classes_are_no_scripts(loaded):
    classes = [data.script_class for data in scripts.scripts_data]
    assert Script not in classes
    assert ScriptBuiltinUI not in classes


def test_module_is_called_like_its_file(loaded):
    data = loaded["one.py"]
    assert data.module.__name__ == data.script_class.__module__ == "one.py"
    assert inspect.getfile(data.script_class) == data.path
    assert data.module.Data().number == 3


def test_folder_of_the_extension_is_known_while_loading(loaded):
    data = loaded["one.py"]
    assert data.module.folder == data.basedir
    assert scripts.basedir() == str(Path(scripts.__file__).resolve().parent.parent)


def test_own_and_program_scripts_share_a_package(loaded):
    import scripts.prompt_matrix as program_script

    assert loaded["one.py"].script_class().lazily() == 2
    assert program_script.Script().title() == "Prompt matrix"


def test_callbacks_belong_to_the_file_that_registers_them(loaded):
    callbacks = dict(script_callbacks.enumerate_callbacks())["ui_settings"]
    mine = [callback for callback in callbacks if callback.script == loaded["one.py"].path]
    assert [callback.name for callback in mine] == ["aaa/one.py/ui_settings"]


def test_postprocessing_scripts_are_listed_apart(loaded):
    assert "After" in [data.script_class.name for data in scripts.postprocessing_scripts_data]
    assert "two.py" in [Path(data.path).name for data in scripts.postprocessing_scripts_data]


def test_loading_again_forgets_scripts_and_replaced_functions(loaded):
    runner = scripts.scripts_txt2img
    runner.run = lambda *args: "replaced"
    scripts.load_scripts()
    assert scripts.scripts_txt2img is runner
    assert runner.run.__func__ is ScriptRunner.run
    assert runner.scripts == []
    callbacks = dict(script_callbacks.enumerate_callbacks())["ui_settings"]
    assert sum(callback.script == loaded["one.py"].path for callback in callbacks) == 1


def test_files_with_a_name_are_found_in_program_and_extensions(loaded):
    root = Path(loaded["two.py"].basedir)
    assert str(root / "style.css") in scripts.list_files_with_name("style.css")
    assert scripts.list_files_with_name("no such file") == []
