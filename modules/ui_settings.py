"""face: the Settings tab, made from the definitions of the settings, and the quick settings above the tabs."""

from __future__ import annotations

import html
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from importlib import metadata
from typing import Any

import gradio as gr

from modules import (
    errors,
    extensions,
    script_callbacks,
    scripts,
    sd_models,
    shared,
    sysinfo,
    timer,
    ui_common,
    ui_components,
)
from modules.call_queue import wrap_gradio_call_no_job, wrap_queued_call
from modules.job import elsewhere
from modules.options import HandlerFailed, OptionInfo
from modules.paths_internal import script_path
from modules.settings import all_options
from modules.shared import opts
from modules.ui_common import QUIET
from modules.ui_components import FormRow

logger = logging.getLogger(__name__)


DEFAULT_WIDGETS: dict[type, type] = {str: gr.Textbox, bool: gr.Checkbox, int: gr.Number, float: gr.Number}
"""Widget of a setting that names none, by the type of its default."""


SOUGHT_BY_SCRIPTS = ("sd_model_checkpoint", "sd_vae")
"""Settings whose elements scripts of extensions look for as soon as the page is loaded."""


def widget_class(info: OptionInfo) -> type:
    """Returns the widget of a setting: the class itself, the class of that name, or the one for the type of its
    default.
    """
    if info.component == "SettingsNote":
        return gr.HTML
    if isinstance(info.component, str):
        return getattr(ui_components, info.component, None) or getattr(gr, info.component)
    if info.component is not None:
        return info.component
    if type(info.default) not in DEFAULT_WIDGETS:
        raise ValueError(
            f"setting {info.label!r} has a default of type {type(info.default).__name__} and names no widget"
        )
    return DEFAULT_WIDGETS[type(info.default)]


def widget_arguments(info: OptionInfo) -> dict[str, Any]:
    """Returns the keyword arguments of a setting's widget, choices looked up now."""
    arguments = dict((info.component_args() if callable(info.component_args) else info.component_args) or {})
    if widget_class(info) is gr.Number and type(info.default) is int:
        arguments.setdefault("precision", 0)
    return arguments


def current_value(key: str) -> Any:
    """Returns the user's value of a setting; that of the checkpoint as its menu has it."""
    value = opts.data.get(key, opts.data_labels[key].default)
    return checkpoint_in_menu(value) if key == "sd_model_checkpoint" else value


def checkpoint_in_menu(name: str | None) -> str | None:
    """Returns what the menu calls a checkpoint, which the setting may name by its title of before its hash was known;
    the one that will be loaded first if none has been chosen.
    """
    info = sd_models.checkpoint_aliases.get(name)
    if name is None and sd_models.checkpoints_list:
        info = sd_models.select_checkpoint()
    if info is None:
        return name
    return info.short_title if opts.sd_checkpoint_dropdown_use_short else info.title


def is_left_empty(key: str, value: Any) -> bool:
    """Says whether the page shows no value for a setting that has to have one; it keeps its own then."""
    return value is None and opts.data_labels[key].default is not None


def get_value_for_setting(key: str) -> Any:
    """Returns what the widget of a setting has to show: its value, with the choices of now where they can change."""
    info = opts.data_labels[key]
    if not callable(info.component_args):
        return current_value(key)
    arguments = {name: value for name, value in widget_arguments(info).items() if name != "precision"}
    return gr.update(value=current_value(key), **arguments)


def create_setting_component(key: str, is_quicksettings: bool = False) -> Any:
    """Returns the widget of a setting, with its refresh button if it has one: `setting_<key>`, `refresh_<key>`."""
    info = opts.data_labels[key]
    widget, elem_id = widget_class(info), f"setting_{key}"
    if widget is gr.HTML:
        return gr.HTML(info.default, elem_id=elem_id, elem_classes=["settings-note"])
    arguments = {"label": info.label, "value": current_value(key), "elem_id": elem_id, "interactive": True}
    arguments |= widget_arguments(info)
    with FormRow() if info.refresh is not None and not is_quicksettings else nullcontext():
        component = widget(**arguments)
        component.setting_key = key  # see current_properties
        if info.refresh is not None:
            ui_common.create_refresh_button(component, info.refresh, lambda: widget_arguments(info), f"refresh_{key}")
    return component


def change_setting(key: str, value: Any) -> bool:
    """Stores a value as `Options.set`; the page shows why a setting stays as it was, for example a checkpoint that
    cannot be loaded.
    """
    try:
        return opts.change(key, value)
    except HandlerFailed as e:
        errors.display(e.error, f"changing setting {key} to {value}")
        gr.Warning(html.escape(f"{opts.data_labels[key].label} stays as it was: {e}"))
        return False


