"""The Lora tab in a browser: cards that write into the prompt, their notes, search, order, and new files."""

import json
import shutil
import struct
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden_networks" / "Lora" / "lab-lora.safetensors"
TAG = "<lora:lab-lora-alias:1>"
BOX = "#txt2img_lora_edit_user_metadata"


def write(path, **metadata):
    """Writes a network without weights."""
    header = json.dumps({"__metadata__": metadata or {"format": "pt"}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.fixture(scope="module")
def folder(page_server):
    """The folder of networks: one that changes images, and 500 that are names in sub-folders."""
    folder = page_server.data_dir / "models" / "Lora"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(GOLDEN, folder)
    for number in range(500):
        write(folder / f"group {number % 5}" / f"network {number}.safetensors")
    page_server.request("/sdapi/v1/refresh-loras", {})
    yield folder
    shutil.rmtree(folder)
    page_server.request("/sdapi/v1/refresh-loras", {})


@pytest.fixture
def tab(folder, site):
    """The Lora tab with all its cards, prompts and search empty, fields set for a small image."""
    site.small()
    for negative in (False, True):
        site.prompt(negative=negative).fill("")
    site.page.click("#txt2img_lora-button")
    if count(site) < 501:
        refresh(site)
        site.page.wait_for_function("document.querySelectorAll('#txt2img_lora_cards > .card').length >= 501")
    site.page.fill("#txt2img_lora_extra_search", "")
    yield site
    site.page.evaluate("closePopup()")
    site.page.locator("#txt2img_extra_tabs > .tab-nav > button", has_text="Generation").click()


def refresh(site):
    site.page.click("#txt2img_lora_extra_refresh")


def card(site, name):
    return site.page.locator(f'#txt2img_lora_cards > .card[data-name="{name}"]')


def count(site, selector=".card"):
    return site.page.locator(f"#txt2img_lora_cards > {selector}").count()


def shown(site):
    """Names of the cards that are not hidden, in their order."""
    cards = site.page.locator("#txt2img_lora_cards > .card:not(.hidden)")
    return cards.evaluate_all("cards => cards.map((card) => card.dataset.name)")


def generate(site):
    """Generates from the Generation tab, and returns the image."""
    site.page.locator("#txt2img_extra_tabs > .tab-nav > button", has_text="Generation").click()
    image = site.generate()
    site.page.click("#txt2img_lora-button")
    return image


def test_a_click_on_a_card_changes_the_image_and_a_second_one_changes_it_back(tab):
    tab.prompt().fill("red apple")
    plain = generate(tab)
    card(tab, "lab-lora").click()
    assert tab.prompt().input_value() == f"red apple {TAG}"
    changed = generate(tab)
    assert changed.tobytes() != plain.tobytes() and "Lora hashes: " in tab.infotext()
    card(tab, "lab-lora").click()
    assert tab.prompt().input_value() == "red apple"
    assert generate(tab).tobytes() == plain.tobytes()


def test_notes_go_into_a_file_and_onto_the_card(tab, folder):
    page = tab.page
    card(tab, "lab-lora").hover()
    card(tab, "lab-lora").locator(".edit-button").click()
    page.wait_for_selector(BOX, state="visible")
    activation_text = page.locator(BOX).get_by_label("Activation text")
    page.locator(f"{BOX} .training-tags [role=button]", has_text="apple").click()
    page.wait_for_function("field => field.value === 'apple'", arg=activation_text.element_handle())
    activation_text.fill("apple, shiny")
    page.locator(BOX).get_by_label("Negative prompt").fill("pear")
    weight = page.locator(f"{BOX} .gradio-slider input[type=number]")
    weight.fill("0.5")
    weight.blur()
    page.locator(BOX).get_by_label("Description").fill("From the laboratory")
    page.locator(BOX).get_by_role("button", name="Save").click()
    page.wait_for_function("!document.querySelector('.global-popup') || globalPopup.style.display === 'none'")
    card(tab, "lab-lora").filter(has_text="From the laboratory").wait_for()
    stored = json.loads((folder / "lab-lora.json").read_text(encoding="utf8"))
    assert stored == {
        "description": "From the laboratory",
        "sd version": "SD1",
        "activation text": "apple, shiny",
        "preferred weight": 0.5,
        "negative text": "pear",
        "notes": "",
    }
    tab.prompt().fill("red")
    card(tab, "lab-lora").click()
    assert tab.prompt().input_value() == "red <lora:lab-lora-alias:0.5> apple, shiny"
    assert tab.prompt(negative=True).input_value().strip() == "(pear:1)"
    card(tab, "lab-lora").click()
    assert tab.prompt().input_value() == "red" and tab.prompt(negative=True).input_value() == ""


def test_what_the_file_says_is_shown_as_a_table(tab):
    card(tab, "lab-lora").hover()
    card(tab, "lab-lora").locator(".metadata-button").click()
    rows = tab.page.locator(".global-popup .popup-metadata tr")
    rows.first.wait_for()
    assert "ss_tag_frequency/1_x/apple\t2" in rows.all_inner_texts()


def test_search_among_500(tab):
    search = "#txt2img_lora_extra_search"
    assert len(shown(tab)) == 501
    tab.page.fill(search, "NETWORK 49")
    assert len(shown(tab)) == 11
    tab.page.fill(search, "group 3")
    assert len(shown(tab)) == 100
    tab.page.fill(search, "")
    tab.page.locator("#txt2img_lora_dirs > button", has_text="group 4").click()
    assert len(shown(tab)) == 100
    tab.page.locator("#txt2img_lora_dirs > button", has_text="all").click()
    assert len(shown(tab)) == 501


def test_order(tab):
    tab.page.click("#txt2img_lora_extra_sort_name")
    names = shown(tab)
    assert names[0] == "lab-lora" and names == sorted(names)
    tab.page.click("#txt2img_lora_extra_sort_dir")
    assert shown(tab) == names[::-1]
    tab.page.click("#txt2img_lora_extra_sort_dir")
    tab.page.click("#txt2img_lora_extra_sort_path")
    assert shown(tab)[:2] == ["lab-lora", "network 0"]


def test_refresh_shows_a_new_file(tab, folder):
    new = folder / "just made.safetensors"
    write(new)
    assert card(tab, "just made").count() == 0
    refresh(tab)
    card(tab, "just made").wait_for()
    new.unlink()
    refresh(tab)
    card(tab, "just made").wait_for(state="detached")


def test_nothing_keeps_people_from_reading_or_reaching_cards_and_popups(tab):
    found = {"cards": tab.barriers()}
    for button, shown_by_it in ((".edit-button", BOX), (".metadata-button", ".global-popup .popup-metadata")):
        card(tab, "lab-lora").hover()
        card(tab, "lab-lora").locator(button).click()
        tab.page.wait_for_selector(shown_by_it, state="visible")
        tab.page.wait_for_timeout(300)
        found[button] = tab.barriers()
        tab.page.evaluate("closePopup()")
    assert not any(found.values()), found
