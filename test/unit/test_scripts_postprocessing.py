from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from PIL import Image

from modules import scripts_postprocessing, shared
from modules.scripts_postprocessing import (
    ControlBuilder,
    PostprocessedImage,
    ScriptPostprocessing,
    ScriptPostprocessingRunner,
)


def image(size=4):
    return Image.new("RGB", (size, size))


def script_class(name, order=1000, work=None, controls=("enable", "amount")):
    """A script that notes its calls; work(pp, **args) does what it is to do with a picture."""

    class Script(ScriptPostprocessing):
        def __init__(self):
            self.calls = []

        def ui(self):
            return {control: SimpleNamespace(name=f"{name}.{control}") for control in controls}

        def process_firstpass(self, pp, **args):
            self.calls.append("first")

        def process(self, pp, enable, amount=1):
            self.calls.append((pp.image.size, enable, amount))
            if work:
                work(pp)

        def image_changed(self):
            self.calls.append("changed")

    Script.name, Script.order = name, order
    return Script


def runner_of(*classes):
    runner = ScriptPostprocessingRunner()
    runner.initialize_scripts([SimpleNamespace(script_class=cls, path=f"/scripts/{cls.name}.py") for cls in classes])
    return runner


@pytest.fixture
def builder():
    before = scripts_postprocessing.control_builders[:]
    scripts_postprocessing.set_control_builder(ControlBuilder(blocks=nullcontext, group=lambda: nullcontext("box")))
    yield
    scripts_postprocessing.control_builders[:] = before


def names(runner):
    return [script.name for script in runner.scripts_in_preferred_order()]


def test_suffix_tells_pictures_apart():
    pp = PostprocessedImage(image())
    used = {}
    assert [pp.get_suffix(used) for _ in range(3)] == ["", "-1", "-2"]
    copy = pp.create_copy(image(), nametags=["a", "b"])
    assert [copy.get_suffix(used), copy.get_suffix(used)] == ["-a-b", "-a-b-1"]
    assert copy.get_suffix() == "-a-b"


def test_copy_knows_what_the_original_knows():
    pp = PostprocessedImage(image())
    pp.info["Key"] = "value"
    copy = pp.create_copy(image(2), disable_processing=True)
    copy.info["Other"] = "x"
    assert copy.shared is pp.shared
    assert (pp.info, copy.info) == ({"Key": "value"}, {"Key": "value", "Other": "x"})
    assert copy.disable_processing


def test_order_is_setting_then_number_then_name():
    runner = runner_of(script_class("C", 1), script_class("B", 2), script_class("A", 2), script_class("Simple Upscale"))
    assert names(runner) == ["C", "A", "B"]
    with shared.opts.overlay({"postprocessing_operation_order": ["B"], "postprocessing_disable_in_extras": ["C"]}):
        assert names(runner) == ["B", "A"]


def test_scripts_come_from_the_loaded_files(monkeypatch):
    row = SimpleNamespace(script_class=script_class("A"), path="a.py")
    monkeypatch.setattr(scripts_postprocessing, "postprocessing_scripts_data", [row])
    runner = ScriptPostprocessingRunner()
    assert names(runner) == ["A"]
    assert runner.scripts[0].filename == "a.py"


def test_run_with_values_of_controls(builder):
    runner = runner_of(script_class("A"), script_class("B"))
    inputs = runner.setup_ui()
    assert [control.name for control in inputs] == ["A.enable", "A.amount", "B.enable", "B.amount"]
    assert inputs[0].custom_script_source == "A.py"
    assert [script.group for script in runner.scripts] == ["box", "box"]
    runner.run(PostprocessedImage(image()), [True, 2, False, 3])
    assert [script.calls for script in runner.scripts] == [["first", ((4, 4), True, 2)], ["first", ((4, 4), False, 3)]]


def test_arguments_by_name_become_a_list(builder):
    runner = runner_of(script_class("A", 2), script_class("B", 1))
    args = runner.create_args_for_run({"A": {"amount": 5}})
    assert runner.ui_created
    assert args == [None, None, None, 5]
    assert runner.create_args_for_run({}) == [None] * 4


