import inspect
from dataclasses import dataclass

import gradio as gr
import pytest

from modules import infotext_utils
from modules.job.request import Txt2ImgFields
from modules.ui_form import Form, named_values


@dataclass(frozen=True)
class Values:
    prompt: str
    steps: int
    script_args: tuple


@named_values(Values)
def job(id_task: str, request: gr.Request, values: Values, loud: bool = False):
    """A job."""
    return id_task, request, values, loud


def test_job_takes_a_list_and_gets_names():
    assert job("task(1)", None, "apple", 20, "a", "b") == ("task(1)", None, Values("apple", 20, ("a", "b")), False)
    assert job("task(1)", None, "apple", 20, loud=True)[3] is True


def test_signature_names_the_values():
    parameters = inspect.signature(job).parameters
    assert list(parameters) == ["id_task", "request", "prompt", "steps", "args", "loud"]
    assert parameters["args"].kind is inspect.Parameter.VAR_POSITIONAL
    assert parameters["request"].annotation in (gr.Request, "gr.Request")


def test_too_few_values_are_refused():
    with pytest.raises(TypeError, match="Values needs 2 values, got 1"):
        job("task(1)", None, "apple")


@pytest.fixture
def form():
    with gr.Blocks():
        form = Form("tab", Values)
        form.add("steps", gr.Slider(value=20), paste="Steps")
        form.add("prompt", gr.Textbox(), paste="Prompt", api="text")
        form.script_inputs = [gr.Checkbox()]
    return form


def test_controls_are_sent_in_the_order_of_the_values(form):
    assert form.inputs() == [form["prompt"], form["steps"], form.script_inputs[0]]


def test_paste_rules_become_paste_fields(form):
    form.add_paste(form["steps"], lambda parameters: parameters.get("Odd"))
    fields = form.paste_fields()
    assert all(isinstance(field, infotext_utils.PasteField) for field in fields)
    assert [(field.label, field.api) for field in fields] == [("Steps", "steps"), ("Prompt", "text"), (None, None)]
    assert fields[2].function({"Odd": 3}) == 3


def test_prompts_are_first_among_the_paste_fields_wherever_they_stand_on_the_page():
    with gr.Blocks():
        form = Form("tab", Values, Txt2ImgFields)
        form.add("steps", gr.Slider(value=20), paste="Steps")
        form.add_paste(gr.Row(), len)
        form.add("prompt", gr.Textbox())
    assert [field.api for field in form.paste_fields()] == ["prompt", "steps", None]


def test_unknown_and_missing_controls_are_named(form):
    with pytest.raises(KeyError, match="speed"):
        form.add("speed", None)
    del form.controls["steps"]
    with pytest.raises(KeyError, match="steps"):
        form.inputs()


def test_controls_of_request_fields_are_filled_from_their_keys():
    with gr.Blocks():
        form = Form("tab", Values, Txt2ImgFields)
        form.add("prompt", gr.Textbox())
        form.add("steps", gr.Slider(value=20))
        own = form.add("prompt", gr.Textbox(), paste="Prompt of my own")
    targets = [(rule.target, rule.component is own) for rule in form.paste_rules]
    assert targets == [("Prompt", False), ("Prompt of my own", True)]
