"""face: the HTML of the Extensions tab: what is installed, what can be had, the report about an extension, a state."""

from __future__ import annotations

import datetime
import html
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modules import extension_check, extensions, launch_utils, safe_mode
from modules.extension_check import HERE, ExtensionReport
from modules.extensions import Extension
from modules.hook_records import records

WEB_ADDRESSES = ("https://", "http://")


def escaped(text: object) -> str:
    """Returns a text for HTML; nothing for None."""
    return html.escape("" if text is None else str(text))


def link(address: str | None, text: str | None = None) -> str:
    """Returns a link to an address of the web, and any other address as the text it is."""
    shown = escaped(text or address)
    if not address or not address.startswith(WEB_ADDRESSES):
        return shown
    return f'<a href="{escaped(address)}" target="_blank" rel="noopener">{shown}</a>'


def commit_link(commit: str, remote: str | None, text: str | None = None) -> str:
    """Returns a link to a commit where the remote is known to show one under /commit/, else its short hash."""
    shown = text or commit[:8]
    if not remote or not remote.startswith("https://github.com/"):
        return escaped(shown)
    return link(f"{remote.removesuffix('.git').rstrip('/')}/commit/{commit}", shown)


def date_of(seconds: float | None) -> str:
    """Returns a time as text; nothing for None."""
    return "" if not seconds else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def details(summary: str, text: str) -> str:
    """Returns a text that is shown when its headline is clicked."""
    return f"<details><summary>{escaped(summary)}</summary><pre tabindex='0'>{escaped(text)}</pre></details>"


def check_button(label: str, **request: str) -> str:
    """Returns the button that asks for a report. request: as `ui_extensions.check_extension` takes it."""
    return (
        f'<button type="button" class="sm secondary extension-check" onclick="check_extension(this)" '
        f'data-request="{escaped(json.dumps(request))}">{escaped(label)}</button>'
    )


def seconds_by_extension(seconds: Mapping[str, float]) -> dict[str, float]:
    """Returns path of an extension -> seconds, from those of its files, in the order in which they were loaded."""
    found: dict[str, float] = {}
    for script, taken in seconds.items():
        if (extension := extensions.find_extension(script)) is not None:
            found[extension.path] = found.get(extension.path, 0.0) + taken
    return found


def duration(seconds: float | None) -> str:
    """Returns a duration as text; nothing for None."""
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def installed_table() -> str:
    """Returns the table of installed extensions: where each comes from, what it takes, and what went wrong."""
    at_start = seconds_by_extension(records.at_start)
    in_jobs = seconds_by_extension(records.in_jobs)
    places = {path: place for place, path in enumerate(at_start, 1)}
    per_job = {path: taken / records.jobs for path, taken in in_jobs.items()} if records.jobs else {}
    active, left_out = extensions.active(), safe_mode.left_out()
    rows = []
    for extension in extensions.extensions:
        extension.read_info_from_repo()
        times = (places.get(extension.path), at_start.get(extension.path), per_job.get(extension.path))
        rows.append(installed_row(extension, times, is_active=extension in active))
        notes = notes_of(extension, left_out)
        if notes:
            rows.append(f'<tr class="extension-notes"><td colspan="9">{"".join(notes)}</td></tr>')
    is_all = "checked" if all(extension.enabled for extension in extensions.extensions) else ""
    return f"""
<table id="extensions">
<thead><tr>
<th><label><input class="gr-check-radio gr-checkbox all_extensions_toggle" type="checkbox" {is_all}
 onchange="toggle_all_extensions(event)">Extension</label></th>
<th>URL</th><th>Branch</th><th>Version</th><th>Date</th>
<th title="Its place among the extensions that were loaded">Order</th>
<th title="What its files and hooks took until the page was there">Start</th>
<th title="What its hooks take in a job, on average since the start">Per job</th>
<th>Update</th>
</tr></thead>
<tbody>{"".join(rows)}</tbody>
</table>"""