def test_run_with_names_needs_no_controls():
    runner = runner_of(script_class("A"), script_class("B"))
    runner.run_with_names(PostprocessedImage(image()), {"A": {"enable": True, "amount": 7}})
    first, second = runner.scripts
    assert first.calls[1] == ((4, 4), True, 7)
    assert second.calls[1] == ((4, 4), None, None)
    assert not runner.ui_created


def test_scripts_that_take_anything_get_what_is_given():
    script = ScriptPostprocessing()
    assert scripts_postprocessing.named_arguments(script, {"x": 1}) == {"x": 1}
    assert script.ui() == {}
    assert script.process(None) is script.process_firstpass(None) is script.image_changed() is None


def test_added_pictures_are_seen_by_later_scripts_only():
    def split(pp):
        pp.extra_images = [image(1), pp.create_copy(image(2), disable_processing=True)]

    runner = runner_of(script_class("A", 1), script_class("B", 2, split), script_class("C", 3))
    pp = PostprocessedImage(image())
    runner.run_with_names(pp, {})
    sizes = [[call[0] for call in script.calls[1:]] for script in runner.scripts]
    assert sizes == [[(4, 4)], [(4, 4)], [(4, 4), (1, 1)]]
    assert [extra.image.size for extra in pp.extra_images] == [(1, 1), (2, 2)]


def test_skip_ends_the_run(monkeypatch):
    monkeypatch.setattr(shared.state, "skipped", False)
    runner = runner_of(script_class("A", 1, lambda pp: setattr(shared.state, "skipped", True)), script_class("B", 2))
    runner.run_with_names(PostprocessedImage(image()), {})
    assert len(runner.scripts[1].calls) == 1
    assert shared.state.job == "A"


def test_new_picture_is_announced():
    runner = runner_of(script_class("A"))
    runner.image_changed()
    assert runner.scripts[0].calls == ["changed"]


@pytest.mark.parametrize("made", [lambda self: 1 / 0, lambda self: ["no", "names"], lambda self: None])
def test_a_script_whose_controls_cannot_be_made_is_reported_and_left_out(made, builder, caplog):
    broken = script_class("A")
    broken.ui = made
    runner = runner_of(broken, script_class("B"))
    assert [control.name for control in runner.setup_ui()] == ["B.enable", "B.amount"]
    assert names(runner) == ["B"] and "Script A.py failed in ui" in caplog.text


def test_a_script_that_cannot_be_made_is_reported_and_left_out(caplog):
    nameless, broken, fine = script_class("A"), script_class("C"), script_class("B")
    nameless.name = None
    broken.__init__ = lambda self: 1 / 0
    classes = {"A": nameless, "B": fine, "C": broken}
    runner = ScriptPostprocessingRunner()
    runner.initialize_scripts([SimpleNamespace(script_class=cls, path=f"{name}.py") for name, cls in classes.items()])
    assert names(runner) == ["B"] and "A.py failed in make: TypeError: Script has no name" in caplog.text
    assert "C.py failed in make: ZeroDivisionError" in caplog.text


def test_settings_of_scripts_are_read_at_each_run():
    runner = runner_of(script_class("A", 1), script_class("B", 2))
    with shared.opts.overlay({"postprocessing_disable_in_extras": ["A"]}):
        read = scripts_postprocessing.ScriptSettings.from_opts(shared.opts)
        assert names(runner) == ["B"]
    assert read.postprocessing_disable_in_extras == ["A"]
    assert names(runner) == ["A", "B"]


def test_later_scripts_see_what_earlier_ones_made_of_an_image():
    def halve(pp):
        pp.image = pp.image.reduce(2)
        pp.info["halved"] = True

    runner = runner_of(script_class("A", 1, halve), script_class("B", 2))
    pp = PostprocessedImage(image())
    runner.run_with_names(pp, {})
    assert runner.scripts[1].calls[1][0] == (2, 2)
    assert pp.info == {"halved": True}


def test_image_that_is_done_is_left_alone_by_later_scripts():
    def finish(pp):
        pp.disable_processing = True

    runner = runner_of(script_class("A", 1, finish), script_class("B", 2))
    runner.run_with_names(PostprocessedImage(image()), {})
    assert runner.scripts[1].calls == ["first"]
