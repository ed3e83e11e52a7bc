"""What a script is before anybody writes one: hooks that do nothing, ids, and who waits for which component."""

import inspect

import pytest

from modules import scripts
from modules.hooks import SCRIPT_HOOKS
from modules.script_base import AlwaysVisible, OnComponent, Script, ScriptBuiltinUI


class Named(Script):
    """On both tabs, unless told otherwise."""

    tabs = (True, True)

    def __init__(self, title="My script", is_img2img=False):
        self.text = title
        self.is_img2img = is_img2img

    def title(self):
        return self.text

    def show(self, is_img2img):
        return self.tabs[is_img2img]


class NamedPart(ScriptBuiltinUI, Named):
    """A part of the form, on both tabs."""


@pytest.mark.parametrize("hook", [spec.registrar.removeprefix("script_") for spec in SCRIPT_HOOKS.values()] + ["run"])
def test_hooks_do_nothing_by_themselves(hook):
    function = getattr(Script(), hook)
    required = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    positional = [None for p in required if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert function(*positional) is None


@pytest.mark.parametrize("hook", [spec.registrar.removeprefix("script_") for spec in SCRIPT_HOOKS.values()])
def test_hooks_say_when_they_are_called(hook):
    assert inspect.getdoc(getattr(Script, hook)).startswith("Is called ")


def test_script_without_a_title_is_none():
    with pytest.raises(NotImplementedError):
        Script().title()


def test_fresh_script():
    script = Script()
    assert script.show(True) is script.show(False) is True
    assert script.ui(False) is None
    assert script.describe() == ""
    assert (script.args_from, script.args_to, script.controls, script.infotext_fields) == (None,) * 4


@pytest.mark.parametrize(
    ("title", "part"),
    [
        ("My script", "my_script"),
        ("X/Y/Z plot", "xyz_plot"),
        ("Poor man's outpainting", "poor_mans_outpainting"),
        ("img2img alternative test", "img2img_alternative_test"),
        ("Ünï 1-2", "n_12"),
        ("two  blanks\ttab", "two__blanks_tab"),
    ],
)
def test_element_ids_are_made_of_the_title(title, part):
    assert Named(title).elem_id("size") == f"script_txt2img_{part}_size"


def test_element_ids_name_the_tab_only_where_both_have_the_script():
    assert Named(is_img2img=True).elem_id("a") == "script_img2img_my_script_a"
    assert Named(is_img2img=False).elem_id("a") == "script_txt2img_my_script_a"
    one_tab = Named(is_img2img=True)
    one_tab.tabs = (False, True)
    assert one_tab.elem_id("a") == "script_my_script_a"


def test_part_of_the_form_has_ids_without_its_title():
    part = NamedPart(is_img2img=True)
    assert part.show(True) is part.show(False) is AlwaysVisible
    assert part.elem_id("seed") == "img2img_seed"
    assert part.setup_for_ui_only and not Script.setup_for_ui_only


def test_callbacks_for_components_are_kept_in_order():
    script, other = Named(), Named()
    first, second = (lambda component: None), (lambda component: None)
    script.on_before_component(first, elem_id="txt2img_prompt")
    script.on_before_component(second, elem_id="txt2img_prompt")
    script.on_after_component(second, elem_id="txt2img_steps")
    assert script.on_before_component_elem_id == [("txt2img_prompt", first), ("txt2img_prompt", second)]
    assert script.on_after_component_elem_id == [("txt2img_steps", second)]
    assert other.on_before_component_elem_id is None
    assert Script.on_before_component_elem_id is None


def test_component_is_handed_on():
    component = object()
    assert OnComponent(component).component is component


def test_names_are_those_of_the_module_extensions_know():
    for name in ("Script", "AlwaysVisible", "OnComponent", "PostprocessImageArgs", "PostSampleArgs", "MaskBlendArgs"):
        assert hasattr(scripts, name)
    assert scripts.Script is Script
