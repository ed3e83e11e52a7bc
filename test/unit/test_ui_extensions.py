"""The handlers of the Extensions tab, and the HTML they answer with."""

import json
import subprocess

import gradio as gr
import pytest

from modules import (
    config_states,
    errors,
    extension_index,
    extensions,
    hook_records,
    launch_utils,
    restart,
    safe_mode,
    shared,
    ui_extensions,
    ui_extensions_html,
)

GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder of extensions with one that fails, all files of the tab in a folder of the test."""
    folder = tmp_path / "extensions"
    (folder / "mine" / "scripts").mkdir(parents=True)
    (folder / "mine" / "scripts" / "a.py").write_text("import no_such_package\n", encoding="utf8")
    monkeypatch.setattr(extensions, "extensions_dir", str(folder))
    monkeypatch.setattr(extensions, "extensions_builtin_dir", str(tmp_path / "none"))
    monkeypatch.setattr(launch_utils, "cache_dir", str(tmp_path / "cache"))
    monkeypatch.setattr(safe_mode, "LEFT_OUT", str(tmp_path / "cache" / "left-out.json"))
    for module in (config_states, ui_extensions):
        monkeypatch.setattr(module, "config_states_dir", str(tmp_path / "states"))
    monkeypatch.setattr(shared, "config_filename", str(tmp_path / "config.json"))
    monkeypatch.setattr(shared.opts, "data", dict(shared.opts.data))
    monkeypatch.setattr(ui_extensions, "available_extensions", {"extensions": []})
    monkeypatch.setattr(hook_records, "records", hook_records.HookRecords())
    monkeypatch.setattr(ui_extensions_html, "records", hook_records.records)
    for name in ("extensions", "extension_paths", "loaded_extensions"):
        monkeypatch.setattr(extensions, name, type(getattr(extensions, name))())
    extensions.list_extensions()
    return folder


def test_the_table_has_a_box_for_each_extension_and_what_went_wrong(place):
    script = str(place / "mine" / "scripts" / "a.py")
    for _ in range(2):
        with hook_records.Call("process", script):
            raise ValueError("<oops>")
    launch_utils.keep_installer_log(str(place / "mine"), "said <this>")
    safe_mode.note_left_out("mine", "It was slow")
    table = ui_extensions.extension_table()
    assert 'name="enable_mine" type="checkbox" checked' in table
    assert "Extension mine failed in process: ValueError: &lt;oops&gt; (2 times)" in table
    assert "said &lt;this&gt;" in table and "It was slow" not in table
    shared.opts.disabled_extensions = ["mine"]
    extensions.list_extensions()
    table = ui_extensions.extension_table()
    assert 'name="enable_mine" type="checkbox" onchange' in table and "It was slow. It is left out until" in table


def test_the_table_tells_what_extensions_take(place):
    script = str(place / "mine" / "scripts" / "a.py")
    hook_records.records.add(script, 1.234)
    with hook_records.records.job():
        hook_records.records.add(script, 0.012)
    with hook_records.records.job():
        hook_records.records.add(script, 0.014)
    table = ui_extensions.extension_table()
    assert '"Order">1<' in table and '"Start">1.23 s<' in table and '"Per job">13.0 ms<' in table


def test_applying_stores_what_is_disabled_and_forgets_what_was_left_out(place):
    safe_mode.note_left_out("mine", "reason")
    assert ui_extensions.apply_changes('["other"]', "[]", "extra") == "Restarting..."
    stored = json.loads((place.parent / "config.json").read_text(encoding="utf8"))
    assert (stored["disabled_extensions"], stored["disable_all_extensions"]) == (["other"], "extra")
    assert safe_mode.left_out() == {}


@pytest.mark.parametrize("names", ['{"a": 1}', "[5]", "nonsense"])
def test_lists_that_are_none_are_refused(place, names):
    with pytest.raises((errors.InvalidInput, ValueError)):
        ui_extensions.apply_changes(names, "[]", "none")
    with pytest.raises(gr.Error):
        ui_extensions.telling(ui_extensions.apply_changes)(names, "[]", "none")


def test_the_program_is_started_anew_or_ended(place, monkeypatch):
    done = []
    monkeypatch.setattr(restart, "restart_program", lambda: done.append("restarted"))
    monkeypatch.setattr(restart, "stop_program", lambda: done.append("stopped"))
    monkeypatch.setattr(restart, "is_restartable", lambda: False)
    ui_extensions.apply_and_restart("[]", "[]", "none")
    assert done == ["stopped"]
    monkeypatch.setattr(restart, "is_restartable", lambda: True)
    ui_extensions.restart_or_stop()
    assert done[1] == "restarted"


@pytest.mark.parametrize(
    "change",
    [
        lambda: ui_extensions.apply_changes("[]", "[]", "none"),
        lambda: ui_extensions.check_updates("task(x)", "[]"),
        lambda: ui_extensions.install_extension_from_url("", "https://example.org/x"),
        lambda: ui_extensions.install_extension_from_index("https://example.org/x", [], "hide", "or", 0, ""),
        lambda: ui_extensions.refresh_available_extensions("https://example.org/x", [], "hide", "or", 0),
        lambda: ui_extensions.check_extension('{"url": "https://example.org/x"}'),
        lambda: ui_extensions.check_extension('{"update": "mine"}'),
        lambda: ui_extensions.restore_config_state(True, "x", "extensions"),
    ],
)
def test_a_server_open_to_others_changes_nothing(place, monkeypatch, change):
    monkeypatch.setattr(shared.cmd_opts, "disable_extension_access", True)
    with pytest.raises(errors.InvalidInput, match="--enable-insecure-extension-access"):
        change()


def test_a_server_open_to_others_loads_the_index_it_knows(place, monkeypatch, tmp_path):
    index = tmp_path / "index.json"
    index.write_text(json.dumps({"extensions": [{"name": "n", "url": "u"}]}), encoding="utf8")
    monkeypatch.setattr(extension_index, "DEFAULT_ADDRESS", index.as_uri())
    monkeypatch.setattr(shared.cmd_opts, "disable_extension_access", True)
    address, table, *_ = ui_extensions.refresh_available_extensions(index.as_uri(), [], "hide", "or", 0)
    assert address == index.as_uri() and "<td" in table


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "helper"
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "a.py").write_text("from modules import scripts\n", encoding="utf8")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*GIT, *arguments], cwd=folder, check=True)
    return folder


@pytest.fixture
def listed(place, repository, monkeypatch):
    """The index has the repository, and one that is another's."""
    monkeypatch.setattr(ui_extensions.extension_install, "extensions_dir", str(place))
    entries = [{"name": "Helper", "url": str(repository)}, {"name": "Other", "url": "u", "tags": ["ads"]}]
    ui_extensions.available_extensions.update(extension_index.read(json.dumps({"extensions": entries}), "here"))


