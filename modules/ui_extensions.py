"""face: the Extensions tab: what is installed, what can be had, installing from an address, states to go back to."""

from __future__ import annotations

import functools
import html
import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timezone  # noqa: F401  # names extensions know
from typing import Any

import gradio as gr

from modules import (
    config_states,
    errors,
    extension_index,
    extension_install,
    extension_sources,
    extensions,
    restart,
    safe_mode,
    shared,
    ui_extensions_html,
    util,
)
from modules.call_queue import wrap_gradio_call_no_job, wrap_gradio_gpu_call
from modules.paths_internal import config_states_dir
from modules.ui_common import QUIET, create_refresh_button
from modules.ui_components import FormRow

available_extensions: dict[str, Any] = {"extensions": []}
"""The index that was loaded last."""

STYLE_PRIMARY = ' style="color: var(--primary-400)"'
TAGS = ("script", "ads", "localization", "installed")
HIDDEN_TAGS = ("ads", "localization", "installed")
CURRENT = "Current"

sort_ordering = [
    (is_descending, key if key is not None else lambda entry: "z") for _, is_descending, key in extension_index.ORDERS
]


def check_access() -> None:
    """Raises InvalidInput where the flags say that nobody may change extensions from the page."""
    if shared.cmd_opts.disable_extension_access:
        raise errors.InvalidInput(
            "Extensions cannot be changed from the page of a server that is open to others: start it without --listen, "
            "--share, --ngrok and --server-name, or with --enable-insecure-extension-access"
        )


