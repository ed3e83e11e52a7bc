import asyncio
import copy
import functools

import gradio as gr
import numpy as np
import pytest
from gradio import blocks, processing_utils
from gradio.state_holder import SessionState
from PIL import Image

from modules import extensions, gradio_extensons, script_callbacks, scripts
from modules.ui_components import ToolButton


def uploaded(path):
    return gr.data_classes.ImageData(path=str(path), orig_name=path.name)


@pytest.mark.parametrize("suffix", ["png", "gif", "tiff"])
def test_images_of_every_mode_reach_handlers_as_they_look(tmp_path, suffix):
    if suffix == "gif":
        image, options, expected = Image.new("P", (1, 1)), {"transparency": 0}, (0, 0, 0, 0)
    else:
        image, options, expected = Image.fromarray(np.full((1, 1), 30000, np.uint16)), {}, (117, 117, 117, 255)
    path = tmp_path / f"a.{suffix}"
    image.save(path, **options)
    component = gr.Image(type="pil", image_mode="RGBA")
    assert component.preprocess(uploaded(path)).getpixel((0, 0)) == expected
    as_it_is = gr.Image(type="pil", image_mode=None).preprocess(uploaded(path))
    assert as_it_is.mode == Image.open(path).mode
    assert component.preprocess(None) is None


def properties(component):
    return component.get_config()


def test_subclass_keeps_its_properties_and_takes_positional_arguments():
    with gr.Blocks():
        button = ToolButton("go", elem_id="go")
    assert (properties(button)["value"], properties(button)["elem_id"]) == ("go", "go")


def test_class_made_in_a_script_can_be_a_component(tmp_path):
    namespace = {"__name__": "a_script", "gr": gr}
    exec("class Fancy(gr.Button):\n    def get_block_name(self):\n        return 'button'\n", namespace)
    with gr.Blocks():
        button = namespace["Fancy"](value="x")
    assert properties(button)["value"] == "x"
    assert button.get_component_class_id() == gr.Button.get_component_class_id()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("cls", "given", "expected"),
    [
        (gr.Image, {"source": "upload", "shape": (1, 2)}, {"sources": ["upload"]}),
        (gr.Slider, {"min": 1, "max": 3, "default": 2}, {"minimum": 1, "maximum": 3, "value": 2}),
        (gr.Textbox, {"show_copy_button": True, "min_lines": 4}, {"buttons": ["copy"], "lines": 4}),
        (gr.File, {"type": "file"}, {"type": "filepath"}),
        (gr.Row, {"open": True, "elem_id": "row"}, {"elem_id": "row"}),
        (gr.Textbox, {"value": "kept", "default": "ignored"}, {"value": "kept"}),
    ],
)
def test_keywords_of_gradio_3_are_translated(cls, given, expected):
    with gr.Blocks():
        component = cls(**given)
    known = {**vars(component), **properties(component)}
    assert {name: known.get(name) for name in expected} == expected


def test_an_unknown_keyword_is_named_once(caplog):
    gradio_extensons.say_unknown.cache_clear()
    with caplog.at_level("INFO"), gr.Blocks(nonsense=1):
        gr.Row(nonsense=1)
        gr.Row(nonsense=2)
    assert [record.getMessage().partition(" in ")[0] for record in caplog.records] == [
        "gr.Blocks has no argument nonsense",
        "gr.Row has no argument nonsense",
    ]


def test_keywords_reach_the_constructor_of_a_subclass_as_they_are():
    class Wrapped(gr.Checkbox):
        @functools.wraps(gr.Checkbox.__init__)
        def __init__(self, *args, setup=None, **kwargs):
            self.setup = setup
            self.mine = kwargs.pop("mine")
            super().__init__(*args, **kwargs)

        def get_block_name(self):
            return "checkbox"

    with gr.Blocks():
        box = Wrapped(True, label="L", default=False, setup=[1], mine=2, elem_id="wrapped", nonsense=3)
    assert (box.setup, box.mine, box.value, box.label) == ([1], 2, True, "L")
    assert properties(box)["elem_id"] == "wrapped"
    again = type(box)(**box.constructor_args, render=False)
    assert (again.setup, again.mine, again.value) == ([1], 2, True)


@pytest.mark.parametrize(("args", "given"), [((0, 0), {}), ((), {"minimum": 0, "maximum": 0}), ((5,), {"max": 5})])
def test_slider_whose_range_comes_later_is_one_step_long(args, given):
    slider = gr.Slider(*args, step=2, **given)
    assert slider.maximum - slider.minimum == 2
    assert gr.Slider(1, 9).maximum == 9 and gr.Slider().maximum == 100


def test_events_between_components_that_are_not_there_are_refused():
    with gr.Blocks() as page:
        button = gr.Button()
        for wrong in ({"inputs": [button, None]}, {"outputs": [None]}, {"inputs": ["a name"]}):
            with pytest.raises(ValueError, match="where components belong"):
                button.click(lambda *args: None, **wrong)
        button.click(lambda value: {button: value}, inputs={button}, outputs=button)
    assert len(page.fns) == 1


