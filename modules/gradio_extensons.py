"""face: what the page and its extensions expect of Gradio and Gradio 6 does otherwise, translated in this one file.

Importing it patches Gradio: constructors call the script hooks and take the keywords of Gradio 3, a subclass keeps its
properties, hidden components stay in the page's DOM, values that are out of range reach the handler, and the old names
(`gr.Box`, `.style()`, `.update()`, `_js=`) work. Nothing else in the program knows about any of that.
"""

from __future__ import annotations

import base64
import functools
import html
import inspect
import io
import logging
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, SimpleNamespace
from typing import Any

import gradio as gr
from gradio import blocks, component_meta, events, image_utils, processing_utils
from gradio.context import Context
from PIL import Image

from modules import call_queue, errors, image_ops, patches, script_callbacks, scripts
from modules.hook_records import records

logger = logging.getLogger(__name__)

HIDDEN_CLASS = "webui-hidden"
"""CSS class of hidden components. Gradio itself would leave them out of the DOM, where scripts look for them."""

sketch_components: dict[str, type] = {}
"""`gr.Image(tool=...)` of Gradio 3: the class that stands in for each tool, filled by the module that defines them."""

RENAMED_KEYWORDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "source": lambda value: {"sources": [value]},
    "default": lambda value: {"value": value},
    "min": lambda value: {"minimum": value},
    "max": lambda value: {"maximum": value},
    "min_lines": lambda value: {"lines": value},
    "Interactive": lambda value: {"interactive": value},
    "show_copy_button": lambda value: {"buttons": ["copy"] if value else []},
    "show_download_button": lambda value: {"buttons": ["download"] if value else []},
    "brush_radius": lambda value: {"brush": gr.Brush(default_size=value)},
}
"""Constructor keywords of Gradio 3 and what they became; one that became nothing is dropped."""


def building() -> bool:
    """Says whether a page is being built; False while an event re-creates a component to update it."""
    return Context.root_block is not None


def native(cls: type) -> type:
    """Returns the class of Gradio that `cls` is or derives from: the one whose constructor names the properties."""
    mixins = ("FormComponent", "Component")
    return next(base for base in cls.__mro__ if base.__module__.startswith("gradio.") and base.__name__ not in mixins)


def make_component(cls: type, *args: Any, **kwargs: Any) -> Any:
    """Stands in for `cls(...)` of every component and layout block: old classes, script hooks, CSS classes."""
    cls, kwargs = translate_class(cls, kwargs)
    component = cls.__new__(cls)
    if building():
        if scripts.scripts_current is not None:
            scripts.scripts_current.before_component(component, **kwargs)
        script_callbacks.before_component_callback(component, **kwargs)
    component.__init__(*args, **kwargs)
    if isinstance(component, gr.Textbox) and component.value is None:
        component.value = ""  # as in Gradio 3; handlers and stored defaults want a text
    if isinstance(component, gr.State) and callable(component.value):
        component.value = (
            component.value()
        )  # which Gradio does when a page is loaded; the API's defaults need it before
    add_classes_to_gradio_component(component)
    if building():
        if component.elem_id is not None:
            kwargs["elem_id"] = component.elem_id  # which the constructor of a subclass may have chosen
        script_callbacks.after_component_callback(component, **kwargs)
        if scripts.scripts_current is not None:
            scripts.scripts_current.after_component(component, **kwargs)
    return component


def translate_class(cls: type, kwargs: dict[str, Any]) -> tuple[type, dict[str, Any]]:
    """Returns the class and keywords of today for a component that Gradio 3 had under another name or type."""
    if cls is gr.Image and kwargs.get("tool") in sketch_components:
        cls = sketch_components[kwargs["tool"]]
        known = {name for base in (cls, native(cls)) for name in inspect.signature(base.__init__).parameters}
        kwargs = translate_keywords(cls.__name__, known, {key: value for key, value in kwargs.items() if key != "tool"})
    if cls is gr.Gallery:
        kwargs = {
            "interactive": False,
            **kwargs,
        }  # it only showed images; one that is an event's input takes uploads now
    if cls in (gr.File, gr.UploadButton, gr.Files) and kwargs.get("type") in ("file", "bytes"):
        kwargs = {**kwargs, "type": "filepath" if kwargs["type"] == "file" else "binary"}
    return cls, kwargs


