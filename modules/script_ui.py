"""face: what the scripts' runners need of Gradio: blocks around controls, the script menu, descriptions of controls.

Importing it makes them able to build controls. For an API without a page, `ensure_controls` builds them in blocks that
nobody sees, because the values of a request are laid over those of the controls.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio.context import Context, get_render_context, set_render_context

from modules import (
    gradio_extensons,  # noqa: F401  # scripts are written for what it gives Gradio
    scripts,
    scripts_auto_postprocessing,  # noqa: F401  # adds postprocessing scripts to those of the tabs
    scripts_postprocessing,
    shared_items,
)
from modules.scripts import Script, ScriptRunner

build_lock = threading.Lock()


class GradioControls:
    """The builder of controls that runners use."""

    def group(self, visible: bool) -> gr.Group:
        """Makes the block that holds a script's controls."""
        return gr.Group(visible=visible)

    @contextmanager
    def whole_or_not_at_all(self) -> Iterator[None]:
        """Takes the blocks and events that were made inside off the page when it ends with an error."""
        parent, page = get_render_context(), Context.root_block
        if page is None:
            yield
            return
        blocks, events = set(page.blocks), set(page.fns.keys())
        try:
            yield
        except Exception:
            set_render_context(parent)
            Context.root_block = page
            for made in page.blocks.keys() - blocks:
                page.blocks[made].unrender()
            for made in page.fns.keys() - events:
                del page.fns[made]
            raise

    def describe(self, script: Script) -> dict[str, Any]:
        """Returns what GET /sdapi/v1/script-info says of a script. Its controls learn which file they come from."""
        for control in script.controls:
            control.custom_script_source = os.path.basename(script.filename)
        return {
            "name": script.name,
            "is_alwayson": script.alwayson,
            "is_img2img": script.is_img2img,
            "args": [describe_control(control) for control in script.controls],
        }

    def default_arg(self, control: Any) -> Any:
        """Returns the value a control is made with, as the script gets it; a menu of type index gives a position."""
        value = initial_value(control)
        if getattr(control, "type", None) == "index":
            names = choice_names(control)
            return names.index(value) if value in names else None
        return value

    def script_menu(self, titles: list[str]) -> gr.Dropdown:
        """Makes the menu of scripts that are chosen one at a time."""
        return gr.Dropdown(label="Script", elem_id="script_list", choices=["None", *titles], value="None", type="index")

    def connect_script_menu(self, menu: gr.Dropdown, runner: ScriptRunner) -> None:
        """Lets the menu show the controls of the chosen script and hide the others."""
        menu.choices = [(title, title) for title in ("None", *runner.titles)]
        with_group = [script for script in runner.selectable_scripts if script.group is not None]

        def show_chosen(choice: int | None) -> list[Any]:
            """Returns which groups of controls are visible when the menu stands at a position."""
            chosen = runner.selectable_scripts[choice - 1] if choice else None
            return [gr.update(visible=script is chosen) for script in with_group]

        def show_at_start(title: str) -> None:
            """Shows the controls of the script that the stored defaults of the page choose."""
            script = runner.script(title)
            if script in with_group:
                script.group.visible = True

        menu.init_field = show_at_start
        menu.change(
            fn=show_chosen, inputs=[menu], outputs=[script.group for script in with_group], show_progress="hidden"
        )
        runner.infotext_fields.append((menu, lambda parameters: gr.update(value=parameters.get("Script", "None"))))


def initial_value(control: Any) -> Any:
    """Returns the value a control starts with; empty where Gradio has none yet but its user expects something empty."""
    value = getattr(control, "value", None)
    if value is not None:
        return value
    if isinstance(control, gr.Textbox):
        return ""
    return control.minimum if isinstance(control, gr.Slider) else None


def choice_names(control: Any) -> list[str] | None:
    """Returns the names of what can be chosen with a control; None for one that offers no choice."""
    choices = getattr(control, "choices", None)
    if choices is None:
        return None
    return [str(choice[0] if isinstance(choice, tuple) else choice) for choice in choices]


def describe_control(control: Any) -> dict[str, Any]:
    """Returns label, value, limits and choices of a control, without what it does not have."""
    limits = {name: getattr(control, name, None) for name in ("minimum", "maximum", "step")}
    said = {"value": initial_value(control), **limits, "choices": choice_names(control)}
    return {"label": control.label or "", **{name: value for name, value in said.items() if value is not None}}


@contextmanager
def unseen_page() -> Iterator[None]:
    """Blocks that nobody will see."""
    with gr.Blocks(analytics_enabled=False):
        yield


def build_unseen(runner: ScriptRunner, is_img2img: bool) -> None:
    """Makes the scripts of a tab and their controls without its page."""
    scripts.scripts_current = runner
    try:
        runner.initialize_scripts(is_img2img)
        with unseen_page():
            runner.prepare_ui()
            for section in shared_items.ui_reorder_categories():
                runner.setup_ui_for_section(section)
            runner.setup_ui()
    finally:
        scripts.scripts_current = None


def ensure_controls() -> None:
    """Makes the controls of the scripts of both tabs, unless the page has made them."""
    with build_lock:
        for runner, is_img2img in ((scripts.scripts_txt2img, False), (scripts.scripts_img2img, True)):
            if runner.inputs[0] is None:
                build_unseen(runner, is_img2img)


def default_args(runner: ScriptRunner) -> list[Any]:
    """Returns the argument list of a request that says nothing about scripts: no script chosen, each control as it is
    made.
    """
    ensure_controls()
    return list(runner.default_args)


@contextmanager
def whole_group() -> Iterator[gr.Group]:
    """Makes the block that holds the controls of a postprocessing script, and takes it off the page if that fails."""
    with ScriptRunner.controls_builder.whole_or_not_at_all(), gr.Group() as group:
        yield group


ScriptRunner.controls_builder = GradioControls()
scripts_postprocessing.set_control_builder(scripts_postprocessing.ControlBuilder(blocks=unseen_page, group=whole_group))
