"""The Extensions tab in a browser: what failed, what can be had, installing, restarting, updates, states to go back to.

The extensions lie in git repositories of this computer.
"""

import json
import subprocess

import pytest

from test.browser import BROWSER_ARGS, WAIT_MS, PageServer, Site, find_browser

RESTART_MS = 180_000
SCRIPT = """
from modules import scripts


class Helper(scripts.Script):
    def title(self):
        return "{title}"

    def show(self, is_img2img):
        return scripts.AlwaysVisible
"""
FAULTY_TAB = """
import gradio as gr
from modules import script_callbacks


def press():
    return {}["no such"]


def on_ui_tabs():
    with gr.Blocks(analytics_enabled=False) as tab:
        out = gr.Textbox(elem_id="faulty_out")
        gr.Button("Press", elem_id="faulty_press").click(press, outputs=[out])
    return [(tab, "Faulty", "faulty")]


script_callbacks.on_ui_tabs(on_ui_tabs)
"""
FAULTY_SCRIPT = """
onUiUpdate(() => { noSuchFunction(); });
onUiLoaded(async () => { await noSuchFunction(); });
"""
GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main")


def commit(folder, message):
    for arguments in (["add", "."], ["commit", "-qm", message]):
        subprocess.run([*GIT, *arguments], cwd=folder, check=True)
    return subprocess.run([*GIT, "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """Folders of three repositories: alpha, beta with a branch "side", and an index of them."""
    root = tmp_path_factory.mktemp("repositories")
    for name in ("alpha", "beta"):
        (root / name / "scripts").mkdir(parents=True)
        (root / name / "scripts" / f"{name}.py").write_text(SCRIPT.format(title=name), encoding="utf8")
        (root / name / "install.py").write_text(f"print('preparing {name}')\n", encoding="utf8")
        subprocess.run([*GIT, "init", "-q"], cwd=root / name, check=True)
        commit(root / name, "first")
    subprocess.run([*GIT, "branch", "side"], cwd=root / "beta", check=True)
    entries = [
        {
            "name": "Alpha",
            "url": f"file://{root}/alpha",
            "description": "Helps <a lot>",
            "tags": ["script"],
            "stars": 2,
        },
        {"name": "Zeta", "url": "https://example.org/zeta", "description": "", "tags": ["tab"], "stars": 7},
        {"name": "Adverts", "url": "https://example.org/ads", "description": "", "tags": ["ads"]},
    ]
    index = {"tags": {"tab": "adds a tab"}, "extensions": entries}
    (root / "index.json").write_text(json.dumps(index), encoding="utf8")
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A program with an extension that cannot be imported, and one whose handler fails, as do scripts of both."""
    data_dir = tmp_path_factory.mktemp("extensions-page")
    broken = data_dir / "extensions" / "broken"
    (broken / "scripts").mkdir(parents=True)
    (broken / "scripts" / "broken.py").write_text("import os\nimport no_such_package\n", encoding="utf8")
    (broken / "javascript").mkdir()
    (broken / "javascript" / "broken.js").write_text("\nnoSuchFunction();\n", encoding="utf8")
    faulty = data_dir / "extensions" / "faulty"
    for name, text in (("scripts/faulty.py", FAULTY_TAB), ("javascript/faulty.js", FAULTY_SCRIPT)):
        (faulty / name).parent.mkdir(parents=True)
        (faulty / name).write_text(text, encoding="utf8")
    running = PageServer(data_dir, "--skip-load-model-at-start")
    try:
        running.wait()
        yield running
    finally:
        running.stop()


class ExtensionsSite(Site):
    """The page, with what the broken extension throws left out of its faults."""

    def _add_fault(self, fault):
        if "noSuchFunction" not in fault:
            super()._add_fault(fault)

    def sub_tab(self, label):
        self.show("extensions")
        self.page.locator("#tabs_extensions > .tab-nav > button", has_text=label).click()

    def fill(self, elem_id, text):
        self.page.locator(f"#{elem_id} :is(textarea, input)").fill(text)

    def row(self, name):
        return self.page.locator(f"#extensions tbody tr:has(input[name='enable_{name}'])")

    def wait_for_restart(self):
        """Waits until the page has come back by itself."""
        self.page.wait_for_function("!document.querySelector('#tabs')", timeout=WAIT_MS)
        ready = "window.executedOnLoaded && Object.keys(window.opts).length > 0 && document.querySelector('#tabs')"
        self.page.wait_for_function(ready, timeout=RESTART_MS)
        self.page.wait_for_selector("#extensions tbody tr", state="attached")
        self.is_leaving = False


@pytest.fixture(scope="module")
def shared_site(browser_context, server):
    site = ExtensionsSite(browser_context.new_page(), server)
    site.page.on("dialog", lambda dialog: dialog.accept())
    site.open()
    site.page.wait_for_selector("#extensions tbody tr", state="attached")
    return site


@pytest.fixture
def site(shared_site):
    yield shared_site
    faults = list(shared_site.faults)
    shared_site.faults.clear()
    assert not faults, "\n".join(faults)


@pytest.fixture(scope="module")
def browser_context():
    """A browser; that of the other files starts the server they share."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: the page is not tested")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(BROWSER_ARGS))
        yield browser.new_context(viewport={"width": 1280, "height": 900})
        browser.close()


def test_what_failed_is_named_with_file_and_line(site):
    site.sub_tab("Installed")
    notes = site.page.locator("#extensions .extension-notes").inner_text()
    assert "Extension broken failed in load (scripts/broken.py, line 2): ModuleNotFoundError" in notes
    assert "pip install no_such_package" in notes
    assert "broken.js, line 2: Uncaught ReferenceError" in site.page.locator("#extensions_page_errors").inner_text()
    errors = site.page.locator("#extensions_page_errors").inner_text()
    assert all(f"faulty.js, line {line}: ReferenceError: noSuchFunction" in errors for line in (2, 3))
    assert "ms" in site.row("Lora").inner_text() or " s" in site.row("Lora").inner_text()


def test_what_a_handler_throws_is_shown_over_the_page_and_named_in_the_tab(site):
    site.show("faulty")
    site.page.click("#faulty_press")
    failure = "Extension faulty failed in event (scripts/faulty.py, line 7): KeyError: 'no such'"
    site.page.locator(".toast-body", has_text=failure).wait_for()
    site.page.click(".toast-close")
    site.sub_tab("Installed")
    site.page.click("#extensions_refresh")
    site.page.locator("#extensions .extension-error", has_text=failure).wait_for()


def names_listed(site):
    return site.page.locator("#available_extensions tbody tr td:first-child").evaluate_all(
        "cells => cells.map((cell) => cell.firstChild.textContent)"
    )


def test_available_lists_filters_sorts_and_says_when_it_cannot_load(site, repositories):
    site.sub_tab("Available")
    site.fill("extensions_index_url", "http://127.0.0.1:9/index.json")
    site.page.click("#extensions_index_load")
    site.page.wait_for_function("document.querySelector('#extensions_index_message').innerText.includes('Offline?')")
    site.fill("extensions_index_url", f"file://{repositories}/index.json")
    site.page.click("#extensions_index_load")
    site.page.wait_for_selector("#available_extensions tbody tr")
    assert sorted(names_listed(site)) == ["Alpha", "Zeta"]
    assert "Helps <a lot>" in site.page.locator("#available_extensions").inner_text()
    assert "hidden: 1" in site.page.locator("#extensions_index_html").inner_text()
    site.page.locator("#extensions_index_order label", has_text="stars").click()
    site.page.wait_for_function("document.querySelector('#available_extensions td').innerText.startsWith('Zeta')")
    site.page.locator("#extensions_index_tags label", has_text="ads").click()
    site.page.wait_for_function("document.querySelectorAll('#available_extensions tbody tr').length === 3")
    site.fill("extensions_index_search", "LOT")
    site.page.wait_for_function("document.querySelectorAll('#available_extensions tbody tr').length === 1")
    assert names_listed(site) == ["Alpha"]


def report(site):
    """The text of the report that is shown; it is closed."""
    site.page.wait_for_selector(".global-popup #extension_report_html h3")
    text = site.page.locator("#extension_report").inner_text()
    site.page.keyboard.press("Escape")
    return text


def test_an_extension_is_checked_before_it_is_installed_and_installed(site, server):
    site.sub_tab("Available")
    site.page.locator("#available_extensions button", has_text="Check").click()
    assert "alpha: will load" in report(site)
    assert not (server.data_dir / "extensions" / "alpha").exists()
    site.page.locator("#available_extensions button", has_text="Install").click()
    site.page.wait_for_selector("#extensions_index_message details", state="attached")
    assert "Installed into" in site.page.locator("#extensions_index_message").inner_text()
    said = site.page.locator("#extensions_index_message details pre")
    assert said.text_content().strip() == "preparing alpha"
    assert site.page.locator("#available_extensions tbody tr").count() == 0  # installed ones are hidden
    assert (server.data_dir / "extensions" / "alpha" / "scripts" / "alpha.py").exists()


def test_an_address_is_installed_with_a_branch_and_a_name_of_its_own_once(site, server, repositories):
    site.sub_tab("Install from URL")
    for elem_id, text in (("url", f"{repositories}/beta"), ("branch", "side"), ("name", "my-beta")):
        site.fill(f"extension_install_{elem_id}", text)
    site.page.click("#extension_install")
    result = "document.querySelector('#extension_install_result').innerText"
    site.page.wait_for_function(f"{result}.includes('Installed into')")
    folder = server.data_dir / "extensions" / "my-beta"
    branch = subprocess.run([*GIT, "branch", "--show-current"], cwd=folder, capture_output=True, text=True)
    assert branch.stdout.strip() == "side"
    site.fill("extension_install_name", "again")
    site.page.click("#extension_install")
    site.page.wait_for_function(f"{result}.includes('is installed already, as my-beta')")
    assert not (server.data_dir / "extensions" / "again").exists()
    site.sub_tab("Installed")
    assert "side" in site.row("my-beta").inner_text()


def test_apply_disables_restarts_and_brings_the_page_back(site, server):
    site.sub_tab("Installed")
    site.row("broken").locator("input").uncheck()
    assert not site.page.locator(".all_extensions_toggle").is_checked()
    site.is_leaving = True
    site.page.click("#extensions_apply")
    site.wait_for_restart()
    site.sub_tab("Installed")
    assert not site.row("broken").locator("input").is_checked()
    assert site.page.locator("#extensions .extension-error").count() == 0
    assert all(" ms" in site.row(name).inner_text() for name in ("alpha", "my-beta"))
    settings = json.loads((server.data_dir / "config.json").read_text(encoding="utf8"))
    assert settings["disabled_extensions"] == ["broken"]


def test_updates_are_found_and_what_they_change_is_told(site, repositories):
    file = repositories / "alpha" / "scripts" / "alpha.py"
    file.write_text(file.read_text(encoding="utf8") + "\n    def process(self, p):\n        pass\n", encoding="utf8")
    commit(repositories / "alpha", "second")
    site.sub_tab("Installed")
    site.page.click("#extensions_check_updates")
    site.page.wait_for_selector("#extensions input[name='update_alpha']")
    assert site.page.locator("input[name='update_alpha']").is_checked()
    assert "new commits" in site.row("alpha").inner_text() and "latest" in site.row("my-beta").inner_text()
    site.row("alpha").locator("button", has_text="What changes").click()
    assert "+ hook Helper.process" in report(site)


def head(folder):
    return subprocess.run([*GIT, "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True).stdout


def test_a_state_is_saved_before_an_update_and_restored(site, server, repositories):
    alpha = server.data_dir / "extensions" / "alpha"
    before = head(alpha)
    site.sub_tab("Backup/Restore")
    site.fill("extension_backup_name", "before the update")
    site.page.click("#extension_backup_save")
    site.page.wait_for_function("document.querySelector('#extension_backup_message').innerText.includes('Saved as')")
    site.sub_tab("Installed")
    site.is_leaving = True
    site.page.click("#extensions_apply")
    site.wait_for_restart()
    assert head(alpha) == head(repositories / "alpha") != before
    site.sub_tab("Backup/Restore")
    site.page.locator("#extension_backup_saved_configs input").click()
    site.page.locator("[role=option]", has_text="before the update").dispatch_event("mousedown")
    site.page.wait_for_function("document.querySelector('#extension_backup_table').innerText.includes('before the')")
    site.is_leaving = True
    site.page.click("#extension_backup_restore")
    site.wait_for_restart()
    assert head(alpha) == before
    site.sub_tab("Installed")
    assert not site.row("broken").locator("input").is_checked() and site.row("alpha").locator("input").is_checked()
