"""The page as a whole in a browser: viewer, drops, settings, translations, phones, readability."""

import time

import pytest
from PIL import Image, PngImagePlugin

from test import browser

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
GLOBALS = """
gradioApp onUiLoaded onUiUpdate updateInput opts get_uiCurrentTab get_uiCurrentTabContent switch_to_img2img
switch_to_txt2img selected_gallery_index create_submit_args randomId requestProgress inputAccordionChecked
switch_to_img2img_tab titles args_to_array getTranslation onAfterUiUpdate showSubmitButtons activePromptTextarea
gradio_config onUiTabChange onOptionsChanged onOptionsAvailable selectCheckpoint submit_img2img
appendContextMenuOption removeContextMenuOption attachGalleryListeners dimensionChange extraNetworksEditUserMetadata
get_img2img_tab_index get_tab_index ignore_ids_for_localization img2img_gallery localRemove localSet localGet
localization modalSaveImage rememberGallerySelection setRandomSeed setupExtraNetworksForTab submit
switchWidthHeight switch_to_extras txt2img_gallery uiElementIsVisible uiUpdateCallbacks popup popupId closePopup
globalPopup extraNetworksRegisterPromptForTab cardClicked submit_extras recalculate_prompts_txt2img checkBrackets
"""
"""Names of the page that scripts of extensions use."""

INFOTEXT = "yellow sun\nNegative prompt: blue\nSteps: 9, Sampler: Euler, CFG scale: 5.5, Seed: 99, Size: 128x64"


@pytest.fixture
def picture_file(tmp_path):
    """A PNG with an infotext."""
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", INFOTEXT)
    path = tmp_path / "sun.png"
    Image.new("RGB", (128, 64), "gold").save(path, pnginfo=info)
    return path


@pytest.fixture
def phone(site):
    site.page.set_viewport_size(PHONE)
    yield site
    site.page.set_viewport_size(DESKTOP)


def test_what_scripts_of_extensions_call_is_there(site):
    assert site.page.evaluate("names => names.filter((name) => window[name] === undefined)", GLOBALS.split()) == []


def test_viewer_turns_over_zooms_and_closes(site):
    page = site.page
    site.small()
    site.number("txt2img_batch_size", 2)
    site.generate()
    site.number("txt2img_batch_size", 1)
    sources = site.sources()
    assert len(sources) == 3
    page.click("#txt2img_gallery .preview .media-button")
    viewer = page.locator("#lightboxModal")
    assert viewer.is_visible()
    shown = [page.locator("#modalImage").get_attribute("src")]
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        page.wait_for_function("before => document.getElementById('modalImage').src !== before", arg=shown[-1])
        shown.append(page.locator("#modalImage").get_attribute("src"))
    assert set(shown) == set(sources) and shown[3] == shown[0]
    page.click("#modal_tile_image")
    assert not page.locator("#modalImage").is_visible()
    page.click("#modal_tile_image")
    page.click("#modal_zoom")
    assert "modalImageFullscreen" not in (page.locator("#modalImage").get_attribute("class") or "")
    page.locator("#txt2img_gallery .preview .media-button").focus()
    page.keyboard.press("Escape")
    assert not viewer.is_visible(), "the viewer's keys work wherever the focus is"


def test_scripts_find_what_they_know_of_older_pages(site):
    page = site.page
    names = page.evaluate("[...document.querySelectorAll('#tabs > .tab-nav > button')].map((b) => b.textContent)")
    assert names[:2] == ["txt2img ", "img2img "] and all(name.endswith(" ") for name in names)
    assert page.evaluate("whenUiLoaded()") == []
    site.show("img2img")
    page.evaluate(
        """async () => {
            const picture = await new Promise((done) => document.createElement("canvas").toBlob(done));
            const transfer = new DataTransfer();
            transfer.items.add(new File([picture], "pose.png"));
            const input = document.querySelector("#img2img_image input[type=file]");
            input.files = transfer.files;
            input.dispatchEvent(new Event("change", {bubbles: true}));
        }"""
    )
    page.wait_for_selector("#img2img_image img")
    page.click("#img2img_image button[aria-label='Clear']")
    page.wait_for_selector("#img2img_image img", state="detached")