def test_installed_ones_carry_a_tag(listed, repository):
    table, _, installed, message = ui_extensions.install_extension_from_index(
        str(repository), ["installed"], "show", "or", 2, ""
    )
    assert "Helper" in table and "Other" not in table and "hidden: 1" in table and "disabled" in table
    assert "enable_helper" in installed and "Installed into" in message
    assert "Other" in ui_extensions.search_extensions("oth", [], "hide", "or", 0)[0]
    assert "Other" not in ui_extensions.refresh_available_extensions_for_tags(["ads"], "hide", "or", 0, "")[0]


def test_what_is_not_installed_is_checked(listed, repository):
    report = ui_extensions.check_address(str(repository), "", "")
    assert "helper: " in report and "will load" in report and "will not" not in report


def test_what_is_installed_is_checked(place, monkeypatch):
    monkeypatch.setattr(ui_extensions.extension_sources.paths_internal, "extensions_dir", str(place))
    report = ui_extensions.check_extension('{"installed": "mine"}')
    assert "will not load" in report and "no_such_package" in report and "pip install" in report
    with pytest.raises(errors.NotFound):
        ui_extensions.check_extension('{"installed": "nobody"}')


def test_a_state_is_saved_shown_and_restored(place, monkeypatch):
    update, title, message = ui_extensions.save_config_state(" be/fore ")
    assert title.startswith("be/fore: ") and title in update["choices"]
    assert "be_fore.json" in message and len(list((place.parent / "states").iterdir())) == 1
    shared.opts.disabled_extensions = ["mine"]
    extensions.list_extensions()
    (place / "newer").mkdir()
    extensions.list_extensions()
    table = ui_extensions.update_config_states_table(title)
    assert "extension-changed" in table and "newer" in table and "is not in this state" in table
    assert "extension-changed" not in ui_extensions.update_config_states_table("Current")
    asked = []
    monkeypatch.setattr(type(shared.state), "request_restart", lambda state: asked.append("reload"))
    assert "Restoring be/fore" in ui_extensions.restore_config_state(True, title, "extensions")
    assert asked == ["reload"] and shared.opts.restore_config_state_file.endswith("be_fore.json")


@pytest.mark.parametrize(("confirmed", "name"), [(False, "x"), (True, "Current"), (True, "gone")])
def test_nothing_is_restored_unasked(place, confirmed, name):
    with pytest.raises(errors.InvalidInput):
        ui_extensions.restore_config_state(confirmed, name, "extensions")
    assert not shared.opts.restore_config_state_file


@pytest.mark.parametrize(
    ("flag", "setting", "note"),
    [
        ("", "none", ""),
        ("", "all", '"Disable all extensions" is set to all: no extension is loaded.'),
        ("disable_extra_extensions", "none", "--disable-extra-extensions was given: only the extensions that ship"),
        ("disable_all_extensions", "extra", "--disable-all-extensions was given: no extension"),
    ],
)
def test_extensions_that_are_disabled_as_a_whole_are_told_of(place, monkeypatch, flag, setting, note):
    if flag:
        monkeypatch.setattr(shared.cmd_opts, flag, True)
    shared.opts.disable_all_extensions = setting
    assert ui_extensions.disabled_note().startswith(note) and bool(ui_extensions.disabled_note()) == bool(note)


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://github.com/a/b.git", 'href="https://github.com/a/b/commit/0123456789"'),
        ("https://example.org/a/b", "01234567"),
        (None, "01234567"),
    ],
)
def test_commits_are_linked_where_their_address_is_known(remote, shown):
    made = ui_extensions.make_commit_link("0123456789", remote)
    assert shown in made and "01234567" in made and made.count("<a ") == ("github" in (remote or ""))


def test_addresses_are_links_of_the_web_only():
    assert ui_extensions_html.link("javascript:alert(1)") == "javascript:alert(1)"
    assert 'href="https://x/&quot;"' in ui_extensions_html.link('https://x/"')


def test_dates_of_the_index():
    assert ui_extensions.get_date({"added": "2024-01-15T12:00:00Z"}, "added") == "2024-01-15"
    assert ui_extensions.get_date({"added": "x"}, "added") == ui_extensions.get_date({}, "added") == ""


def test_names_that_extensions_know():
    assert (
        ui_extensions.normalize_git_url("https://x/y.git") == "https://x/y"
        and ui_extensions.normalize_git_url(None) == ""
    )
    assert ui_extensions.get_extension_dirname_from_url("https://x/y.git") == "y"
    assert len(ui_extensions.sort_ordering) == 8