def test_the_id_a_subclass_chooses_is_announced(monkeypatch):
    class Named(gr.Button):
        def __init__(self, **kwargs):
            super().__init__(elem_id="chosen", **kwargs)

        def get_block_name(self):
            return "button"

    heard = []
    monkeypatch.setattr(
        script_callbacks, "after_component_callback", lambda component, **kwargs: heard.append(kwargs.get("elem_id"))
    )
    with gr.Blocks():
        Named(value="x")
    assert "chosen" in heard


def test_image_with_a_tool_becomes_a_canvas():
    from modules.ui_canvas import MaskOfGradio3, SketchOfGradio3

    with gr.Blocks():
        mask = gr.Image(tool="sketch", source="upload", elem_id="m", brush_radius=20)
        sketch = gr.Image(tool="color-sketch", source="upload")
        plain = gr.Image(tool="editor", source="upload")
    assert (type(mask), type(sketch), type(plain)) == (MaskOfGradio3, SketchOfGradio3, gr.Image)
    assert mask.elem_id == "m" and mask.brush.default_size == 20


def test_a_gallery_takes_no_uploads_unless_it_says_so():
    with gr.Blocks():
        shown, taking = gr.Gallery(), gr.Gallery(interactive=True)
    assert (shown.interactive, taking.interactive) == (False, True)


def test_state_that_a_function_makes_is_made():
    with gr.Blocks():
        assert gr.State(dict).value == {} and gr.State({"a": 1}).value == {"a": 1}


def test_text_without_a_value_is_empty():
    with gr.Blocks():
        assert gr.Textbox().value == "" and gr.Textbox(value="a").value == "a" and gr.Number().value is None


def test_hidden_component_stays_in_the_page_under_a_class():
    with gr.Blocks():
        hidden = gr.Textbox(visible=False, elem_classes="mine")
        shown = gr.Textbox()
        with gr.Tabs():
            tab = gr.Tab("t", visible=False)
    assert properties(hidden)["visible"] is True
    assert properties(hidden)["elem_classes"] == ["mine", "gradio-textbox", "webui-hidden"]
    assert "webui-hidden" not in properties(shown)["elem_classes"]
    assert properties(tab)["visible"] is False
    assert hidden.visible is False, "Python code sees what it asked for"


def test_what_is_put_among_tabs_stands_beside_them():
    with gr.Blocks() as page:
        with gr.Tabs() as tabs:
            text = gr.Textbox(visible=False)
            with gr.Tab("one") as one:
                gr.Button("press")
            with gr.Tab("two") as two:
                gr.Button("press")
    assert tabs.children == [one, two]
    assert page.children[0] is tabs and page.children[1].children == [text]


def test_update_of_visibility_is_one_of_classes():
    with gr.Blocks():
        box = gr.Textbox()
    box.visible = False
    update = gr.update(visible=False)
    sent = blocks.postprocess_update_dict(box, update)
    assert "visible" not in sent and "webui-hidden" in sent["elem_classes"]
    assert update["visible"] is False, "one update may go to several components"


def test_values_beyond_limits_and_choices_reach_the_handler():
    with gr.Blocks():
        slider = gr.Slider(0, 10)
        dropdown = gr.Dropdown(["a"], value="a")
        by_index = gr.Dropdown(["a"], value="a", type="index")
        radio = gr.Radio(["a"])
        group = gr.CheckboxGroup(["a"], value=[False])
    assert slider.preprocess(30) == 30
    assert dropdown.preprocess("b") == "b"
    assert by_index.preprocess("b") is None
    assert group.preprocess(["a", "b"]) == ["a", "b"] and group.preprocess([False]) == [False]
    assert radio.preprocess("b") == "b" and radio.preprocess("a") == "a"


def test_listener_takes_old_keywords_and_makes_no_endpoint():
    with gr.Blocks() as page:
        button = gr.Button()
        button.click(lambda: None, _js="() => 1", every=None, status_tracker=None)
        button.click(lambda: None, api_name="named")
        page.load(lambda: None, _js="() => 2")
    private, public, load = page.fns.values()
    assert (private.js, private.api_visibility) == ("() => 1", "private")
    assert public.api_visibility == "public"
    assert load.js == "() => 2"


def test_old_names_are_there():
    assert (gr.Box, gr.Variable) == (gr.Group, gr.State)
    assert gr.inputs.Textbox is gr.Textbox
    assert gr.Textbox.update(value="x") == gr.Textbox.update("x") == gr.update(value="x")
    assert gr.Dropdown.update("a", ["a", "b"], label="c") == gr.update(value="a", choices=["a", "b"], label="c")
    assert gr.Slider.update(3, 1, 5) == gr.update(value=3, minimum=1, maximum=5)
    assert gr.Row.update(False) == gr.update(visible=False)
    with gr.Blocks():
        box = gr.Textbox()
    assert box.style(container=False) is box
    picture = Image.new("RGB", (3, 2), "red")
    uri = processing_utils.encode_pil_to_base64(picture)
    assert processing_utils.decode_base64_to_image(uri).tobytes() == picture.tobytes()


