"""face: the page: the table of tabs, and their assembly with quick settings above and the footer below."""

from __future__ import annotations

import html
import mimetypes
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import torch

from modules import (
    errors,
    gradio_extensons,
    infotext_utils,
    script_callbacks,
    shared,
    ui_checkpoint_merger,
    ui_extensions,
    ui_generation,
    ui_gradio_extensions,
    ui_img2img,
    ui_loadsave,
    ui_pnginfo,
    ui_postprocessing,
    ui_reveal,
    ui_settings,
    ui_tempdir,
    ui_txt2img,
    version,
)
from modules.paths_internal import data_path, script_path
from modules.shared import cmd_opts, opts

for media_type, suffix in (
    ("application/javascript", ".js"),
    ("application/javascript", ".mjs"),
    ("image/webp", ".webp"),
):
    mimetypes.add_type(
        media_type, suffix
    )  # the registry of some systems has other ideas, and the browser refuses to run them

UNTRACKED_TABS = ("settings", "extensions")
"""Tabs whose controls have no default in ui-config.json."""

LATER_TABS = ("modelmerger", "extensions")
"""Tabs whose content is made after the page is loaded, or when they are opened: no script looks there at the start."""


@dataclass
class Page:
    """What is built so far; later tabs connect to earlier ones through it."""

    dummy: gr.components.Component
    settings: ui_settings.UiSettings
    tabs: dict[str, Any]
    loadsave: ui_loadsave.UiLoadsave | None = None


@dataclass(frozen=True)
class TabRow:
    """A tab of the page. `create` builds it and returns something with an `interface` (gr.Blocks)."""

    id: str
    label: str
    create: Callable[[Page], Any]


TABS: tuple[TabRow, ...] = (
    TabRow("txt2img", "txt2img", lambda page: ui_txt2img.create_ui()),
    TabRow("img2img", "img2img", lambda page: ui_img2img.create_ui()),
    TabRow("extras", "Extras", lambda page: ui_postprocessing.create_ui()),
    TabRow("pnginfo", "PNG Info", lambda page: ui_pnginfo.create_ui()),
    TabRow("modelmerger", "Checkpoint Merger", lambda page: ui_checkpoint_merger.UiCheckpointMerger()),
)
"""The tabs before those of extensions, in the order they are built and, unless the user sorts them, shown."""


