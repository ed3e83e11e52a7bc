"""The page while it is being made: what can be seen of the first tab works, however slow the machine is.

In these tests the other tabs are never made, as if the machine had not come to it yet, so nothing here depends on
time. One test slows the processor of the browser down instead, and takes what the page does by itself.
"""

import contextlib
import re
import urllib.error

import pytest

from test.browser import Site

LIGHT, DARK = "rgb(246, 247, 249)", "rgb(16, 20, 25)"
"""Backgrounds of the page."""

NO_OTHER_TABS = """
Object.defineProperty(window, "revealBlocks", {get: () => () => new Promise(() => {}), set() {}});
"""
"""Gradio's load events, which have the other tabs made, are never answered."""

NEVER_IDLE = """
const ask = window.requestIdleCallback;
window.requestIdleCallback = (callback, options) => options?.timeout ? ask(callback, options) : 0;
"""
"""A browser that always has something to do."""

RESTORED_FORM = """
new MutationObserver((_, observer) => {
    const field = document.querySelector("#txt2img_prompt textarea");
    if (!field) return;
    observer.disconnect();
    field.value = "red apple";
}).observe(document, {childList: true, subtree: true});
"""
"""A browser that puts the text of the form back as soon as there is a field, and tells nobody."""

WATCHED_BACKGROUND = """
window.backgrounds = [];
const watch = () => {
    for (const element of [document.documentElement, document.body, document.querySelector("gradio-app")]) {
        const color = element && getComputedStyle(element).backgroundColor;
        if (color && color !== "rgba(0, 0, 0, 0)") window.backgrounds.push(color);
    }
    requestAnimationFrame(watch);
};
requestAnimationFrame(watch);
"""
"""Notes what is behind the page at every paint."""


@pytest.fixture
def new_page(browser_context, page_server):
    """Returns a function that makes a page with scripts of its own, which run before those of the program."""
    sites = []

    def make(*scripts, **emulated):
        page = browser_context.new_page()
        page.emulate_media(**emulated)
        for script in scripts:
            page.add_init_script(script)
        sites.append(Site(page, page_server))
        return sites[-1]

    yield make
    with contextlib.suppress(urllib.error.URLError):
        page_server.request("/sdapi/v1/interrupt", {})
    faults = [fault for site in sites for fault in site.faults]
    for site in sites:
        site.page.evaluate("localStorage.clear()")
        site.page.close()
    assert not faults, "\n".join(faults)


@pytest.fixture
def early(new_page):
    """The page as soon as there is a prompt, which is as far as it gets."""
    return go(new_page(NO_OTHER_TABS))


def go(site, query=""):
    """Opens the page, or opens it again, and waits for the prompt only."""
    site.is_leaving = True
    site.page.goto(f"{site.server.url}/{query}", wait_until="commit")
    site.is_leaving = False
    site.page.wait_for_selector("#txt2img_prompt textarea")
    return site


def counts(site, tokens, counter="txt2img_token_counter"):
    """Waits until a counter shows so many tokens."""
    site.page.wait_for_function("([id, n]) => document.getElementById(id).innerText === n", arg=[counter, tokens])


def start_job(site, steps=150, size=256):
    """Starts a job from what is there first, and waits until the page shows how far it is."""
    site.prompt().fill("blue star")
    site.small(steps=steps, size=size)
    site.page.click("#txt2img_generate")
    wait_for_progress(site)


def wait_for_progress(site):
    site.page.wait_for_function("document.querySelector('.progressDiv .progress')?.dataset.text?.includes('%')")


def test_settings_are_there_before_any_script(early):
    assert early.page.evaluate("Object.keys(currentOpts).length > 300 && !executedOnLoaded")
    assert early.page.evaluate("opts") == {}, "scripts of extensions wait for them, and then for nothing else"


def test_a_job_shows_its_progress(early):
    start_job(early)
    assert early.page.locator(".progressDiv").is_visible()
    assert re.match(r"\[\d+%.*] Stable Diffusion", early.page.title())
    early.page.wait_for_selector(".livePreview img", state="attached")
    early.page.click("#txt2img_interrupt")
    early.wait_for_result("txt2img", [])
    early.page.wait_for_function("document.title === 'Stable Diffusion'")
    assert early.page.evaluate("executedOnLoaded") is False


def test_what_is_typed_is_counted_and_its_brackets_are_checked(early):
    early.prompt().fill("red apple")
    counts(early, "2/75")
    early.prompt(negative=True).fill("sad (blue")
    counts(early, "2/75", "txt2img_negative_token_counter")
    assert "1 not closed" in early.page.locator("#txt2img_negative_token_counter").get_attribute("title")