def test_events_of_a_page_are_listed_as_they_were():
    with gr.Blocks() as page:
        box, button = gr.Textbox(), gr.Button()
        button.click(lambda text: text, box, box, _js="f")
    (listed,) = page.dependencies
    assert (listed["targets"], listed["trigger"]) == ([button._id], "click")
    assert (listed["inputs"], listed["outputs"], listed["js"]) == ([box._id], [box._id], "f")


def test_what_events_call_is_walked_as_a_list_and_found_by_number():
    with gr.Blocks() as page:
        box, button = gr.Textbox(), gr.Button()
        button.click(str, box, box)

        @button.click(inputs=box, outputs=box, js="x => x")
        def decorated(text):
            return text

    assert [called.fn.__name__ for called in page.fns] == ["str", "decorated"]
    assert [page.fns[called._id] for called in page.fns] == list(page.fns)
    assert list(copy.copy(page.default_config).fns) == list(page.fns)


def test_the_variant_of_old_tool_buttons_is_the_class_of_todays():
    with gr.Blocks():
        button = gr.Button("x", variant="tool", elem_classes=["own"])
    assert properties(button)["variant"] == "secondary"
    assert {"tool", "own"} <= set(properties(button)["elem_classes"])


def test_tooltip_and_classes_reach_the_page():
    with gr.Blocks():
        dropdown = gr.Dropdown(["a"], multiselect=True, tooltip="choose")
    assert properties(dropdown)["webui_tooltip"] == "choose"
    assert {"gradio-dropdown", "multiselect"} <= set(properties(dropdown)["elem_classes"])


def test_scripts_hear_of_components_while_the_page_is_built(monkeypatch):
    heard = []

    class Runner:
        def before_component(self, component, **kwargs):
            heard.append(("before", kwargs.get("elem_id"), hasattr(component, "value")))

        def after_component(self, component, **kwargs):
            heard.append(("after", kwargs.get("elem_id"), getattr(component, "value", None)))

    monkeypatch.setattr(scripts, "scripts_current", Runner())
    with gr.Blocks():
        box = gr.Textbox("v", elem_id="x")
    assert [entry for entry in heard if entry[1] == "x"] == [("before", "x", False), ("after", "x", "v")]

    heard.clear()
    type(box)(**box.constructor_args, render=False)
    assert heard == [], "an event re-creates components; scripts do not hear of that"


def test_events_added_to_a_page_that_is_served_reach_it_without_a_new_application():
    with gr.Blocks() as page:
        button = gr.Button()
    served = page.app
    with gradio_extensons.without_new_applications(), page:
        button.click(None, js="f")
    assert page.app is served and [event["js"] for event in page.config["dependencies"]] == ["f"]


def test_parts_of_a_page_are_no_applications():
    with gradio_extensons.parts_of_a_page():
        with gr.Blocks() as part:
            gr.Textbox()
    assert part.app is None and part.config == {}
    with gr.Blocks() as own:
        gr.Textbox()
    assert own.app is not None and own.config["components"]


HANDLERS = """
def fails(text):
    return {}["<b>"]

def halfway(text):
    yield "first"
    raise RuntimeError("halfway")

async def waits(text):
    raise ValueError("waited")

def says(text):
    import gradio as gr
    raise gr.Error("its own words")

def speechless(text):
    return []
"""


@pytest.fixture
def handlers(tmp_path, monkeypatch):
    """Functions of an extension."""
    script = tmp_path / "handling" / "scripts" / "main.py"
    script.parent.mkdir(parents=True)
    script.write_text(HANDLERS, encoding="utf8")
    found = extensions.Extension("handling", str(tmp_path / "handling"))
    monkeypatch.setitem(extensions.extension_paths, str(tmp_path / "handling"), found)
    names = {}
    exec(compile(HANDLERS, str(script), "exec"), names)
    return names


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("fails", "Extension handling failed in event (scripts/main.py, line 3): KeyError: &#x27;&lt;b&gt;&#x27;"),
        ("halfway", "Extension handling failed in event (scripts/main.py, line 7): RuntimeError: halfway"),
        ("waits", "Extension handling failed in event (scripts/main.py, line 10): ValueError: waited"),
        ("says", "its own words"),
        ("speechless", "Extension handling failed in event: ValueError: "),
    ],
)
def test_what_a_handler_of_an_extension_throws_is_shown_with_its_place(handlers, name, shown, caplog):
    with gr.Blocks() as page:
        box, other = gr.Textbox(), gr.Textbox()
        gr.Button().click(handlers[name], [box], [box] if name == "halfway" else [box, other])
    (number,) = page.fns.keys()

    async def call():
        result = await page.process_api(number, ["x"], state=SessionState(page))
        if result["iterator"]:
            await page.process_api(number, ["x"], state=SessionState(page), iterator=result["iterator"])

    with pytest.raises(gr.Error) as raised:
        asyncio.run(call())
    assert raised.value.message.startswith(shown)
    assert ("main.py" in caplog.text) == (name != "says")


def test_what_our_own_handlers_throw_stays_as_it_is(caplog):
    with gr.Blocks() as page:
        gr.Button().click(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(page.process_api(0, [], state=SessionState(page)))
