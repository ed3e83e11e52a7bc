"""Extensions in a browser: small ones of the kinds people have, and what the scripts of real ones use of the page."""

import json
import shutil

import pytest
from PIL import Image, PngImagePlugin

from test.browser import ROOT, PageServer, Site

KINDS = ROOT / "test" / "data" / "extensions"
FACTS = json.loads((ROOT / "test" / "data" / "page_scripts.json").read_text(encoding="utf8"))
INFOTEXT = (
    "a green star\nSteps: 2, Sampler: Euler, CFG scale: 4, Seed: 5, Size: 64x64, Own strength: 0.8, Own number: 3"
)


@pytest.fixture(scope="module")
def page_server(tmp_path_factory):
    """The program with extensions of all kinds."""
    data_dir = tmp_path_factory.mktemp("kinds")
    shutil.copytree(KINDS, data_dir / "extensions")
    server = PageServer(data_dir, "--skip-install")
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def test_a_tab_with_scripts_asks_the_server_and_writes_into_another_tab(site: Site):
    page = site.page
    page.evaluate(
        "Array.from(gradioApp().querySelectorAll('#tabs button')).find((b) => b.textContent === 'Own tab ').click()"
    )
    page.wait_for_function("own_tab_calls.includes('tab_own_tab')")
    assert page.evaluate("get_uiCurrentTabContent().style.display") == "block"
    assert page.evaluate("own_tab_ask('number')") == "number 3"
    page.click("#own_tab_greet")
    page.wait_for_function("document.querySelector('#own_tab_box textarea').value === 'hello preloaded'")
    page.click("#own_tab_send")
    page.wait_for_function("get_uiCurrentTabContent().id === 'tab_txt2img'")
    assert site.prompt().input_value() == "hello preloaded"
    site.small(steps=1)
    site.generate()
    assert site.infotext().startswith("hello preloaded"), "the server has heard of it"


def test_a_gallery_without_a_height_has_room_for_its_images(site: Site):
    site.show("own_tab")
    site.page.click("#own_tab_gallery .thumbnail-item")
    site.page.wait_for_selector("#own_tab_gallery .preview img")
    assert site.page.locator("#own_tab_gallery").bounding_box()["height"] > 200


def test_an_always_on_script_writes_its_values_and_gets_them_back(site: Site):
    page = site.page
    site.small(steps=1)
    site.prompt().fill(INFOTEXT)
    page.click("#txt2img_tools #paste")
    box = "#script_txt2img_always_on_enabled"
    page.wait_for_function("(id) => document.querySelector(`${id}-checkbox input`).checked", arg=box)
    page.wait_for_selector(f"{box}.input-accordion-open")
    slider = page.locator(f"{box} input[type=number]")
    page.wait_for_function("(id) => document.querySelector(`${id} input[type=number]`).value === '0.8'", arg=box)
    slider.fill("0.6")
    slider.blur()
    site.generate()
    assert "Own strength: 0.6, Own number: 3" in site.infotext()
    site.prompt().fill(INFOTEXT.partition(", Own")[0])
    page.click("#txt2img_tools #paste")
    page.wait_for_function("(id) => !document.querySelector(`${id}-checkbox input`).checked", arg=box)
    site.generate()
    assert "Own" not in site.infotext()


@pytest.mark.parametrize("tab", ["txt2img", "img2img"])
def test_a_helper_finds_the_size_by_its_ids(site: Site, tab):
    site.show(tab)
    site.numbers(**{f"{tab}_width": 64, f"{tab}_height": 128})
    for button, size in (("finder_2", ["256", "128"]), ("finder_1", ["256", "512"])):
        site.page.click(f"#{tab}_{button}")
        site.page.wait_for_function(
            "([tab, size]) => ['width', 'height'].every((side, i) => "
            "document.querySelector(`#${tab}_${side} input[type=number]`).value === size[i])",
            arg=[tab, size],
        )
    if tab == "txt2img":
        site.page.click("#finder_square")
        site.page.wait_for_function("document.querySelector('#txt2img_width input[type=number]').value === '512'")


def test_a_page_of_cards_stands_among_the_networks(site: Site):
    page = site.page
    site.prompt().fill("apple")
    page.click("#txt2img_extra_tabs > .tab-nav > button:has-text('Own cards')")
    card = page.locator("#txt2img_own_cards_cards .card")
    card.click()
    page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value === 'apple own card'")
    page.fill("#txt2img_own_cards_extra_search", "nothing like it")
    card.wait_for(state="hidden")
    page.fill("#txt2img_own_cards_extra_search", "own")
    card.wait_for(state="visible")
    page.click("#txt2img_own_cards_extra_refresh")
    card.wait_for(state="visible")
    page.click("#txt2img_extra_tabs > .tab-nav > button:has-text('Generation')")


def test_a_page_in_a_frame_sends_its_image_to_a_tab(site: Site):
    page = site.page
    site.show("own_frame_tab")
    page.wait_for_function("document.querySelector('#own_frame_text textarea').value")
    frame = page.frame_locator("#own_frame iframe")
    frame.locator("#image").evaluate("async (image) => { await image.decode(); }")
    frame.locator("#send").click()
    page.wait_for_function("get_uiCurrentTabContent().id === 'tab_txt2img'")
    page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value === 'a blue star'")
    page.wait_for_function("document.querySelector('#txt2img_width input[type=number]').value === '72'")
    assert site.value("txt2img_seed") == "9" and site.value("txt2img_steps") == "3"


def test_names_that_scripts_use_do_what_they_expect(site: Site):
    page = site.page
    site.numbers(txt2img_batch_size=2)
    site.small(steps=1)
    site.generate()
    site.number("txt2img_batch_size", 1)
    page.add_script_tag(path=str(ROOT / "test" / "data" / "page_checks.js"))
    assert set(page.evaluate("Object.keys(pageChecks)")) == set(FACTS["globals"])
    wrong = [name for name in FACTS["globals"] if page.evaluate("(name) => pageChecks[name]()", name) is not True]
    assert wrong == []


def test_elements_that_scripts_look_for_are_there(site: Site):
    missing = site.page.evaluate("ids => ids.filter((id) => !gradioApp().getElementById(id))", list(FACTS["elem_ids"]))
    assert missing == []


def test_the_handle_between_the_columns_is_there_when_the_page_is_loaded(site: Site):
    assert site.page.evaluate("own_tab_between_columns") == "resize-handle"


def test_a_script_that_waits_for_the_settings_finds_all_tabs(site: Site):
    site.page.wait_for_function("window.own_tab_switches !== undefined")
    assert site.page.evaluate("own_tab_switches") == 2


def test_an_image_with_values_of_a_script_is_read_by_png_info_and_sent_on(site: Site, tmp_path):
    image = Image.new("RGB", (64, 64), "teal")
    information = PngImagePlugin.PngInfo()
    information.add_text("parameters", INFOTEXT)
    image.save(tmp_path / "own.png", pnginfo=information)
    site.show("pnginfo")
    site.upload("pnginfo_image", tmp_path / "own.png")
    site.page.wait_for_selector("#tab_pnginfo :text('Own strength: 0.8')")
    site.page.click("#tab_pnginfo #txt2img_tab")
    site.page.wait_for_function("get_uiCurrentTabContent().id === 'tab_txt2img'")
    box = "#script_txt2img_always_on_enabled"
    site.page.wait_for_function("(id) => document.querySelector(`${id} input[type=number]`).value === '0.8'", arg=box)