def test_a_sound_tells_that_pictures_are_done(site):
    page = site.page
    assert page.evaluate("fetch(document.querySelector('#audio_notification audio').src).then((it) => it.ok)")
    page.evaluate(
        """() => {
            window.volumes = [];
            HTMLMediaElement.prototype.play = function () {
                window.volumes.push(this.volume);
                return Promise.resolve();
            };
        }"""
    )
    page.evaluate("() => { opts.notification_volume = 40; }")
    site.small()
    site.generate()
    page.wait_for_function("window.volumes.length > 0")
    assert page.evaluate("window.volumes") == [0.4]


def test_a_dropped_picture_fills_the_prompt_and_paste_the_rest(site, picture_file):
    site.transfer_file("#txt2img_prompt textarea", picture_file, "drop")
    site.page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value.includes('Steps: 9')")
    assert site.prompt().input_value() == INFOTEXT
    site.page.locator("#txt2img_tools #paste").click()
    site.page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value === 'yellow sun'")
    assert site.prompt(negative=True).input_value() == "blue"
    shown = [site.value(f"txt2img_{name}") for name in ("steps", "cfg_scale", "seed", "width", "height", "sampling")]
    assert shown == ["9", "5.5", "99", "128", "64", "Euler"]


def test_a_text_dropped_on_the_prompt_is_read(site, tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("purple heart", encoding="utf8")
    site.transfer_file("#txt2img_prompt textarea", path, "drop")
    site.page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value === 'purple heart'")


def test_a_pasted_picture_goes_into_the_picture_that_is_shown(site, picture_file):
    site.show("img2img")
    site.transfer_file("#img2img_prompt textarea", picture_file, "paste")
    site.page.wait_for_function("document.querySelector('#img2img_image img')?.naturalWidth === 128")


def test_a_pasted_size_fills_both_fields(site):
    site.page.locator("#txt2img_width input[type=number]").evaluate(
        """input => {
            const clipboardData = new DataTransfer();
            clipboardData.setData("text/plain", "96 x 160");
            input.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true}));
        }"""
    )
    assert (site.value("txt2img_width"), site.value("txt2img_height")) == ("96", "160")


def test_a_changed_setting_changes_the_next_picture(site, page_server):
    site.small()
    site.prompt().fill("red apple")
    plain = site.generate()
    site.show("settings")
    site.page.locator("#settings button[role=tab]", has_text="Compatibility").click()
    site.page.locator("#setting_upcast_attn input, #setting_use_old_emphasis_implementation input").first.wait_for()
    page_server.set_options(CLIP_stop_at_last_layers=2)
    site.show("txt2img")
    skipped = site.generate()
    page_server.set_options(CLIP_stop_at_last_layers=1)
    assert "Clip skip: 2" in site.infotext()
    assert plain.tobytes() != skipped.tobytes()


def test_applied_settings_are_stored_and_known_to_the_page(site, page_server):
    page = site.page
    site.show("settings")
    page.locator("#settings button[role=tab]", has_text="Prompt editing").click()
    site.number("setting_keyedit_precision_attention", 0.2)
    page.click("#settings_submit")
    page.wait_for_function("window.opts.keyedit_precision_attention === 0.2")
    assert "1 settings changed" in page.locator("#settings_result").inner_text()
    assert page_server.request("/sdapi/v1/options")["keyedit_precision_attention"] == 0.2
    site.show("txt2img")
    site.prompt().fill("apple")
    site.prompt().evaluate("field => field.setSelectionRange(2, 2)")
    page.keyboard.press("Control+ArrowUp")
    assert site.prompt().input_value() == "(apple:1.2)"
    page_server.set_options(keyedit_precision_attention=0.1)


def test_searching_settings_shows_what_matches(site):
    page = site.page
    site.show("settings")
    search = page.locator("#settings_search :is(textarea, input)")
    search.fill("lightbox, viewer or whatever is not there")
    page.wait_for_function("!document.getElementById('setting_samples_save')?.offsetParent")
    search.fill("notification.mp3")
    page.wait_for_function("document.getElementById('setting_notification_audio').offsetParent")
    search.fill("sd_webui_modal_lightbox_icon")
    page.wait_for_function("document.getElementById('setting_sd_webui_modal_lightbox_icon_opacity').offsetParent")
    assert not page.locator("#setting_notification_audio").is_visible()
    search.fill("")
    page.wait_for_function("!document.getElementById('setting_sd_webui_modal_lightbox_icon_opacity').offsetParent")


def test_each_section_of_settings_is_shown_alone(site):
    site.show("settings")
    shown = site.page.evaluate(
        """async () => {
            const shown = [];
            for (const button of document.querySelectorAll("#settings .tab-nav > button[role=tab]")) {
                button.click();
                await new Promise((resolve) => setTimeout(resolve, 50));
                const pages = [...document.querySelectorAll("#settings > .tabitem")];
                shown.push([button.innerText, pages.filter((page) => page.offsetParent).length]);
            }
            return shown;
        }"""
    )
    assert len(shown) > 20 and [name for name, count in shown if count != 1] == []


def test_brackets_that_do_not_match_are_marked(site):
    counter = site.page.locator("#txt2img_token_counter")
    site.prompt().fill("(a [b, {c}}")
    site.page.wait_for_selector("#txt2img_token_counter.error", state="attached")
    assert counter.get_attribute("title").splitlines() == [
        "(...) - 1 not closed",
        "[...] - 1 not closed",
        "{...} - 1 not opened",
    ]
    site.prompt().fill("(a [b], {c})")
    site.page.wait_for_selector("#txt2img_token_counter:not(.error)", state="attached")
    assert counter.get_attribute("title") == ""


WEIGHTS = [
    ("red ap|ple, car", "Control+ArrowUp", "red (<apple>:1.1), car"),
    ("red (ap|ple:1.1), car", "Control+ArrowDown", "red <apple>, car"),
    ("((ap|ple)), car", "Control+ArrowUp", "(<apple>:1.3), car"),
    ("[ap|ple] car", "Control+ArrowDown", "(<apple>:0.8) car"),
    ("[cat:d|og:0.5]", "Control+ArrowUp", "[cat:(<dog>:1.1):0.5]"),
    ("(x:-0.1|)", "Control+ArrowDown", "(<x>:-0.2)"),
    ("(a (b|:1.2) c:1.3)", "Control+ArrowUp", "(a (<b>:1.3) c:1.3)"),
    ("a, b|b, c", "Alt+ArrowLeft", "< bb>,a, c"),
    ("a|, b", "Alt+ArrowLeft", "a|, b"),
]


@pytest.mark.parametrize(("before", "key", "after"), WEIGHTS)
def test_keys_change_weights_and_order(site, before, key, after):
    """`|` is the caret, `< >` the selection."""
    site.page.evaluate("() => { opts.keyedit_precision_attention = 0.1; }")
    caret = before.index("|")
    site.prompt().fill(before.replace("|", ""))
    site.prompt().evaluate("(field, at) => field.setSelectionRange(at, at)", caret)
    site.page.keyboard.press(key)
    text, start, end = site.prompt().evaluate("field => [field.value, field.selectionStart, field.selectionEnd]")
    marked = f"<{text[start:end]}>" if end > start else "|"
    assert text[:start] + marked + text[end:] == after


def running(page_server):
    return page_server.request("/serena/v1/jobs?state=running")["jobs"]


def wait_until(condition):
    deadline = time.monotonic() + browser.WAIT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_escape_stops_a_job_and_its_key_starts_another(site, page_server):
    page = site.page
    page.evaluate("() => { window.localStorage.removeItem('txt2img_task_id'); }")
    site.small(steps=150, size=256)
    site.prompt().focus()
    before = site.sources()
    for _ in range(2):  # pressed again, it stops the job that runs and starts the next
        task = page.evaluate("localStorage.getItem('txt2img_task_id')")
        page.keyboard.press("Control+Enter")
        page.wait_for_function("before => (localStorage.getItem('txt2img_task_id') ?? before) !== before", arg=task)
        # It runs, and not only the one before it: a job that waits for the device would be cancelled.
        task = page.evaluate("localStorage.getItem('txt2img_task_id')")
        wait_until(lambda task=task: any(job["id"] == task and job["progress"] > 0 for job in running(page_server)))
        page.wait_for_function("document.getElementById('txt2img_interrupt').style.display === 'block'")
    page.keyboard.press("Escape")
    site.wait_for_result("txt2img", before)


def test_translations_are_shown(site):
    page = site.page
    page.evaluate("window.localization = {'Sampling steps': 'Schritte', 'CFG Scale': 'Treue'}; localizeWholePage()")
    assert page.locator("#txt2img_steps").get_by_text("Schritte").is_visible()
    assert page.locator("#txt2img_cfg_scale").get_by_text("Treue").is_visible()
    dumped = page.evaluate("dumpTranslations()")
    assert dumped["Sampling steps"] == "Schritte" and "Generate" in dumped
    page.evaluate("window.localization = {}")


def test_a_file_for_v1_10_1_translates_texts_worded_anew(site, page_server):
    """Labels of settings, placeholders and tooltips, of texts that are translated themselves too."""
    page_server.set_options(localization="xx")
    try:
        page = site.open().page
        page.wait_for_selector("#setting_sd_vae >> text=xx-vae", state="attached")
        assert site.prompt().get_attribute("placeholder") == "xx-prompt"
        page.wait_for_selector("#txt2img_style_apply[title='xx-styles']")
        page.wait_for_selector("#txt2img_sampling [title='xx-algorithm'] >> text=xx-method")
        page.wait_for_function("getComputedStyle(document.getElementById('txt2img_steps')).direction === 'rtl'")
    finally:
        page_server.set_options(localization="None")
        site.open()


@pytest.mark.parametrize("tab", ["txt2img", "img2img", "extras", "pnginfo", "modelmerger", "settings"])
def test_a_phone_needs_no_sideways_scrolling(phone, tab):
    if not phone.has_tab(tab):
        pytest.skip(f"the page has no tab {tab}")
    phone.show(tab)
    phone.page.wait_for_timeout(300)
    wide = phone.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= PHONE["width"]


def test_a_phone_shows_the_list_of_settings(phone):
    phone.show("settings")
    buttons = phone.page.locator("#settings .tab-nav > button[role=tab]")
    places = [buttons.nth(i).bounding_box() for i in range(2)]
    assert all(place["x"] >= 0 and place["x"] + place["width"] <= PHONE["width"] for place in places)
    assert places[0]["y"] < places[1]["y"]


def test_on_a_phone_controls_and_results_stand_below_each_other(phone):
    settings, results = (phone.page.locator(f"#txt2img_{part}").bounding_box() for part in ("settings", "results"))
    assert settings["width"] > 300 and results["width"] > 300
    assert settings["x"] == results["x"] and abs(settings["y"] - results["y"]) > 100


def test_on_a_phone_generate_stands_above_the_results(site):
    site.page.set_viewport_size(PHONE)
    site.page.wait_for_selector("#txt2img_results > #txt2img_generate_box")
    site.small()
    site.generate()
    site.page.click("#txt2img_checkpoints-button")
    site.page.wait_for_selector("#txt2img_generate", state="visible")
    site.page.click("#txt2img_extra_tabs > .tab-nav > button >> nth=0")
    site.page.set_viewport_size(DESKTOP)
    site.page.wait_for_selector("#txt2img_actions_column > #txt2img_generate_box")