class PageBlocks(gr.Blocks):
    """The page. What a browser gets when it asks for it shows settings and lists of files as they are then, not as it
    was built.

    A load event could do the same, but the front end takes seconds for one with that many outputs.
    """

    settings: ui_settings.UiSettings | None = None
    _config: dict[str, Any] | None = None

    def __exit__(self, *args: Any) -> None:
        """Ends the building of the page, or of what an extension adds to it; what browsers are told of it is worked out
        when one asks.
        """
        with gradio_extensons.parts_of_a_page():
            super().__exit__(*args)

    @property
    def config(self) -> dict[str, Any]:
        """What the page is told of its components, with choices and settings as they are now."""
        self._config = self._config or self.get_config_file()
        if self.settings is not None and self._config:
            properties = {entry["id"]: entry["props"] for entry in self._config["components"]}
            for component, current in (*self.current_choices(), *self.settings.current_properties(self)):
                if "choices" in current:
                    current["choices"] = [
                        choice if isinstance(choice, tuple) else (choice, choice) for choice in current["choices"]
                    ]
                properties[component._id].update(current)
        return self._config

    def current_choices(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yields (component, choices) of every menu with a button that looks for files anew."""
        for component in self.blocks.values():
            arguments = getattr(component, "refreshed_args", None)
            if not callable(arguments) or not isinstance(component, gr.Dropdown):
                continue
            try:
                yield component, {name: value for name, value in arguments().items() if name == "choices"}
            except Exception as e:  # it may be an extension's
                errors.display(e, f"looking up the choices of {component.elem_id}")

    @config.setter
    def config(self, value: dict[str, Any]) -> None:
        """Keeps what Gradio has worked out."""
        self._config = value


@dataclass(frozen=True)
class Interface:
    blocks: gr.Blocks
    label: str
    id: str


def create_ui() -> gr.Blocks:
    """Builds the page from the settings and scripts as they are now."""
    ui_gradio_extensions.reload_javascript()
    ui_tempdir.use_own_folder()
    ui_tempdir.install_ui_tempdir_override()
    infotext_utils.reset()
    if not opts.show_warnings:
        warnings.filterwarnings("ignore", module="gradio", category=UserWarning)
    with gradio_extensons.parts_of_a_page():
        demo = create_page()
        demo.queue(default_concurrency_limit=None)
    return demo


def create_page() -> PageBlocks:
    """Builds the tabs and puts them together."""
    settings = ui_settings.UiSettings()
    settings.register_settings()
    page = Page(gr.Textbox(visible=False, render=False), settings, {})
    interfaces = create_interfaces(page)
    shared.tab_names = [interface.label for interface in interfaces]

    with PageBlocks(analytics_enabled=False, title="Stable Diffusion") as demo:
        page.dummy.render()
        settings.add_quicksettings()
        create_tabs(page, in_preferred_order(interfaces))
        infotext_utils.connect_paste_params_buttons()
        create_audio_notification()
        gr.HTML(footer_html(), elem_id="footer")
        settings.add_functionality(demo)
        for name in ("txt2img", "img2img"):
            ui_generation.start_at_native_size(page.tabs[name].form)
        for tab in page.tabs.values():
            if hasattr(tab, "setup"):
                tab.setup(page, demo)
        ui_reveal.reveal_hidden_blocks(demo)
    demo.settings = settings
    page.loadsave.dump_defaults()
    demo.ui_loadsave = page.loadsave
    return demo


def create_interfaces(page: Page) -> list[Interface]:
    """Returns the contents of all tabs: ours, those of extensions, the settings."""
    for row in TABS:
        page.tabs[row.id] = row.create(page)
    # After the tabs: extensions that add to them wait for this moment.
    page.loadsave = ui_loadsave.UiLoadsave(cmd_opts.ui_config_file)
    page.settings.create_ui(page.loadsave, page.dummy)
    own = [Interface(page.tabs[row.id].interface, row.label, row.id) for row in TABS]
    others = [Interface(*tab) for tab in script_callbacks.ui_tabs_callback()]
    last = [(page.settings, "Settings", "settings"), (ui_extensions.UiExtensions(), "Extensions", "extensions")]
    return [*own, *others, *(Interface(tab.interface, label, name) for tab, label, name in last)]


def in_preferred_order(interfaces: Sequence[Interface]) -> list[Interface]:
    """Returns tabs in the order of the setting ui_tab_order; those it does not name keep theirs."""
    chosen = {name: i for i, name in enumerate(opts.ui_tab_order)}
    return sorted(interfaces, key=lambda interface: chosen.get(interface.label, len(chosen)))


def create_tabs(page: Page, interfaces: Sequence[Interface]) -> None:
    """Makes the row of tabs. Hidden ones are part of the page, so that what refers to their controls works, but have no
    button.
    """
    with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
        for interface in interfaces:
            is_visible = interface.label not in opts.hidden_tabs
            with gr.Tab(interface.label, id=interface.id, elem_id=f"tab_{interface.id}", visible=is_visible) as tab:
                interface.blocks.render()
            tab.comes_later = interface.id in LATER_TABS
            if interface.id not in UNTRACKED_TABS and is_visible:
                page.loadsave.add_block(interface.blocks, interface.id)
    page.loadsave.add_component(f"webui/Tabs@{tabs.elem_id}", tabs)
    page.loadsave.setup_ui()


def create_audio_notification() -> None:
    """Makes the sound that is played when images are done, if the user has put one into the data folder or beside the
    program.
    """
    paths = (os.path.join(folder, "notification.mp3") for folder in (data_path, script_path))
    path = next(filter(os.path.isfile, paths), None)
    if path is not None and opts.notification_audio:  # gr.Audio fetches nothing while it is hidden
        address = html.escape(ui_gradio_extensions.webpath(path))
        gr.HTML(f'<audio src="{address}" preload="auto"></audio>', elem_id="audio_notification", visible=False)


def gr_show(visible: bool = True) -> dict[str, Any]:
    """Returns the update that shows or hides a component, as extensions write it."""
    return {"visible": visible, "__type__": "update"}


def footer_html() -> str:
    """Returns the links and versions below the page."""
    links = (
        '<a href="./docs">API</a>',
        '<a href="https://gradio.app">Gradio</a>',
        '<a href="#" onclick="showProfile(\'./internal/profile-startup\'); return false;">Startup profile</a>',
        '<a href="#" onclick="settings_restart_gradio.click(); return false">Reload UI</a>',
    )
    return (
        f"<div class='footer-links'>{'<span>•</span>'.join(links)}</div><div class='versions'>{versions_html()}</div>"
    )


def versions_html() -> str:
    """Returns one line of versions; the page fills in the checkpoint."""
    versions = (
        f"version: <a>{html.escape(version.PROGRAM_VERSION)}</a>",  # where scripts look for it
        f"python: <span title='{html.escape(sys.version)}'>{platform.python_version()}</span>",
        f"torch: {html.escape(torch.__version__)}",
        f"gradio: {gr.__version__}",
        "checkpoint: <a id='sd_checkpoint_hash'>N/A</a>",
    )
    return "\n<span>•</span>\n".join(versions)


def setup_progressbar(*args: Any, **kwargs: Any) -> None:
    """Does nothing, as in v1.10.1: the bar of a task is the page's own."""


def __getattr__(name: str) -> Any:
    """Returns `txt2img_paste_fields` and `img2img_paste_fields`: what infotexts fill in, as versions before 1.6 had it
    here.
    """
    tab = name.removesuffix("_paste_fields")
    if name.endswith("_paste_fields") and tab in infotext_utils.paste_fields:
        return infotext_utils.paste_fields[tab]["fields"]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


from modules.call_queue import wrap_gradio_call, wrap_gradio_gpu_call  # noqa: E402, F401  # A1111 names
from modules.infotext_utils import PasteField, image_from_url_text  # noqa: E402, F401
from modules.ui_common import create_output_panel, create_refresh_button, plaintext_to_html  # noqa: E402, F401
from modules.ui_components import (  # noqa: E402, F401
    FormGroup,
    FormHTML,
    FormRow,
    InputAccordion,
    ResizeHandleRow,
    ToolButton,
)
from modules.ui_generation import (  # noqa: E402, F401
    create_override_settings_dropdown,
    ordered_ui_categories,
    update_negative_prompt_token_counter,
    update_token_counter,
)
from modules.ui_img2img import resize_from_to_html  # noqa: E402, F401
from modules.ui_interrogate import interrogate, interrogate_deepbooru, process_interrogate  # noqa: E402, F401
from modules.ui_routes import setup_ui_api  # noqa: E402, F401
from modules.ui_settings import create_setting_component  # noqa: E402, F401
from modules.ui_symbols import (  # noqa: E402, F401
    apply_style_symbol,
    clear_prompt_symbol,
    detect_image_size_symbol,
    extra_networks_symbol,
    paste_symbol,
    random_symbol,
    refresh_symbol,
    restore_progress_symbol,
    reuse_symbol,
    save_style_symbol,
    switch_values_symbol,
)
from modules.ui_txt2img import calc_resolution_hires  # noqa: E402, F401