def installed_row(
    extension: Extension, times: tuple[int | None, float | None, float | None], *, is_active: bool
) -> str:
    """Returns the row of an extension. times: its place in the order of loading, seconds at the start and in a job."""
    name = escaped(extension.name)
    place, at_start, per_job = times
    checked = " checked" if extension.enabled else ""
    state = "" if is_active else ' class="extension-off"'
    version = extension.version or extension.commit_hash[:8]
    cells = (
        ("URL", "built-in" if extension.is_builtin else link(extension.remote) or "no git"),
        ("Branch", escaped(extension.branch)),
        ("Version", commit_link(extension.commit_hash, extension.remote, version)),
        ("Date", date_of(extension.commit_date)),
        ("Order", escaped(place)),
        ("Start", duration(at_start)),
        ("Per job", duration(per_job)),
    )
    shown = "".join(f'<td data-label="{label}">{cell}</td>' for label, cell in cells)
    return (
        f'<tr{state}><td><label><input class="gr-check-radio gr-checkbox extension_toggle" name="enable_{name}" '
        f'type="checkbox"{checked} onchange="toggle_extension(event)">{name}</label></td>{shown}'
        f'<td data-label="Update">{update_cell(extension)}</td></tr>'
    )


def update_cell(extension: Extension) -> str:
    """Returns what is known of newer commits, with a ticked box where there are some, and the buttons for reports."""
    if extension.is_builtin:
        return ""
    status = escaped(extension.status) if extension.remote else ""
    check = check_button("Check", installed=extension.name)
    if not extension.can_update:
        return f'<span class="extension_status">{status}</span>{check}'
    box = (
        f'<label><input class="gr-check-radio gr-checkbox" name="update_{escaped(extension.name)}" checked '
        f'type="checkbox">{status}</label>'
    )
    return f'<span class="extension_status">{box}</span>{check_button("What changes", update=extension.name)}{check}'


def notes_of(extension: Extension, left_out: Mapping[str, str]) -> list[str]:
    """Returns what there is to say of an extension below its row: why it was left out, what failed, what its install.py
    said.
    """
    notes = []
    if extension.name in left_out and not extension.enabled:
        said = f"{left_out[extension.name]}. It is left out until it is ticked and applied."
        notes.append(f'<p class="extension-error">{escaped(said)}</p>')
    for failure in records.of_extension(extension.path):
        count = records.failures[failure]
        often = f" ({count} times)" if count > 1 else ""
        notes.append(f'<p class="extension-error">{escaped(f"{failure}{often}")}</p>')
    log = installer_log(extension)
    if log:
        notes.append(details("What its install.py said", log))
    return notes


def installer_log(extension: Extension) -> str:
    """Returns what the install.py of an extension has said the last time."""
    try:
        with open(launch_utils.installer_log(os.path.basename(extension.path)), encoding="utf8") as file:
            return file.read().strip()
    except OSError:
        return ""


def available_table(shown: Iterable[Mapping[str, Any]], installed: Iterable[str], hidden: int) -> str:
    """Returns the list of extensions that can be had. installed: normalized addresses. hidden: how many are filtered
    out.
    """
    present = set(installed)
    rows = "".join(available_row(entry, entry["normalized"] in present) for entry in shown)
    note = f"<p>Extensions hidden: {hidden}</p>" if hidden else ""
    return f"""
<table id="available_extensions">
<thead><tr><th>Extension</th><th>Description</th><th>Action</th></tr></thead>
<tbody>{rows}</tbody>
</table>{note}"""


def available_row(entry: Mapping[str, Any], is_installed: bool) -> str:
    """Returns the row of an extension that can be had."""
    tags = " ".join(f'<span class="extension-tag">{escaped(tag)}</span>' for tag in entry["tags"])
    facts = [
        f"{label}: {escaped(value)}"
        for label, value in (
            ("added", entry.get("added")),
            ("updated", str(entry.get("commit_time") or "")[:10]),
            ("stars", entry.get("stars")),
        )
        if value not in (None, "")
    ]
    disabled, label = ("disabled", "Installed") if is_installed else ("", "Install")
    url = escaped(json.dumps(entry["url"]))
    return (
        f'<tr class="{"extension-installed" if is_installed else ""}">'
        f'<td data-label="Extension">{link(entry["url"], entry["name"])}<br>{tags}</td>'
        f'<td data-label="Description">{escaped(entry["description"])}<p class="info">{" · ".join(facts)}</p></td>'
        f'<td data-label="Action"><button type="button" class="sm secondary" {disabled} '
        f'onclick="install_extension_from_index(this, {url})">{label}</button>'
        f"{check_button('Check', url=entry['url'])}</td></tr>"
    )