def telling(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a handler whose error is shown as a message over the page, and ends the chain of events."""

    @functools.wraps(handler)
    def told(*args: Any) -> Any:
        """Calls the handler."""
        try:
            return handler(*args)
        except (errors.WebuiError, AssertionError, OSError, ValueError, subprocess.CalledProcessError) as e:
            raise gr.Error(html.escape(getattr(e, "stderr", None) or str(e)), print_exception=False) from e

    return told


def names_in(text: str, field: str) -> list[str]:
    """Returns the names that the page sends as a JSON list. Raises InvalidInput for anything else."""
    names = json.loads(text or "[]")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise errors.InvalidInput(f"{field}: a list of names of extensions is expected", field=field)
    return names


def apply_changes(disable_list: str, update_list: str, disable_all: str) -> str:
    """Updates extensions, after a backup of the state, and stores which are disabled. Raises InvalidInput when one
    could not be updated.
    """
    check_access()
    disabled, updates = names_in(disable_list, "disable_list"), names_in(update_list, "update_list")
    if updates:
        save_config_state("Backup (pre-update)")
    problems = extension_install.update(updates)
    shared.opts.disabled_extensions = disabled
    shared.opts.disable_all_extensions = disable_all
    shared.opts.save(shared.config_filename)
    safe_mode.forget_left_out({extension.name for extension in extensions.extensions} - set(disabled))
    if problems:
        raise errors.InvalidInput(f"Not restarted. {'; '.join(problems)}. Untick it and apply again.")
    return "Restarting..."


def restart_or_stop() -> None:
    """Starts the program anew, or ends it where nothing would start it again."""
    if restart.is_restartable():
        restart.restart_program()
    restart.stop_program()


def apply_and_restart(disable_list: str, update_list: str, disable_all: str) -> None:
    """Does what `apply_changes` does, and starts the program anew."""
    apply_changes(disable_list, update_list, disable_all)
    restart_or_stop()


def check_updates(id_task: str, disable_list: str) -> tuple[str, str]:
    """Asks the remotes of all enabled extensions for newer commits; returns the table, and no message."""
    check_access()
    disabled = names_in(disable_list, "disable_list")
    chosen = [x for x in extensions.extensions if not x.is_builtin and x.name not in disabled]
    for extension in chosen:
        extension.read_info_from_repo()
    chosen = [extension for extension in chosen if extension.remote]
    shared.state.job_count = len(chosen)

    def tell(name: str) -> None:
        """Shows how far it is."""
        shared.state.textinfo = name
        shared.state.nextjob()

    extension_install.check_updates(chosen, tell)
    return extension_table(), ""


def make_commit_link(commit_hash: str, remote: str | None, text: str | None = None) -> str:
    """Returns a link to a commit."""
    return ui_extensions_html.commit_link(commit_hash, remote, text)


def extension_table() -> str:
    """Returns the table of installed extensions."""
    return ui_extensions_html.installed_table()


def normalize_git_url(url: str | None) -> str:
    """Returns an address without what may be written in two ways."""
    return extension_install.normalized(url)


def get_extension_dirname_from_url(url: str) -> str:
    """Returns the folder an extension gets that has no name of its own."""
    return extension_install.name_from(url)


def install_extension_from_url(dirname: str | None, url: str, branch_name: str | None = None) -> list[str]:
    """Installs an extension; returns the table of those installed, and a message with what its install.py said."""
    check_access()
    path = extension_install.install(url or "", dirname or "", branch_name or "")
    installed = next(x for x in extensions.extensions if x.path == path)
    said = ui_extensions_html.installer_log(installed)
    log = ui_extensions_html.details("What its install.py said", said) if said else ""
    return [
        extension_table(),
        f"<p>Installed into {html.escape(path)}. It is loaded after Apply on the tab Installed.</p>{log}",
    ]


def install_extension_from_index(
    url: str, selected_tags: list[str], showing_type: str, filtering_type: str, sort_column: int, filter_text: str
) -> tuple[str, Any, str, str]:
    """Installs an extension of the index; returns the tables of what can be had and of what is installed, a message,
    and what else changes on the page.
    """
    table, message = install_extension_from_url(None, url)
    code, tags = refresh_available_extensions_from_data(
        selected_tags, showing_type, filtering_type, sort_column, filter_text
    )
    return code, gr.update(choices=tags), table, message


def refresh_available_extensions(
    url: str, selected_tags: list[str], showing_type: str, filtering_type: str, sort_column: int
) -> tuple[str, str, Any, str, str]:
    """Loads the index; returns its address, the list, the tags there are, and an empty search and message.

    From a server that is open to others only the default address can be loaded.
    """
    if url != extension_index.DEFAULT_ADDRESS:
        check_access()
    loaded = extension_index.fetch(url)
    available_extensions.clear()
    available_extensions.update(loaded)
    code, tags = refresh_available_extensions_from_data(selected_tags, showing_type, filtering_type, sort_column)
    return url, code, gr.update(choices=tags), "", ""


def refresh_available_extensions_for_tags(
    selected_tags: list[str], showing_type: str, filtering_type: str, sort_column: int, filter_text: str
) -> tuple[str, str]:
    """Returns the list for other tags or another order, and no message."""
    code, _ = refresh_available_extensions_from_data(
        selected_tags, showing_type, filtering_type, sort_column, filter_text
    )
    return code, ""


def search_extensions(
    filter_text: str, selected_tags: list[str], showing_type: str, filtering_type: str, sort_column: int
) -> tuple[str, str]:
    """Returns the list for another search, and no message."""
    return refresh_available_extensions_for_tags(selected_tags, showing_type, filtering_type, sort_column, filter_text)


def get_date(info: dict, key: str) -> str:
    """Returns a time of an entry of the index as a date in local time; empty for what is none."""
    try:
        moment = datetime.strptime(info.get(key), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except (ValueError, TypeError):
        return ""
    return moment.astimezone().strftime("%Y-%m-%d")


def refresh_available_extensions_from_data(
    selected_tags: list[str], showing_type: str, filtering_type: str, sort_column: int, filter_text: str = ""
) -> tuple[str, list[str]]:
    """Returns the list of what the index has, filtered and sorted, and the tags there are."""
    installed = set()
    for extension in extensions.extensions:
        extension.read_info_from_repo()
        installed.add(normalize_git_url(extension.remote))
    entries = []
    for entry in extension_index.in_order(available_extensions["extensions"], sort_column):
        normalized = normalize_git_url(entry["url"])
        tags = [*entry["tags"], "installed"] if normalized in installed else entry["tags"]
        entries.append({**entry, "normalized": normalized, "tags": tags})
    shown = [
        entry
        for entry in entries
        if extension_index.is_shown(
            entry,
            selected_tags,
            is_hiding=showing_type == "hide",
            needs_all=filtering_type == "and",
            text=filter_text,
        )
    ]
    tags = list(dict.fromkeys([*TAGS, *available_extensions.get("tags", {})]))
    return ui_extensions_html.available_table(shown, installed, len(entries) - len(shown)), tags


def check_extension(request: str) -> str:
    """Returns the report about an extension as HTML.

    request: JSON. {"installed": name}: as it is. {"update": name}: as its remote has it. {"url", "name", "branch"}:
    before it is installed. Addresses are cloned, which a server that is open to others refuses.
    """
    asked = json.loads(request)
    folder = asked.get("installed") or asked.get("update")
    if not folder:
        check_access()
        name = (asked.get("name") or "").strip() or extension_install.name_from(asked.get("url") or "")
        source, branch = (asked.get("url") or "").strip(), (asked.get("branch") or "").strip()
        report = extension_sources.report(source, os.path.basename(name), branch)
        return ui_extensions_html.report_html(report)
    extension = next((x for x in extensions.extensions if x.name == folder), None)
    if extension is None:
        raise errors.NotFound(f"There is no extension {folder}")
    if asked.get("installed"):
        return ui_extensions_html.report_html(extension_sources.report(extension.path))
    check_access()
    extension.read_info_from_repo()
    report = extension_sources.report(extension.remote or "", os.path.basename(extension.path), extension.branch or "")
    return ui_extensions_html.report_html(report)


def check_address(url: str, name: str, branch: str) -> str:
    """Returns the report about an extension before it is installed from an address."""
    return check_extension(json.dumps({"url": url, "name": name, "branch": branch}))


def save_config_state(name: str) -> tuple[Any, str, str]:
    """Stores how things are now; returns what the menu of states offers, what it shows, and a message."""
    record = {**config_states.get_config(), "name": (name or "").strip() or "Config"}
    moment = datetime.fromtimestamp(record["created_at"]).strftime("%Y_%m_%d-%H_%M_%S")
    part = "".join(character if character.isalnum() or character in " -_()" else "_" for character in record["name"])
    path = os.path.join(config_states_dir, f"{moment}_{part[:100]}.json")
    util.write_text_atomically(path, json.dumps(record, indent=4))
    titles = list(config_states.list_config_states())
    return gr.update(choices=[CURRENT, *titles], value=titles[0]), titles[0], f"<p>Saved as {html.escape(path)}</p>"


def state_named(name: str) -> dict[str, Any]:
    """Returns a stored state. Raises InvalidInput where there is none."""
    state = config_states.all_config_states.get(name)
    if state is None:
        raise errors.InvalidInput("Choose one of the saved states first", field="Saved Configs")
    return state


def prepare_restore(confirmed: bool, config_state_name: str, restore_type: str) -> str:
    """Does what is to be done before the restart that restores a state. Raises InvalidInput when it is not to be."""
    check_access()
    if not confirmed:
        raise errors.InvalidInput("Nothing was restored")
    state = state_named(config_state_name)
    if restore_type in ("extensions", "both"):
        shared.opts.restore_config_state_file = state["filepath"]
        shared.opts.save(shared.config_filename)
    if restore_type in ("webui", "both"):
        config_states.restore_webui_config(state)
    return f"<p>Restoring {html.escape(config_state_name)}...</p>"


def restore_config_state(confirmed: bool, config_state_name: str, restore_type: str) -> str:
    """Restores extensions, the program's checkout, or both, and has the page built anew; returns a message."""
    message = prepare_restore(confirmed, config_state_name, restore_type)
    shared.state.request_restart()
    return message


def restart_restored(restore_type: str) -> None:
    """Has the page built anew, or, where the program itself was changed, starts it anew."""
    if restore_type in ("webui", "both"):
        restart_or_stop()
    shared.state.request_restart()


def update_config_states_table(state_name: str) -> str:
    """Returns what is in a state, and where that differs from now."""
    now = config_states.get_config()
    state = now if state_name == CURRENT else state_named(state_name)
    return ui_extensions_html.state_tables(state, now)


def preload_extensions_git_metadata() -> None:
    """Asks git about all extensions, so that the table comes at once."""
    for extension in extensions.extensions:
        extension.read_info_from_repo()


def disabled_note() -> str:
    """Returns what to say above the table when extensions are disabled as a whole."""
    for flag, what in (("disable_all_extensions", "all"), ("disable_extra_extensions", "extra")):
        if getattr(shared.cmd_opts, flag):
            return f"--{flag.replace('_', '-')} was given: {NOT_LOADED[what]}"
    what = shared.opts.disable_all_extensions
    return f'"Disable all extensions" is set to {what}: {NOT_LOADED[what]}' if what in NOT_LOADED else ""


NOT_LOADED = {
    "all": "no extension is loaded.",
    "extra": "only the extensions that ship with the program are loaded.",
}


class UiExtensions:
    """The tab. `interface` is to be rendered into the page."""

    def __init__(self) -> None:
        config_states.list_config_states()
        with gr.Blocks(analytics_enabled=False) as self.interface:
            with gr.Tabs(elem_id="tabs_extensions"):
                with gr.Tab("Installed", id="installed"):
                    self.create_installed()
                with gr.Tab("Available", id="available"):
                    self.create_available()
                with gr.Tab("Install from URL", id="install_from_url"):
                    self.create_install()
                with gr.Tab("Backup/Restore"):
                    self.create_backup()
            self.create_report()
            self.connect_installs()
            self.interface.load(fn=extension_table, inputs=[], outputs=[self.table], **QUIET)
            self.interface.load(fn=lambda: update_config_states_table(CURRENT), outputs=[self.states_table], **QUIET)

    def create_installed(self) -> None:
        """Makes the table of what is installed, and the buttons above it."""
        with gr.Row(elem_id="extensions_installed_top"):
            label = "Apply and restart UI" if restart.is_restartable() else "Apply and quit"
            apply = gr.Button(value=label, variant="primary", elem_id="extensions_apply")
            check = gr.Button(value="Check for updates", elem_id="extensions_check_updates")
            disable_all = gr.Radio(
                label="Disable all extensions",
                choices=["none", "extra", "all"],
                value=shared.opts.disable_all_extensions,
                elem_id="extensions_disable_all",
            )
            disabled_list = gr.Text(elem_id="extensions_disabled_list", visible=False, container=False)
            update_list = gr.Text(elem_id="extensions_update_list", visible=False, container=False)
            refresh = gr.Button(value="Refresh", elem_id="extensions_refresh")
        with gr.Row():
            note = disabled_note()
            info = gr.HTML(f'<p class="extension-error">{note}</p>' if note else "", elem_id="extensions_info")
        with gr.Row(elem_classes="progress-container"):
            self.table = gr.HTML("Loading...", elem_id="extensions_installed_html")
        gr.HTML("", elem_id="extensions_page_errors")

        apply.click(
            fn=telling(apply_changes),
            js="extensions_apply",
            inputs=[disabled_list, update_list, disable_all],
            outputs=[info],
        ).success(fn=restart_or_stop, js="restart_reload", inputs=[], outputs=[])
        check.click(
            fn=wrap_gradio_gpu_call(check_updates, extra_outputs=[gr.update()]),
            js="extensions_check",
            inputs=[info, disabled_list],
            outputs=[self.table, info],
            **QUIET,
        )
        refresh.click(fn=look_again, inputs=[], outputs=[self.table, info], **QUIET)

    def create_available(self) -> None:
        """Makes the list of what can be had, with its filters."""
        with gr.Row(elem_classes=["extensions-index-row"]):
            load = gr.Button(value="Load from:", variant="primary", elem_id="extensions_index_load")
            self.address = gr.Text(
                value=extension_index.DEFAULT_ADDRESS,
                label="Extension index URL",
                elem_id="extensions_index_url",
            )
            self.to_install = gr.Text(elem_id="extension_to_install", visible=False)
            self.install_button = gr.Button(elem_id="install_extension_button", visible=False)
        with gr.Row():
            self.tags = gr.CheckboxGroup(
                value=list(HIDDEN_TAGS),
                label="Extension tags",
                choices=list(TAGS),
                elem_classes=["compact-checkbox-group"],
                elem_id="extensions_index_tags",
            )
            self.order = gr.Radio(
                value="newest first",
                label="Order",
                choices=[label for label, _, _ in extension_index.ORDERS],
                type="index",
                elem_classes=["compact-checkbox-group"],
                elem_id="extensions_index_order",
            )
        with gr.Row():
            self.showing = gr.Radio(
                value="hide", label="Showing type", choices=["hide", "show"], elem_classes=["compact-checkbox-group"]
            )
            self.filtering = gr.Radio(
                value="or", label="Filtering type", choices=["or", "and"], elem_classes=["compact-checkbox-group"]
            )
        with gr.Row():
            self.search = gr.Text(label="Search", elem_id="extensions_index_search")
        self.message = gr.HTML(elem_id="extensions_index_message")
        self.list = gr.HTML(elem_id="extensions_index_html")

        filters = [self.tags, self.showing, self.filtering, self.order]
        load.click(
            fn=wrap_gradio_call_no_job(refresh_available_extensions, extra_outputs=[gr.update()] * 4),
            inputs=[self.address, *filters],
            outputs=[self.address, self.list, self.tags, self.search, self.message],
        )
        for control in filters:
            control.change(
                fn=wrap_gradio_call_no_job(refresh_available_extensions_for_tags, extra_outputs=[gr.update()]),
                inputs=[*filters, self.search],
                outputs=[self.list, self.message],
                **QUIET,
            )
        self.search.change(
            fn=wrap_gradio_call_no_job(search_extensions, extra_outputs=[gr.update()]),
            inputs=[self.search, *filters],
            outputs=[self.list, self.message],
            **QUIET,
        )

    def create_install(self) -> None:
        """Makes the form for an address."""
        self.url = gr.Text(label="URL for extension's git repository", elem_id="extension_install_url")
        self.branch = gr.Text(
            label="Specific branch name",
            placeholder="Leave empty for the default branch",
            elem_id="extension_install_branch",
        )
        self.name = gr.Text(
            label="Local directory name",
            placeholder="Leave empty for the name in the URL",
            elem_id="extension_install_name",
        )
        with FormRow():
            self.install = gr.Button(value="Install", variant="primary", elem_id="extension_install")
            self.check_url = gr.Button(value="Check before installing", elem_id="extension_install_check")
        self.install_result = gr.HTML(elem_id="extension_install_result")

    def create_backup(self) -> None:
        """Makes the menu of states, and what is in the chosen one."""
        with gr.Row(elem_id="extensions_backup_top_row"):
            states = gr.Dropdown(
                label="Saved Configs",
                elem_id="extension_backup_saved_configs",
                value=CURRENT,
                choices=state_choices(),
            )
            create_refresh_button(
                states,
                config_states.list_config_states,
                lambda: {"choices": state_choices()},
                "refresh_config_states",
            )
            restore_type = gr.Radio(
                label="State to restore",
                choices=["extensions", "webui", "both"],
                value="extensions",
                elem_id="extension_backup_restore_type",
            )
            restore = gr.Button(value="Restore Selected Config", variant="primary", elem_id="extension_backup_restore")
        with gr.Row(elem_id="extensions_backup_top_row2"):
            name = gr.Textbox("", placeholder="Name", show_label=False, elem_id="extension_backup_name")
            save = gr.Button(value="Save Current Config", elem_id="extension_backup_save")
        message = gr.HTML("", elem_id="extension_backup_message")
        self.states_table = gr.HTML("Loading...", elem_id="extension_backup_table")

        shown = gr.Textbox(visible=False, elem_id="extension_backup_shown")
        save.click(fn=telling(save_config_state), inputs=[name], outputs=[states, shown, message])
        states.change(fn=telling(update_config_states_table), inputs=[states], outputs=[self.states_table], **QUIET)
        confirmed = gr.Checkbox(visible=False, elem_id="extension_backup_confirmed")
        restore.click(
            fn=telling(prepare_restore),
            js="config_state_confirm_restore",
            inputs=[confirmed, states, restore_type],
            outputs=[message],
        ).success(fn=restart_restored, js="(type) => (restart_reload(), type)", inputs=[restore_type], outputs=[])

    def create_report(self) -> None:
        """Makes what shows the report about an extension, over the page."""
        self.to_check = gr.Text(elem_id="extension_to_check", visible=False)
        self.check_button = gr.Button(elem_id="check_extension_button", visible=False)
        with gr.Column(elem_id="extension_report", elem_classes=["popup-dialog"]):
            self.report_html = gr.HTML("", elem_id="extension_report_html")

    def connect_installs(self) -> None:
        """Connects what installs and what reports, now that all of the tab is there."""
        show: dict[str, Any] = {"fn": None, "js": '() => popupId("extension_report")'}
        self.check_button.click(
            fn=telling(check_extension), inputs=[self.to_check], outputs=[self.report_html]
        ).success(**show)
        self.check_url.click(
            fn=telling(check_address), inputs=[self.url, self.name, self.branch], outputs=[self.report_html]
        ).success(**show)
        self.install.click(
            fn=wrap_gradio_call_no_job(install_extension_from_url, extra_outputs=[gr.update()]),
            inputs=[self.name, self.url, self.branch],
            outputs=[self.table, self.install_result],
        )
        self.install_button.click(
            fn=wrap_gradio_call_no_job(install_extension_from_index, extra_outputs=[gr.update()] * 3),
            inputs=[self.to_install, self.tags, self.showing, self.filtering, self.order, self.search],
            outputs=[self.list, self.tags, self.table, self.message],
        )


def look_again() -> tuple[str, str]:
    """Looks for extensions anew; returns their table and what to say above it."""
    extensions.list_extensions()
    note = disabled_note()
    return extension_table(), f'<p class="extension-error">{note}</p>' if note else ""


def state_choices() -> list[str]:
    """Returns what the menu of states offers."""
    return [CURRENT, *config_states.all_config_states]


def create_ui() -> gr.Blocks:
    """Returns the tab."""
    return UiExtensions().interface