def test_a_text_that_was_there_before_the_scripts_is_counted_and_sent(new_page):
    site = go(new_page(RESTORED_FORM, NO_OTHER_TABS))
    counts(site, "2/75")
    site.small()
    site.generate()
    assert "red apple" in site.infotext()


def test_keys_weigh_and_a_size_can_be_pasted(early):
    early.prompt().fill("apple")
    early.prompt().evaluate("field => field.setSelectionRange(2, 2)")
    early.page.keyboard.press("Control+ArrowUp")
    assert early.prompt().input_value() == "(apple:1.1)"
    early.page.locator("#txt2img_width input[type=number]").evaluate(
        """input => {
            const clipboardData = new DataTransfer();
            clipboardData.setData("text/plain", "96 x 160");
            input.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true}));
        }"""
    )
    assert (early.value("txt2img_width"), early.value("txt2img_height")) == ("96", "160")


def test_generate_has_its_menu(early):
    early.page.click("#txt2img_generate", button="right")
    early.page.wait_for_selector("#context-menu >> text=Generate forever")


def test_hires_fix_is_chosen_by_its_box(early):
    early.page.locator("#txt2img_hr input[type=checkbox]").first.check()
    early.prompt().fill("red apple")
    early.small()
    assert early.generate().size == (128, 128)


def test_a_running_job_comes_back_by_itself(early, page_server):
    page_server.set_options(show_progress_every_n_steps=1)
    start_job(early, size=512)  # outlasts the reload; the interrupt ends it
    go(early)
    wait_for_progress(early)
    early.page.wait_for_selector(".livePreview img", state="attached")
    page_server.set_options(show_progress_every_n_steps=10)
    early.page.click("#txt2img_interrupt")
    early.wait_for_result("txt2img", [])
    assert "blue star" in early.infotext()
    early.page.wait_for_selector(".progressDiv", state="detached")
    assert early.page.evaluate("localStorage.getItem('txt2img_task_id')") is None


def test_a_job_that_ended_meanwhile_comes_back_too(early):
    start_job(early)
    id_task = early.page.evaluate("localStorage.getItem('txt2img_task_id')")
    early.is_leaving = True
    early.page.goto("about:blank")
    early.server.request("/sdapi/v1/interrupt", {})
    progress = {"id_task": id_task, "live_preview": False}
    while not early.server.request("/internal/progress", progress)["completed"]:
        early.page.wait_for_timeout(50)
    go(early)
    early.wait_for_result("txt2img", [])
    assert "blue star" in early.infotext()


def test_a_setting_leaves_a_running_job_to_the_button(early, page_server):
    page_server.set_options(restore_progress_by_itself=False)
    try:
        start_job(early, size=512)
        go(early)
        early.page.click("#txt2img_restore_progress")
        wait_for_progress(early)
        early.page.click("#txt2img_interrupt")
        early.wait_for_result("txt2img", [])
    finally:
        page_server.set_options(restore_progress_by_itself=True)


def test_a_job_that_the_server_does_not_know_is_forgotten(new_page):
    site = go(new_page("localStorage.setItem('txt2img_task_id', 'task(gone)')", NO_OTHER_TABS))
    site.page.wait_for_function("localStorage.getItem('txt2img_task_id') === null")
    assert not site.page.locator("#txt2img_restore_progress").is_visible()
    assert site.page.locator("#html_log_txt2img").inner_text().strip() == ""


@pytest.mark.parametrize(
    ("query", "system", "color"),
    [
        ("?__theme=dark", "light", DARK),
        ("?__theme=light", "dark", LIGHT),
        ("", "dark", DARK),
        ("", "light", LIGHT),
    ],
)
def test_the_background_is_that_of_the_theme_at_every_paint(new_page, query, system, color):
    site = go(new_page(NO_OTHER_TABS, WATCHED_BACKGROUND, color_scheme=system), query)
    site.page.wait_for_function("window.backgrounds.length > 10")
    assert set(site.page.evaluate("window.backgrounds")) == {color}
    roots = "[document.documentElement, document.body].map((it) => getComputedStyle(it).backgroundColor)"
    assert site.page.evaluate(roots) == [color, color]


def test_the_footer_follows_a_model_that_is_loaded_later(new_page, page_server):
    page_server.request("/sdapi/v1/reload-checkpoint", {})
    loaded = page_server.request("/sdapi/v1/options")["sd_checkpoint_hash"]
    answers = [{"hash": ""}, {"hash": ""}, {"hash": loaded}]
    site = new_page(NO_OTHER_TABS)

    def without_model(route):
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace(loaded, ""))

    site.page.route(f"{page_server.url}/", without_model)
    site.page.route("**/internal/checkpoint", lambda route: route.fulfill(json=answers.pop(0)))
    go(site)
    footer = site.page.locator("#sd_checkpoint_hash")
    assert footer.inner_text() == "N/A"
    site.page.wait_for_function(
        "hash => document.getElementById('sd_checkpoint_hash').innerText === hash", arg=loaded[:10]
    )
    assert footer.get_attribute("title") == loaded and answers == []


