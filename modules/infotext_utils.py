"""face: infotext on the page: read with the user's settings, put into the fields of a tab, sent from tab to tab.

Also known to extensions as generation_parameters_copypaste.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image, UnidentifiedImageError

from modules import (
    dialects,
    errors,
    images,
    infotext,
    infotext_versions,
    model_sidecars,
    option_values,
    processing,
    prompt_parser,
    runtime_utils,
    script_callbacks,
    sd_modules,
    sd_samplers,
    shared,
    shared_items,
    ui_tempdir,
)
from modules.model_load import MODULES_SETTING
from modules.paths import data_path

logger = logging.getLogger(__name__)

type_of_gr_update = type(gr.update())

# Fields copied from one tab to the other by a "Send to" button.
SENT_FIELDS = ("Prompt", "Negative prompt", "Steps", "Face restoration")
MAX_TEXT_FILE = 10000  # characters of a text dropped on a prompt

Target = str | Callable[[dict[str, Any]], Any]

# Tab -> "init_img", "fields", "override_settings_component"
paste_fields: dict[str, dict[str, Any]] = {}
registered_param_bindings: list[ParamBinding] = []
# Extensions add pairs (infotext key, setting) for settings whose definition does not name their key.
infotext_to_setting_name_mapping: list[tuple[str, str]] = []


class ParamBinding:
    """What a button sends: an image, an infotext, or the fields of a tab, to the tab tabname."""

    def __init__(
        self,
        paste_button: gr.Button,
        tabname: str,
        source_text_component: gr.components.Component | None = None,
        source_image_component: gr.components.Component | None = None,
        source_tabname: str | None = None,
        override_settings_component: gr.components.Component | None = None,
        paste_field_names: Sequence[str] | None = None,
    ):
        self.paste_button = paste_button
        self.tabname = tabname
        self.source_text_component = source_text_component
        self.source_image_component = source_image_component
        self.source_tabname = source_tabname
        self.override_settings_component = override_settings_component
        self.paste_field_names = paste_field_names or []


class PasteField(tuple):
    """A pair (component, target) of a tab.

    target: the infotext key whose value the component gets, or a function that makes the value from all parameters.
    api: name of the field in requests, if it has one.
    """

    component: Any
    label: str | None
    function: Callable[[dict[str, Any]], Any] | None
    api: str | None

    def __new__(cls, component: Any, target: Target, *, api: str | None = None) -> PasteField:
        return super().__new__(cls, (component, target))

    def __init__(self, component: Any, target: Target, *, api: str | None = None):
        super().__init__()
        self.api = api
        self.component = component
        self.label = target if isinstance(target, str) else None
        self.function = target if callable(target) else None


def reset() -> None:
    """Forgets the fields and buttons of a page that is built anew."""
    paste_fields.clear()
    registered_param_bindings.clear()


def image_from_url_text(filedata: Any) -> Image.Image | None:
    """Returns the image a gallery or image component gives, the first of several, or the one of a data URL.

    Raises InvalidInput for a file that the page may not have: what components give comes from the browser.
    """
    if isinstance(filedata, list):
        filedata = filedata[0] if filedata else None
    if isinstance(filedata, tuple):  # with its caption
        filedata = filedata[0]
    if filedata is None or isinstance(filedata, Image.Image):
        return filedata
    if isinstance(filedata, dict):
        filedata = filedata.get("name") or filedata["path"]
    if filedata.startswith("data:image/"):
        return images.read(io.BytesIO(base64.b64decode(filedata.split(",", 1)[1])))
    if not ui_tempdir.check_tmp_file(shared.demo, filedata):
        raise errors.InvalidInput(f"{filedata} is not a picture of this page", field="image")
    return images.read(filedata)


def image_data(data: bytes) -> tuple[Any, None]:
    """Returns what a file dropped on a prompt puts there: the infotext of an image, or a short text as it is.

    Any other file changes nothing. The None after it empties the hidden file field.
    """
    with suppress(UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        geninfo, _ = images.read_info_from_image(images.read(io.BytesIO(data)))
        return geninfo, None
    try:
        text = data.decode("utf8")
    except UnicodeDecodeError:
        return gr.update(), None
    text = dialects.translated_text(text, model_sidecars.find)
    return (text if len(text) < MAX_TEXT_FILE and (text or not data) else gr.update()), None


def add_paste_fields(
    tabname: str,
    init_img: Any,
    fields: Iterable[PasteField | tuple[Any, Target]] | None,
    override_settings_component: Any = None,
) -> None:
    """Registers what a tab can receive: the component for an image, and the fields for an infotext."""
    if fields is not None:
        fields = [field if isinstance(field, PasteField) else PasteField(*field) for field in fields]
    paste_fields[tabname] = {
        "init_img": init_img,
        "fields": fields,
        "override_settings_component": override_settings_component,
    }


def create_buttons(tabs_list: Iterable[str]) -> dict[str, gr.Button]:
    """Returns a button "Send to ..." for each of some tabs."""
    return {tab: gr.Button(f"Send to {tab}", elem_id=f"{tab}_tab") for tab in tabs_list}


def bind_buttons(buttons: Mapping[str, gr.Button], send_image: Any, send_generate_info: Any) -> None:
    """Registers "Send to" buttons; send_generate_info is a component with an infotext, or the name of a tab."""
    for tabname, button in buttons.items():
        is_component = isinstance(send_generate_info, gr.components.Component)
        register_paste_params_button(
            ParamBinding(
                paste_button=button,
                tabname=tabname,
                source_text_component=send_generate_info if is_component else None,
                source_image_component=send_image,
                source_tabname=send_generate_info if isinstance(send_generate_info, str) else None,
            )
        )


def register_paste_params_button(binding: ParamBinding) -> None:
    """Remembers a button until all tabs are built."""
    registered_param_bindings.append(binding)


def connect_paste_params_buttons() -> None:
    """Gives all registered buttons their events; one that leads to a tab the page does not have stays without."""
    for binding in registered_param_bindings:
        destination = paste_fields.get(binding.tabname)
        if destination is None:
            continue
        if binding.source_image_component is not None and destination["init_img"] is not None:
            _connect_image(binding, destination)
        if binding.source_text_component is not None and destination["fields"] is not None:
            override_settings = binding.override_settings_component or destination["override_settings_component"]
            connect_paste(
                binding.paste_button,
                destination["fields"],
                binding.source_text_component,
                override_settings,
                binding.tabname,
            )
        if binding.source_tabname is not None and destination["fields"] is not None:
            _connect_fields(binding, destination["fields"])
        binding.paste_button.click(fn=None, js=f"switch_to_{binding.tabname}", inputs=None, outputs=None)


def _connect_image(binding: ParamBinding, destination: Mapping[str, Any]) -> None:
    """Lets a button send an image, and its size where the destination has fields for it."""
    sizes = {field.label: field.component for field in destination["fields"] or []}
    outputs = [destination["init_img"]]
    if "Size-1" in sizes:
        outputs += [sizes["Size-1"], sizes["Size-2"]]
    is_gallery = isinstance(binding.source_image_component, gr.Gallery)
    binding.paste_button.click(
        fn=send_image_and_dimensions if len(outputs) > 1 else image_from_url_text,
        js="extract_image_from_gallery" if is_gallery else None,
        inputs=[binding.source_image_component],
        outputs=outputs,
        show_progress="hidden",
    )


def _connect_fields(binding: ParamBinding, destination_fields: Sequence[PasteField]) -> None:
    """Lets a button copy the fields that its tab and the destination have in common, if its tab has told of any."""
    source_fields = paste_fields.get(binding.source_tabname, {}).get("fields") or []
    names = {*SENT_FIELDS, *(["Seed"] if shared.opts.send_seed else []), *binding.paste_field_names}
    sources = {field.label: field.component for field in source_fields}
    targets = {field.label: field.component for field in destination_fields}
    shared_names = [name for name in sources if name in names and name in targets]
    if not shared_names:
        return
    binding.paste_button.click(
        fn=lambda *values: values if len(values) > 1 else values[0],
        inputs=[sources[name] for name in shared_names],
        outputs=[targets[name] for name in shared_names],
        show_progress="hidden",
    )


def send_image_and_dimensions(x: Any) -> tuple[Image.Image | None, Any, Any]:
    """Returns an image with its width and height; the size stays as it is without an image or with send_size off."""
    image = image_from_url_text(x)
    if image is None or not shared.opts.send_size:
        return image, gr.update(), gr.update()
    return image, image.width, image.height


def restore_old_hires_fix_params(res: dict[str, Any]) -> None:
    """Turns the first pass size that old versions wrote, with Size being the result's, into today's parameters."""
    if shared.opts.use_old_hires_fix_width_height:
        width, height = int(res.get("Hires resize-1", 0)), int(res.get("Hires resize-2", 0))
        if width and height:
            res["Size-1"], res["Size-2"] = width, height
            return

    first_width, first_height = res.get("First pass size-1"), res.get("First pass size-2")
    if first_width is None or first_height is None:
        return
    width, height = int(res.get("Size-1", 512)), int(res.get("Size-2", 512))
    first_width, first_height = int(first_width), int(first_height)
    if first_width == 0 or first_height == 0:
        first_width, first_height = processing.old_hires_fix_first_pass_dimensions(width, height)
    res["Size-1"], res["Size-2"] = first_width, first_height
    res["Hires resize-1"], res["Hires resize-2"] = width, height


def parse_generation_parameters(x: str, skip_fields: Iterable[str] | None = None) -> dict[str, Any]:
    """Returns the parameters an infotext stands for, with today's names, and defaults for what it does not say.

    x: may be the text of another program. skip_fields: keys to leave out, those of the setting infotext_skip_pasting if
    not given.
    """
    res = infotext.parse_infotext(dialects.translated_text(x, model_sidecars.find))
    if shared.opts.infotext_styles != "Ignore":
        extract_styles(res)
    infotext.convert_legacy_hypernetwork(res)
    infotext.add_hashes(res)
    infotext.add_missing_parameters(res)
    restore_old_hires_fix_params(res)
    if _uses_emphasis(res["Prompt"]) or _uses_emphasis(res["Negative prompt"]):
        res.setdefault("Emphasis", "Original")
    if shared.opts.auto_backcompat:
        infotext_versions.backcompat(res)
    infotext.drop_parameters(res, shared.opts.infotext_skip_pasting if skip_fields is None else skip_fields)
    return res


def extract_styles(res: dict[str, Any]) -> None:
    """Takes the texts of known styles out of the prompts; the setting infotext_styles says if their names are kept.

    Prompts of the hires pass have to hold the same styles, else nothing is taken out. Versions up to 1.8.0-139 wrote
    them without styles.
    """
    extract = shared.prompt_styles.extract_styles_from_prompt
    found, prompt, negative_prompt = extract(res["Prompt"], res["Negative prompt"])

    written_by = infotext_versions.parse_version(res.get("Version"))
    has_hires_prompt = "Hires prompt" in res or "Hires negative prompt" in res
    if has_hires_prompt and (written_by is None or written_by > infotext_versions.v180_hr_styles):
        hires_found, hires_prompt, hires_negative_prompt = extract(
            res.get("Hires prompt", res["Prompt"]), res.get("Hires negative prompt", res["Negative prompt"])
        )
        if hires_found != found:
            return
        res["Hires prompt"] = "" if hires_prompt == prompt else hires_prompt
        res["Hires negative prompt"] = "" if hires_negative_prompt == negative_prompt else hires_negative_prompt

    res["Prompt"], res["Negative prompt"] = prompt, negative_prompt
    if shared.opts.infotext_styles == "Apply" or (shared.opts.infotext_styles == "Apply if any" and found):
        res["Styles array"] = found


MAX_PARSED_PROMPT = 100_000
"""Signs of a prompt that is read weight by weight, which takes long for brackets in brackets."""

re_bracket = re.compile(r"(?<!\\)(?:\\\\)*[(\[]")


def _uses_emphasis(prompt: str) -> bool:
    """Tells whether a prompt gives any word a weight, one that cannot be read among them."""
    if len(prompt) > MAX_PARSED_PROMPT or re_bracket.search(prompt) is None:
        return re_bracket.search(prompt) is not None
    try:
        return any(weight != 1.0 for _, weight in prompt_parser.parse_prompt_attention(prompt))
    except errors.InvalidInput:
        return True


def settings_in_infotext() -> list[tuple[str, str]]:
    """Returns the pairs (infotext key, setting) in the order of the settings, then those of extensions."""
    own = [(info.infotext, key) for key, info in list(shared.opts.data_labels.items()) if info.infotext]
    return own + infotext_to_setting_name_mapping


def create_override_settings_dict(text_pairs: Iterable[str]) -> dict[str, Any]:
    """Returns the settings that texts "Key: value" of the Override settings field mean; InvalidInput for others."""
    values = {}
    for pair in text_pairs:
        key, colon, value = pair.partition(":")
        if not colon:
            raise errors.InvalidInput(f"{pair!r} is not of the form 'Key: value'", field="override_settings_texts")
        values[key] = value.strip()
    return {
        setting: shared.opts.read_value(setting, said_under(values, key))
        for key, setting in settings_in_infotext()
        if key in values
    }


def said_under(params: Mapping[str, Any], key: str) -> Any:
    """Returns what stands under a key, None if nothing does; of a list, under "Module 1", "Module 2" and so on, all."""
    if not key.endswith(" 1"):
        return params.get(key)
    numbered = (f"{key[:-1]}{number}" for number in itertools.count(1))
    return [params[name] for name in itertools.takewhile(params.__contains__, numbered)] or None


def pairs_saying(key: str, value: Any) -> list[str]:
    """Returns the texts "Key: value" by which the Override settings field shows what stands under a key."""
    if not key.endswith(" 1"):
        return [f"{key}: {value}"]
    return [f"{key[:-1]}{number}: {item}" for number, item in enumerate(value, 1)]


def get_override_settings(
    params: Mapping[str, Any],
    *,
    skip_fields: Iterable[str] | None = None,
    unreadable: list[str] | None = None,
) -> list[tuple[str, str, Any]]:
    """Returns (infotext key, setting, value) for every setting that params give another value than it has.

    skip_fields: keys to leave out. A value that the setting cannot have is left out and logged; unreadable gets a text
    about it.
    """
    skipped = set(skip_fields or ())
    found = []
    for key, setting in settings_in_infotext():
        value = said_under(params, key)
        if key in skipped or value is None:
            continue
        if setting == "sd_model_checkpoint" and shared.opts.disable_weights_auto_swap:
            continue
        try:
            value = shared.opts.read_value(setting, said_of_setting(setting, value))
        except errors.InvalidInput as e:
            note(unreadable, f"{key}: {e.message}")
            continue
        if value != getattr(shared.opts, setting, None):
            found.append((key, setting, value))
    return found


def said_of_setting(setting: str, value: Any) -> Any:
    """Returns what a value of an infotext says of a setting: the name of a face restorer, that faces are restored;
    the names of modules, files that are listed under longer ones.
    """
    if setting == MODULES_SETTING:
        return [sd_modules.find(name) or name for name in value]
    is_name = setting == "face_restoration" and str(value).lower() not in option_values.YES | option_values.NO
    return True if is_name else value


def usable_override_settings(
    params: Mapping[str, Any], unreadable: list[str], skip_fields: Iterable[str] | None = None
) -> list[tuple[str, str, Any]]:
    """Returns the same without checkpoints, VAEs and other files that are not there, on which unreadable gets a text
    each.
    """
    found = []
    for key, setting, value in get_override_settings(params, skip_fields=skip_fields, unreadable=unreadable):
        usable = []
        for item in value if isinstance(value, list) else [value]:
            try:
                usable.append(runtime_utils.checked_value(setting, item))
            except errors.WebuiError as e:
                note(unreadable, f"{key}: {e.message}")
        if usable:
            found.append((key, setting, sum(usable, []) if isinstance(value, list) else usable[0]))
    return found


def note(problems: list[str] | None, text: str) -> None:
    """Logs what of an infotext cannot be used, and adds it to problems."""
    logger.warning("infotext, left out: %s", text)
    if problems is not None:
        problems.append(text)


def connect_paste(
    button: gr.Button,
    paste_fields: Sequence[PasteField],
    input_comp: gr.components.Component,
    override_settings_component: gr.components.Component | None,
    tabname: str,
) -> None:
    """Lets a button put the infotext in input_comp into fields; settings it names go to override_settings_component."""
    fields = list(paste_fields)
    if override_settings_component is not None:
        handled = [target for _, target in paste_fields if isinstance(target, str)]
        fields.append(PasteField(override_settings_component, partial(paste_settings, handled)))
    button.click(
        fn=partial(paste_values, fields),
        inputs=[input_comp],
        outputs=[component for component, _ in fields],
        show_progress="hidden",
    )
    button.click(fn=None, js=f"recalculate_prompts_{tabname}", inputs=[], outputs=[], show_progress="hidden")


def paste_settings(handled: Iterable[str], params: Mapping[str, Any]) -> Any:
    """Returns the update of the Override settings field; handled: keys that have fields of their own."""
    unreadable: list[str] = []
    found = usable_override_settings(params, unreadable, handled)
    if unreadable:
        gr.Warning(html.escape("Left out: " + "; ".join(unreadable)))
    pairs = [pair for key, _, value in found for pair in pairs_saying(key, value)]
    return gr.update(value=pairs, choices=pairs, visible=bool(pairs))


def paste_values(fields: Sequence[PasteField], prompt: str) -> list[Any]:
    """Returns an update for every field, from the infotext prompt, or from the last job's if it is empty."""
    params = parse_generation_parameters(prompt or last_infotext())
    for name in sd_samplers.unknown_in_infotext(params).values():
        gr.Info(f"{name!r} is not known here: the menu keeps what it shows.")
    script_callbacks.infotext_pasted_callback(prompt, params)
    return [paste_value(component, target, params) for component, target in fields]