def translate_keywords(name: str, known: Container[str], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns the keywords that a constructor of Gradio knows, for those Gradio 3 took; the others are named once."""
    translated = {key: value for key, value in kwargs.items() if key in known}
    for key in kwargs.keys() - translated.keys():
        renamed = RENAMED_KEYWORDS.get(key, lambda value: {})(kwargs[key])
        found = {name: value for name, value in renamed.items() if name in known}
        translated = found | translated
        if not found:
            say_unknown(name, key)
    return translated


@functools.cache
def say_unknown(name: str, keyword: str) -> None:
    """Says once that a keyword has no effect."""
    logger.info("gr.%s has no argument %s in Gradio %s: it has no effect", name, keyword, gr.__version__)


def tolerant(function: Callable) -> Callable:
    """Returns a constructor or method of Gradio that takes the keywords of Gradio 3 too.

    What an extension derives gets its keywords as they are; here arrive those it has passed on.
    """
    known = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return function

    @functools.wraps(function)
    def tolerated(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the function with what became of the keywords."""
        if "tooltip" in kwargs:
            self.webui_tooltip = kwargs.pop("tooltip")
        if not kwargs.keys() <= known.keys():
            kwargs = translate_keywords(native(type(self)).__name__, known, kwargs)
        return function(self, *args, **kwargs)

    tolerated.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # as on what it is put around
    return tolerated


def positional_to_keywords(cls: type, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Names positional arguments, which Gradio drops when a subclass takes them as `*args`."""
    names = list(inspect.signature(native(cls).__init__).parameters)[1:]
    return {**dict(zip(names, args, strict=False)), **kwargs}


def takes_any_position(constructor: Callable) -> bool:
    """Says whether a constructor, around which Gradio has put another, was written with `*args`."""
    written = inspect.signature(getattr(constructor, "__wrapped__", constructor), follow_wrapped=False)
    return any(parameter.kind is parameter.VAR_POSITIONAL for parameter in written.parameters.values())


def construct(cls: type, *args: Any, **kwargs: Any) -> Any:
    """Does what `ComponentMeta.__call__` does, for all components and layout blocks."""
    if args and cls.__init__ is not native(cls).__init__ and takes_any_position(cls.__init__):
        args, kwargs = (), positional_to_keywords(cls, args, kwargs)
    if cls is gr.Slider:
        args, kwargs = (), with_a_range(positional_to_keywords(cls, args, kwargs))
    return make_component(cls, *args, **kwargs)


def with_a_range(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns the keywords of a slider; one whose range is empty until an event sets it is one step long."""
    least, most = kwargs.get("minimum", kwargs.get("min", 0)), kwargs.get("maximum", kwargs.get("max", 100))
    return kwargs if least < most else {**kwargs, "maximum": least + (kwargs.get("step") or 1)}


def add_classes_to_gradio_component(comp: Any) -> None:
    """Adds the classes of Gradio 3 that style sheets and scripts look for: gradio-button, gradio-dropdown, ...; its
    buttons of the variant "tool" have that class too.
    """
    name = comp.get_block_name()
    classes = [f"gradio-{name}", *(["multiselect"] if getattr(comp, "multiselect", False) else [])]
    if getattr(comp, "variant", None) == "tool":
        comp.variant = "secondary"
        classes.append("tool")
    comp.elem_classes = [*comp.elem_classes, *(c for c in classes if c not in comp.elem_classes)]


def Block_get_config(self: blocks.Block, cls: type | None = None) -> dict[str, Any]:
    """Returns the properties for the page: those of Gradio's own class, the tooltip, and a CSS class instead of
    `visible=False`.
    """
    config = original_Block_get_config(self, cls or native(type(self)))
    if getattr(self, "webui_tooltip", None):
        config["webui_tooltip"] = self.webui_tooltip
    return hide_by_class(self, config)


def hide_by_class(block: blocks.Block, properties: dict[str, Any]) -> dict[str, Any]:
    """Turns `visible` into the class that hides; tabs stay as Gradio has them, as their button has to go as well.

    `page_visibility` of a block, if it has one, is what Gradio's front end is told instead of True.
    """
    properties = dict(properties)
    visibility = getattr(block, "page_visibility", True)
    if isinstance(block, gr.Tab):
        return {**properties, "visible": properties.get("visible", True) and visibility}
    if "visible" not in properties:  # an implicit form
        return {**properties, "visible": visibility}
    hidden = properties.pop("visible") is False
    classes = [name for name in (block.elem_classes or []) if name != HIDDEN_CLASS]
    return {**properties, "visible": visibility, "elem_classes": [*classes, HIDDEN_CLASS] if hidden else classes}


def postprocess_update(block: blocks.Block, update_dict: dict[str, Any], postprocess: bool = True) -> dict[str, Any]:
    """Returns an update on its way to the page. Its `visible` is dropped there: shown again, a container would show its
    hidden parts.
    """
    # one dict may be given to several outputs ([gr.update()] * n), and Gradio takes its value out
    update = original_postprocess_update(block, dict(update_dict), postprocess)
    if "visible" in update and not isinstance(block, gr.Tab):
        update = hide_by_class(block, update)
        del update["visible"]
    return update


def lenient_choice(preprocess: Callable) -> Callable:
    """Returns a method with which menus pass on a value that isn't among their choices (index type: None); settings
    files, pastes and defaults of extensions hold such.
    """

    @functools.wraps(preprocess)
    def lenient(self: Any, payload: Any) -> Any:
        """Returns what the component makes of a value, or the value itself where it is none of the choices."""
        try:
            return preprocess(self, payload)
        except gr.Error:
            return payload if self.type == "value" else None

    return lenient


signatures: dict[CodeType, inspect.Signature] = {}
"""Code of a listener -> what it takes: Gradio makes thousands of listeners from two functions."""


def signature_of(listener: Callable) -> inspect.Signature:
    """Returns what an event listener takes."""
    code = inspect.unwrap(listener).__code__
    if code not in signatures:
        signatures[code] = inspect.signature(listener)
    return signatures[code]


def translate_listener(listener: Callable) -> Callable:
    """Returns an event listener that takes `_js=` and ignores what Gradio 6 no longer knows. Events are no API
    endpoints unless named. A handler that waits in the queue does so as a coroutine: Gradio calls all others in
    threads, of which it has 40.
    """
    signature = signature_of(listener)
    known = signature.parameters

    @functools.wraps(listener)
    def translated(*args: Any, **kwargs: Any) -> Any:
        """Attaches the event, with old names of arguments turned into new ones."""
        if "_js" in kwargs:
            kwargs["js"] = kwargs.pop("_js")
        if not kwargs.get("api_name"):
            kwargs.setdefault("api_visibility", "private")
        given = signature.bind_partial(*args, **{k: v for k, v in kwargs.items() if k in known})
        for role in ("inputs", "outputs"):
            refuse_missing(role, given.arguments.get(role))
        kwargs = {key: call_queue.coroutine_of(value) for key, value in kwargs.items() if key in known}
        return listener(*map(call_queue.coroutine_of, args), **kwargs)

    return translated


def refuse_missing(role: str, components: Any) -> None:
    """Raises ValueError when an event is given something that is no component, which Gradio finds out at the end of the
    page, where it takes everything along.
    """
    listed = components if isinstance(components, Iterable) and not isinstance(components, dict) else ()
    wrong = [component for component in listed if not isinstance(component, blocks.Block)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is among the {role} of an event, where components belong: it was not made")


async def process_api(self: gr.Blocks, block_fn: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Answers an event. What comes out of a handler of an extension is remembered, and shown over the page with file
    and line; a `gr.Error` says by itself what it has to say.
    """
    event = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
    try:
        return await original_process_api(self, block_fn, *args, **kwargs)
    except gr.Error:
        raise
    except Exception as e:
        failure = records.fail_in_extension("event", e, event.fn)
        if failure is None:
            raise
        errors.report(f"{failure} [{failure.script}]", exc_info=True)
        raise gr.Error(html.escape(str(failure)), print_exception=False) from e


def setup_listener(*args: Any, **kwargs: Any) -> Callable:
    """Returns what Gradio makes of an event of a component, taking the old names of arguments too."""
    return translate_listener(original_setup_listener(*args, **kwargs))


@contextmanager
def without_new_applications() -> Iterator[None]:
    """Blocks that are left inside keep the application they have, or none: Gradio makes a new one each time, which
    takes seconds, and which a page that is served already never uses.
    """
    app = blocks.App
    blocks.App = SimpleNamespace(create_app=lambda page, *args, **kwargs: getattr(page, "app", None))
    try:
        yield
    finally:
        blocks.App = app


@contextmanager
def parts_of_a_page() -> Iterator[None]:
    """Blocks built inside are not made into applications of their own, nor described to the page."""
    get_config_file = gr.Blocks.get_config_file
    gr.Blocks.get_config_file = lambda self: {}
    try:
        with without_new_applications():
            yield
    finally:
        gr.Blocks.get_config_file = get_config_file


def end_tabs(self: gr.Tabs, *args: Any) -> None:
    """Ends a gr.Tabs with what is no tab beside it: the page tells tabs by counting all that stands in it."""
    others = [child for child in self.children if not isinstance(child, gr.Tab)]
    if others and self.parent is not None:
        self.children = [child for child in self.children if isinstance(child, gr.Tab)]
        self.parent.children.extend(others)
        for child in others:
            child.parent = self.parent
    original_end_tabs(self, *args)


def subclasses(cls: type) -> Iterator[type]:
    """Yields all classes below a class, at any depth."""
    for child in cls.__subclasses__():
        yield child
        yield from subclasses(child)


def patch_constructors() -> None:
    """Lets components be made with arguments of older versions of Gradio, and tells scripts of them."""
    component_meta.create_or_modify_pyi = lambda *args, **kwargs: None  # it would write a file beside every script
    component_meta.ComponentMeta.__call__ = construct
    for cls in set(subclasses(blocks.Block)):
        if "__init__" in vars(cls):
            written = inspect.unwrap(cls.__init__)
            # Gradio asks for it several times for each component of a page, and it takes long to work out.
            written.__signature__ = inspect.signature(written)
            cls.__init__ = tolerant(cls.__init__)
    gr.Blocks.launch, gr.Blocks.queue = tolerant(gr.Blocks.launch), tolerant(gr.Blocks.queue)
    blocks.Block.webui_tooltip = None
    class_id = blocks.Block.get_component_class_id.__func__
    blocks.Block.get_component_class_id = classmethod(lambda cls: class_id(native(cls)))


def preprocess_image(payload: Any, cache_dir: str, format: str, image_mode: str | None, type: str) -> Any:
    """Returns what the user put into an image component; one for PIL images gets 16-bit and floating point ones too,
    which Gradio would make white, and the transparency of every format.
    """
    if type != "pil" or image_mode is None:
        return original_preprocess_image(payload, cache_dir, format, image_mode, type)
    image = original_preprocess_image(payload, cache_dir, format, None, type)
    return None if image is None else image_ops.plain_mode(image).convert(image_mode)


def patch_values() -> None:
    """Lets values pass that Gradio would refuse: numbers out of bounds, choices that are not in the list."""
    gr.Number.raise_if_out_of_bounds = staticmethod(lambda *args, **kwargs: None)
    for cls in (gr.Dropdown, gr.Radio, gr.CheckboxGroup):
        cls.preprocess = lenient_choice(cls.preprocess)


def patch_listeners() -> None:
    """Lets the events of all components take the old names of arguments."""
    for cls in subclasses(blocks.Block):
        for event in vars(cls).get("EVENTS", ()):
            if isinstance(event, events.EventListener):
                setattr(cls, event, translate_listener(getattr(cls, event)))
    gr.Blocks.load = translate_listener(gr.Blocks.load)


def dependencies(page: gr.Blocks) -> list[dict[str, Any]]:
    """Returns the events of a page as Gradio 3 listed them, with the ids of components."""
    return [
        {
            "targets": [target for target, _ in event.targets],
            "trigger": event.targets[0][1] if event.targets else "",
            "inputs": [component._id for component in event.inputs],
            "outputs": [component._id for component in event.outputs],
            "backend_fn": event.fn is not None,
            "js": event.js,
            "queue": event.queue,
            "api_name": event.api_name,
        }
        for event in page.fns.values()
    ]


class EventFunctions(dict[int, Any]):
    """What the events of a page call, by number. Walked, it gives them as the list did that Gradio 3 had."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())

    def pop(self, key: Any, *default: Any) -> Any:
        """Takes one out, which may be named by itself: Gradio does so with what it has found by walking."""
        return super().pop(getattr(key, "_id", key), *default)


def restore_old_names() -> None:
    """Puts names of Gradio 3 on today's modules and classes."""
    blocks.Block.style = lambda self, *args, **kwargs: self
    for cls in (gr.components.Component, blocks.BlockContext):
        cls.update = classmethod(update)
    gr.Blocks.dependencies = property(dependencies)
    blocks.BlocksConfig.fns = property(
        lambda self: self.event_functions, lambda self, fns: setattr(self, "event_functions", EventFunctions(fns))
    )
    gr.Box, gr.Variable = gr.Group, gr.State
    gr.inputs = gr.outputs = gr.components
    gr.components.IOComponent = gr.components.Component
    for name in ("Changeable", "Releaseable", "Clickable"):
        setattr(events, name, type(name, (), {}))
    processing_utils.encode_pil_to_base64 = encode_pil_to_base64
    processing_utils.decode_base64_to_image = decode_base64_to_image


def update(cls: type, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Stands in for `update` of Gradio 3's classes, whose arguments were those of the constructor, the value first; of
    what holds components, whether it is visible.
    """
    if args:
        first = "value" if issubclass(cls, gr.components.Component) else "visible"
        others = [name for name in inspect.signature(native(cls).__init__).parameters if name not in ("self", first)]
        kwargs = {**dict(zip((first, *others), args, strict=False)), **kwargs}
    return gr.update(**kwargs)


def encode_pil_to_base64(pil_image: Image.Image) -> str:
    """Returns an image as a PNG data URI."""
    return "data:image/png;base64," + base64.b64encode(processing_utils.encode_pil_to_bytes(pil_image)).decode("ascii")


def decode_base64_to_image(encoding: str) -> Image.Image:
    """Returns the image of a data URI or of plain base64."""
    return Image.open(io.BytesIO(base64.b64decode(encoding.partition(";base64,")[2] or encoding)))


original_Block_get_config = patches.patch(__name__, blocks.Block, "get_config", Block_get_config)
original_postprocess_update = patches.patch(__name__, blocks, "postprocess_update_dict", postprocess_update)
original_setup_listener = patches.patch(__name__, events.EventListener, "_setup", staticmethod(setup_listener))
original_preprocess_image = patches.patch(__name__, image_utils, "preprocess_image", preprocess_image)
original_process_api = patches.patch(__name__, gr.Blocks, "process_api", process_api)
original_end_tabs = patches.patch(__name__, gr.Tabs, "__exit__", end_tabs)
patch_constructors()
patch_values()
patch_listeners()
restore_old_names()