def test_the_server_tells_which_checkpoint_is_loaded(page_server):
    page_server.request("/sdapi/v1/reload-checkpoint", {})
    loaded = page_server.request("/sdapi/v1/options")["sd_checkpoint_hash"]
    assert loaded and page_server.request("/internal/checkpoint") == {"hash": loaded}


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_thumbnails_stand_below_the_image_and_only_if_there_are_several(early, width, height):
    page = early.page
    page.set_viewport_size({"width": width, "height": height})
    early.prompt().fill("red apple")
    early.small()
    early.generate()
    places = """() => [".preview .media-button img", ".preview .thumbnails"].map((part) => {
        const {top, bottom} = document.querySelector(`#txt2img_gallery ${part}`).getBoundingClientRect();
        return {top, bottom};
    })"""
    image, strip = page.evaluate(places)
    assert strip["bottom"] == strip["top"] >= image["bottom"]
    assert not page.locator("#txt2img_gallery .preview .thumbnail-small").is_visible()
    assert page.evaluate("selected_gallery_index()") == 0  # scripts find it nevertheless
    early.number("txt2img_batch_size", 2)
    early.generate()
    image, strip = page.evaluate(places)
    assert strip["bottom"] - strip["top"] > 30 and strip["top"] >= image["bottom"] > image["top"] + 100


@pytest.fixture
def busy(new_page):
    """The page, loaded in a browser that has no time for what comes later."""
    site = new_page(NEVER_IDLE).open()
    assert site.page.locator("#tab_settings [id^=column_settings_]").count() == 1  # the one scripts look at
    return site


def test_what_comes_later_is_there_when_its_tab_is_opened(busy):
    page = busy.page
    busy.show("settings")
    assert page.locator("#tab_settings [id^=setting_]").first.is_visible()
    page.get_by_role("tab", name="User interface").click()
    page.wait_for_selector("#setting_hidden_tabs")
    assert "settings-comment" in page.locator("#setting_hidden_tabs").inner_html()
    page.get_by_role("tab", name="Actions").click()
    page.wait_for_selector("#calculate_all_checkpoint_hash")
    busy.show("modelmerger")
    page.wait_for_selector("#modelmerger_merge")
    busy.show("extensions")
    page.wait_for_selector("#extensions tbody tr")
    assert page.locator("#setting_samples_format").count() == 0


def test_settings_are_found_and_stored_that_nobody_has_seen(busy):
    page = busy.page
    before = busy.server.request("/sdapi/v1/options")
    busy.show("settings")
    page.fill("#settings_search :is(textarea, input)", "jpeg")
    page.wait_for_selector("#setting_jpeg_quality")
    page.wait_for_selector("#setting_samples_format", state="attached")
    assert not page.locator("#setting_outdir_samples").is_visible()
    busy.number("setting_jpeg_quality", 81)
    page.click("#settings_submit")
    page.wait_for_function("document.getElementById('settings_result').innerText.includes('1 settings changed')")
    assert busy.server.request("/sdapi/v1/options") == {**before, "jpeg_quality": 81}
    busy.server.set_options(jpeg_quality=before["jpeg_quality"])


def test_settings_are_stored_before_their_pages_are_there(busy):
    before = busy.server.request("/sdapi/v1/options")
    busy.show("settings")
    busy.page.click("#settings_submit")
    busy.page.wait_for_function("document.getElementById('settings_result').innerText.includes('0 settings changed')")
    assert busy.server.request("/sdapi/v1/options") == before


def test_an_image_editor_is_made_when_it_is_seen_with_the_image_it_was_given(busy):
    page = busy.page
    busy.prompt().fill("red apple")
    busy.small()
    busy.generate()
    assert page.locator("#img2maskimg").count() == 1 and page.locator("#img2maskimg canvas").count() == 0
    page.click("#txt2img_send_to_inpaint")
    page.wait_for_selector("#img2maskimg canvas")
    page.wait_for_function("window.sourceSize?.()[0] === 64")
    assert page.locator("#img2img_sketch canvas").count() == 0  # there was no time to make it


def test_a_slow_browser_shows_what_the_first_job_does(new_page):
    site = new_page()
    devtools = site.page.context.new_cdp_session(site.page)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    go(site)
    start_job(site)
    counts(site, "2/75")
    site.page.click("#txt2img_interrupt")
    site.wait_for_result("txt2img", [])