def last_infotext() -> str:
    """Returns the infotext of the last job, empty if the command line keeps it secret."""
    path = os.path.join(data_path, "params.txt")
    if shared.cmd_opts.hide_ui_dir_config or shared.cmd_opts.no_prompt_history or not os.path.exists(path):
        return ""
    with open(path, encoding="utf8") as file:
        return file.read()


def paste_value(component: gr.components.Component, target: Target, params: dict[str, Any]) -> Any:
    """Returns the update that gives a component its value in params; one without changes nothing."""
    if callable(target):
        try:
            value = target(params)
        except Exception:  # extensions register functions; one that fails leaves its field as it is
            errors.report(f"Error executing {target}", exc_info=True)
            value = None
    else:
        value = params.get(target)

    if value is None:
        return gr.update()
    if isinstance(value, type_of_gr_update):
        return value
    try:
        return gr.update(value=as_type_of(component, value))
    except (TypeError, ValueError):
        return gr.update()


def as_type_of(component: gr.components.Component, value: Any) -> Any:
    """Returns an infotext value as the type that the value of a component has."""
    kind = type(component.value)
    if kind is bool:
        return value != "False" and bool(value)
    if kind is int or isinstance(component, gr.Number | gr.Slider):
        return float(value)
    return value if component.value is None else kind(value)


def infotext_names() -> list[str]:
    """Returns every infotext key that belongs to a setting or to a field."""
    fields = [field for tab in paste_fields.values() for field in tab["fields"] or []]
    names = [key for key, _ in settings_in_infotext()] + [field.label for field in fields if field.label]
    return list(dict.fromkeys(names))


shared_items.register("infotext_names", infotext_names)
images.image_data = image_data  # A1111 name; a handler of the page has no place below it

from modules.infotext import quote, re_hypernet_hash, re_imagesize, re_param, re_param_code, unquote  # noqa: E402, F401  # A1111 names