class UiSettings:
    """The tab and the quick settings: components[i] shows the i-th setting of `opts.data_labels`, or stands in for one
    not shown.
    """

    submit: gr.Button
    result: gr.HTML
    interface: gr.Blocks
    components: list[Any]
    component_dict: dict[str, Any]
    dummy_component: Any
    quicksettings_list: list[tuple[int, str, OptionInfo]]
    quicksettings_names: dict[str, int]
    text_settings: gr.Textbox
    show_all_pages: gr.Button
    show_one_page: gr.Button
    search_input: gr.Textbox
    registered: Sequence[script_callbacks.ScriptCallback] = ()
    sought_sections: set[Any]

    def run_settings(self, *args: Any) -> tuple[str, str]:
        """Stores all values of the page. Raises InvalidInput, and stores nothing, if one has the wrong type."""
        shown = [
            (key, value)
            for key, value, component in zip(opts.data_labels, args, self.components, strict=True)
            if component is not self.dummy_component
        ]
        values = {key: opts.read_value(key, value) for key, value in shown if not is_left_empty(key, value)}
        before = dict(opts.data)
        changed = [key for key, value in values.items() if change_setting(key, value)]
        names = f": {', '.join(changed)}" if changed else ""
        try:
            opts.save_or_restore(shared.config_filename, changed, before)
        except RuntimeError:
            return opts.dumpjson(), f"{len(changed)} settings changed without save{names}."
        return opts.dumpjson(), f"{len(changed)} settings changed{names}."

    def run_settings_single(self, value: Any, key: str) -> tuple[Any, str]:
        """Stores a quick setting. A value that is refused, or no different, is replaced by the one there is."""
        try:
            value = opts.read_value(key, value)
        except errors.InvalidInput:
            return gr.update(), opts.dumpjson()
        before = dict(opts.data)
        if value is None or not change_setting(key, value):
            return gr.update(value=getattr(opts, key)), opts.dumpjson()
        opts.save_or_restore(shared.config_filename, [key], before)
        return get_value_for_setting(key), opts.dumpjson()

    def register_settings(self) -> None:
        """Lets extensions add theirs, those that have not done so for this page."""
        self.registered = script_callbacks.ui_settings_callback(self.registered)

    def create_ui(self, loadsave: Any, dummy_component: Any) -> None:
        """Builds the tab; quick settings have their widget above the tabs only."""
        self.components, self.component_dict = [], {}
        self.dummy_component = dummy_component
        self.quicksettings_list = []
        self.quicksettings_names = {
            name: i for i, name in enumerate(opts.quicksettings_list) if name != "quicksettings"
        }
        shared.settings_components = self.component_dict
        self.register_settings()  # some ask for it where their script is made, which has happened since
        self.sought_sections = self.find_sought_sections()
        script_callbacks.add_order_settings()

        with gr.Blocks(analytics_enabled=False) as settings_interface:
            with gr.Row(elem_id="settings_top_row"):
                with gr.Column(scale=6):
                    self.submit = gr.Button(value="Apply settings", variant="primary", elem_id="settings_submit")
                with gr.Column():
                    reload_ui = gr.Button(value="Reload UI", elem_id="settings_restart_gradio")
            self.result = gr.HTML(elem_id="settings_result")
            self.create_pages(loadsave)
            self.show_all_pages = gr.Button(value="Show all pages", elem_id="settings_show_all_pages")
            self.show_one_page = gr.Button(value="Show only one page", elem_id="settings_show_one_page", visible=False)
            self.search_input = gr.Textbox(
                value="",
                elem_id="settings_search",
                max_lines=1,
                placeholder="Search...",
                label="Search settings",
                show_label=False,
            )
            self.text_settings = gr.Textbox(
                elem_id="settings_json", value=opts.dumpjson(), visible=False, interactive=True
            )
            self.show_all_pages.click(fn=None, js="settingsShowAllTabs")
            self.show_one_page.click(fn=None, js="settingsShowOneTab")
            reload_ui.click(fn=shared.state.request_restart, js="restart_reload", inputs=[], outputs=[])
        self.interface = settings_interface

    def find_sought_sections(self) -> set[Any]:
        """Returns the sections whose elements have to be there when the page is loaded: those with settings of
        extensions, whose scripts look for them, and of others that scripts look for.
        """
        sought = {key for key in SOUGHT_BY_SCRIPTS if key not in self.quicksettings_names}
        if any(not extension.is_builtin for extension in extensions.active()):
            sought |= opts.data_labels.keys() - all_options().keys()
        return {opts.data_labels[key].section for key in sought if key in opts.data_labels}

    def create_pages(self, loadsave: Any) -> None:
        """Makes a tab for each section of settings, then the pages that are none."""
        section = page = column = None
        with gr.Tabs(elem_id="settings"):
            for index, (key, item) in enumerate(opts.data_labels.items()):
                is_hidden = item.section is None or item.section[0] is None
                if section != item.section and not is_hidden:
                    self.close_page(page, column)
                    section = item.section
                    page, column = self.open_page(*section)
                self.create_row(index, key, item, is_hidden)
            self.close_page(page, column)
            for title, name, create in (
                ("Defaults", "defaults", loadsave.create_ui),
                ("Sysinfo", "sysinfo", create_sysinfo_page),
                ("Actions", "actions", create_actions_page),
                ("Licenses", "licenses", create_licenses_page),
            ):
                with gr.Tab(title, id=name, elem_id=f"settings_tab_{name}") as page:
                    create()
                page.comes_later = True

    def open_page(self, name: str, title: str) -> tuple[Any, Any]:
        """Begins the page of a section, and returns its tab and column."""
        page = gr.Tab(elem_id=f"settings_{name}", label=title)
        page.comes_later = (name, title) not in self.sought_sections
        page.__enter__()
        column = gr.Column(variant="compact", elem_id=f"column_settings_{name}", elem_classes=["settings-page"])
        column.__enter__()
        return page, column

    @staticmethod
    def close_page(page: Any, column: Any) -> None:
        """Ends the page of a section, if one was begun."""
        if page is not None:
            column.__exit__(None, None, None)
            page.__exit__(None, None, None)

    def create_row(self, index: int, key: str, item: OptionInfo, is_hidden: bool) -> None:
        """Makes the widget of one setting, unless it is hidden or has its place above the tabs."""
        component = self.dummy_component
        if key in self.quicksettings_names and not shared.cmd_opts.freeze_settings:
            self.quicksettings_list.append((index, key, item))
        elif not is_hidden:
            component = self.component_dict[key] = create_setting_component(key)
        self.components.append(component)

    def add_quicksettings(self) -> None:
        """Adds the row above the tabs."""
        with gr.Row(elem_id="quicksettings", variant="compact"):
            for _, key, _ in sorted(
                self.quicksettings_list, key=lambda row: self.quicksettings_names.get(row[1], row[0])
            ):
                self.component_dict[key] = create_setting_component(key, is_quicksettings=True)

    def add_functionality(self, demo: gr.Blocks) -> None:
        """Connects the tab and the quick settings, once both are part of the page."""
        self.submit.click(
            fn=wrap_gradio_call_no_job(self.run_settings, extra_outputs=[gr.update()]),
            inputs=self.components,
            outputs=[self.text_settings, self.result],
        )
        for _, key, info in self.quicksettings_list:
            self.connect_quicksetting(key, info)
        self.connect_checkpoint_button()

    def current_properties(self, page: gr.Blocks) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yields (component, properties) of everything on the page that shows settings, as it has to be now."""
        yield self.text_settings, {"value": opts.dumpjson()}
        for component in page.blocks.values():
            key = getattr(component, "setting_key", None)
            info = opts.data_labels.get(key)
            if info is None or info.do_not_save:
                continue
            if callable(info.component_args):
                yield component, {k: v for k, v in widget_arguments(info).items() if k == "choices"}
            yield component, {"value": current_value(key)}

    def connect_quicksetting(self, key: str, info: OptionInfo) -> None:
        """Stores a quick setting as soon as the user has finished changing it."""
        component = self.component_dict[key]
        if isinstance(component, gr.Textbox):
            triggers = [component.submit, component.blur]
        else:
            triggers = [component.release if hasattr(component, "release") else component.change]

        def store(value: Any) -> tuple[Any, str]:
            """Stores the value of the quick setting."""
            return self.run_settings_single(value, key)

        progress = "minimal" if info.refresh is not None else "hidden"
        for trigger in triggers:
            trigger(fn=store, inputs=[component], outputs=[component, self.text_settings], show_progress=progress)

    def connect_checkpoint_button(self) -> None:
        """Makes a hidden button that loads the checkpoint a card was clicked for, see `selectCheckpoint` in the page's
        scripts.
        """
        checkpoint = self.component_dict["sd_model_checkpoint"]
        button = gr.Button("Change checkpoint", elem_id="change_checkpoint", visible=False)
        button.click(
            fn=lambda value: self.run_settings_single(value, key="sd_model_checkpoint"),
            js="(value) => takeDesiredCheckpointName() || value",
            inputs=[checkpoint],
            outputs=[checkpoint, self.text_settings],
        )


def create_sysinfo_page() -> None:
    """Makes the page of system information and what can be sent with it."""
    gr.HTML(
        '<a href="./internal/sysinfo-download" class="sysinfo_big_link" download>Download system info</a><br />'
        '<a href="./internal/sysinfo" target="_blank">(or open it as text in a new tab)</a>',
        elem_id="sysinfo_download",
    )
    with gr.Row():
        with gr.Column(scale=1):
            file = gr.File(label="Check system info for validity", type="binary")
        with gr.Column(scale=1):
            validity = gr.HTML("", elem_id="sysinfo_validity")
        with gr.Column(scale=100):
            pass
    file.change(fn=check_sysinfo, inputs=[file], outputs=[validity], **QUIET)


def check_sysinfo(content: bytes | None) -> str:
    """Returns whether an uploaded report is as the program wrote it."""
    if content is None:
        return ""
    return "Valid" if sysinfo.check(content.decode("utf8", errors="ignore")) else "Invalid"


def create_actions_page() -> None:
    """Makes the page of what can be done to the running program."""
    notifications = gr.Button(value="Request browser notifications", elem_id="request_notifications")
    localization = gr.Button(value="Download localization template", elem_id="download_localization")
    scripts_button = gr.Button(
        value="Reload custom script bodies (No ui updates, No restart)", elem_id="settings_reload_script_bodies"
    )
    with gr.Row():
        unload = gr.Button(value="Unload SD checkpoint to RAM", elem_id="sett_unload_sd_model")
        reload = gr.Button(value="Load SD checkpoint to VRAM from RAM", elem_id="sett_reload_sd_model")
    with gr.Row():
        hash_all = gr.Button(value="Calculate hash for all checkpoint", elem_id="calculate_all_checkpoint_hash")
        threads = gr.Number(
            value=1,
            label="Number of parallel calculations",
            elem_id="calculate_all_checkpoint_hash_threads",
            precision=0,
            minimum=1,
        )
    notifications.click(fn=None, js="requestNotifications")
    localization.click(fn=None, js="download_localization")
    scripts_button.click(fn=scripts.reload_script_body_only, inputs=[], outputs=[])
    unload.click(fn=reporting(sd_models.unload_model_weights, "Unloaded the checkpoint"), inputs=[], outputs=[])
    reload.click(fn=reporting(load_model_to_device, "Loaded the checkpoint"), inputs=[], outputs=[])
    hash_all.click(fn=calculate_all_checkpoint_hash, inputs=[threads], outputs=[])


def reporting(function: Callable[[], Any], message: str) -> Callable[[], None]:
    """Returns a handler that waits until no job runs, and says in the page when it is done and how long it took."""

    def run() -> None:
        """Does it, in the queue of jobs, and says how long it took."""
        watch = timer.Timer()
        wrap_queued_call(function)()
        gr.Info(f"{message} in {watch.elapsed():.1f} seconds.")

    return run


def load_model_to_device() -> None:
    """Puts the current model onto its device; workers do so by themselves."""
    if not elsewhere.has_models():
        sd_models.send_model_to_device(shared.sd_model)


def calculate_all_checkpoint_hash(max_thread: float) -> None:
    """Computes the sha256 of every checkpoint that has none yet."""
    checkpoints = list(sd_models.checkpoint_aliases.values())
    pending = [info for info in dict.fromkeys(checkpoints) if info.sha256 is None]
    with ThreadPoolExecutor(max_workers=max(1, int(max_thread))) as pool:
        list(pool.map(lambda info: info.calculate_shorthash(), pending))
    gr.Info(f"Calculated the hash of {len(pending)} checkpoints.")


def create_licenses_page() -> None:
    """Makes the page of licences."""
    gr.HTML(licenses_html(), elem_id="licenses")


def required_packages() -> list[str]:
    """Returns the names of the packages the program is installed with."""
    with open(os.path.join(script_path, "requirements_versions.txt"), encoding="utf8") as file:
        lines = [line.partition("#")[0].strip() for line in file]
    return [line.partition("==")[0] for line in lines if line]


def licenses_html() -> str:
    """Returns the licence of the program, and what the packages it runs on say about theirs."""
    with open(os.path.join(script_path, "LICENSE"), encoding="utf8") as file:
        own = html.escape(file.read())
    rows = []
    for name in required_packages():
        try:
            info = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        licence = info.get("License-Expression") or (info.get("License") or "").split("\n")[0] or "see its files"
        rows.append(
            f"<tr><td>{html.escape(name)} {html.escape(info['Version'])}</td><td>{html.escape(licence[:80])}</td></tr>"
        )
    return (
        f"<h2>This program</h2><pre tabindex='0'>{own}</pre><h2>Packages it uses</h2>"
        f"<table><thead><tr><th>Package</th><th>Licence</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