def report_html(report: ExtensionReport) -> str:
    """Returns a report about an extension: first what decides, then all of it as text."""
    missing = [f"{name}: {text}" for name, text in report.packages.items() if text != HERE]
    replaced = [f"{name}, as {', '.join(others)} does" for name, others in report.shared_patches.items()]
    parts = (
        ("Why it will not load", report.failures),
        ("What it fetches while it loads, and fails without", report.fetches),
        ("In conflict with the packages of this program", report.conflicts),
        ("Packages that are missing", missing),
        ("Packages it installs", report.installs),
        ("Replaces what another extension replaces", replaced),
        ("What changes against what is installed", report.changes),
    )
    verdict = "will load" if report.loads else "will not load"
    lists = "".join(f"<h4>{title}</h4>{bullets(texts)}" for title, texts in parts if texts)
    state = "extension-fine" if report.loads and not report.conflicts else "extension-error"
    return (
        f'<h3>{escaped(report.name)}: <span class="{state}">{verdict}</span></h3>{lists}'
        f"{details('File by file', extension_check.as_text(report))}"
        "<p class='info'>Told from its code, which was read and not run.</p>"
    )


def bullets(texts: Sequence[str]) -> str:
    """Returns texts as a list."""
    return f"<ul>{''.join(f'<li>{escaped(text)}</li>' for text in texts)}</ul>"


def state_tables(state: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Returns a record of what is installed, what differs from now marked."""
    created = datetime.datetime.fromtimestamp(state["created_at"]).strftime("%Y-%m-%d %H:%M:%S")
    path = f"<p>File: {escaped(state['filepath'])}</p>" if state.get("filepath") else ""
    program = state_row("The program", state.get("webui") or {}, now.get("webui") or {})
    others, current = state.get("extensions") or {}, now.get("extensions") or {}
    names = [*others, *(name for name in current if name not in others and not current[name].get("is_builtin"))]
    rows = "".join(state_row(name, others.get(name), current.get(name)) for name in names)
    return f"""
<h3>{escaped(state.get("name") or "Current")}, {created}</h3>{path}
<table id="config_state">
<thead><tr><th>What</th><th>URL</th><th>Branch</th><th>Commit</th><th>Date</th><th>Enabled</th></tr></thead>
<tbody>{program}{rows}</tbody>
</table>"""


def state_row(name: str, record: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    """Returns one row of a state. None: it is not there, in the record or now."""
    if record is None:
        return (
            f'<tr class="extension-off"><td>{escaped(name)}</td><td colspan="5">is not in this state: restoring it '
            "disables it</td></tr>"
        )
    now = {} if now is None else now

    def cell(field: str, label: str, shown: str) -> str:
        """Returns a cell, marked if the value is another now."""
        mark = ' class="extension-changed"' if record.get(field) != now.get(field) else ""
        return f'<td data-label="{label}"{mark}>{shown}</td>'

    enabled = "" if record.get("enabled") is None else ("yes" if record["enabled"] else "no")
    commit = record.get("commit_hash") or ""
    return (
        f"<tr><td>{escaped(name)}</td>"
        + cell("remote", "URL", "built-in" if record.get("is_builtin") else link(record.get("remote")))
        + cell("branch", "Branch", escaped(record.get("branch")))
        + cell("commit_hash", "Commit", commit_link(commit, record.get("remote")))
        + cell("commit_date", "Date", date_of(record.get("commit_date")))
        + cell("enabled", "Enabled", enabled)
        + "</tr>"
    )
