"""The tabs beside generation in a browser, from one to the next as a user goes; and what axe-core finds on each."""

import re
from pathlib import Path

import pytest
from PIL import Image

from tools import tiny_checkpoints

TABS = ("txt2img", "img2img", "extras", "pnginfo", "modelmerger", "settings", "extensions")
PANE = "#txt2img_checkpoints-button"
SETTINGS = {"txt2img_steps": 6, "txt2img_width": 64, "txt2img_height": 64, "txt2img_seed": 11, "txt2img_cfg_scale": 5.5}


def test_a_saved_picture_brings_its_settings_back_through_png_info(site, page_server):
    page = site.page
    site.numbers(**SETTINGS)
    site.choose("txt2img_sampling", "Euler a")
    site.prompt().fill("red apple, (leaf:1.2)")
    site.prompt(negative=True).fill("blue")
    made = site.generate()
    made_infotext = site.infotext()
    saved = page_server.saved("txt2img-images")[-1]

    site.small(steps=20, seed=1, size=128)
    site.number("txt2img_cfg_scale", 7)
    site.choose("txt2img_sampling", "DPM++ 2M")
    for negative in (False, True):
        site.prompt(negative=negative).fill("")

    site.show("pnginfo")
    site.upload("pnginfo_image", saved)
    page.wait_for_function("document.getElementById('tab_pnginfo').innerText.includes('red apple')")
    page.locator("#tab_pnginfo #txt2img_tab").click()
    page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value.startsWith('red apple')")
    page.wait_for_function("document.querySelector('#txt2img_cfg_scale input').value === '5.5'")
    page.wait_for_selector("#tab_txt2img-button[aria-selected=true]")
    assert {name: float(site.value(name)) for name in SETTINGS} == SETTINGS
    assert site.value("txt2img_sampling") == "Euler a"
    assert site.prompt(negative=True).input_value() == "blue"
    again = site.generate()
    assert again.tobytes() == made.tobytes() and site.infotext() == made_infotext


SAMPLES = Path(__file__).resolve().parents[1] / "data" / "dialects"
FOREIGN = {"steps": 12, "cfg_scale": 6.5, "seed": 77}
"""What the samples of other programs say, by the names of sliders."""

FOREIGN_PROMPT = "red apple on a table, (soft light:1.2)<lora:shine:0.8><lora:wood:1>"


def clear(site, tab):
    """Other values than those of the samples."""
    site.numbers(**{f"{tab}_steps": 20, f"{tab}_cfg_scale": 7, f"{tab}_seed": 1})
    for negative in (False, True):
        site.prompt(tab, negative).fill("")


def check_foreign(site, tab):
    """Waits for what the samples say, and says that it is all there."""
    site.page.wait_for_function(
        "([tab, seed]) => document.querySelector(`#${tab}_seed input`).value === seed", arg=[tab, str(FOREIGN["seed"])]
    )
    site.page.wait_for_function(f"document.querySelector('#{tab}_prompt textarea').value !== ''")
    assert site.prompt(tab).input_value() == FOREIGN_PROMPT
    assert site.prompt(tab, negative=True).input_value() == "blurry, text"
    assert {name: float(site.value(f"{tab}_{name}")) for name in FOREIGN} == FOREIGN
    assert site.value(f"{tab}_sampling") == "DPM++ 2M"


@pytest.mark.parametrize(
    ("target", "tab"), [("txt2img", "txt2img"), ("img2img", "img2img"), ("inpaint", "img2img"), ("extras", "extras")]
)
def test_another_programs_picture_goes_from_png_info_to_every_tab(site, target, tab):
    page = site.page
    if tab != "extras":
        site.show(tab)
        clear(site, tab)
        site.choose(f"{tab}_sampling", "Euler a")
    site.show("pnginfo")
    if page.locator("#pnginfo_image button[aria-label=Clear]").count():
        page.locator("#pnginfo_image button[aria-label=Clear]").click()
        page.wait_for_function("!document.getElementById('tab_pnginfo').innerText.includes('sui_image_params')")
    site.upload("pnginfo_image", SAMPLES / "swarm.png")
    page.wait_for_function("document.getElementById('tab_pnginfo').innerText.includes('sui_image_params')")
    page.locator(f"#tab_pnginfo #{target}_tab").click()
    page.wait_for_selector(f"#tab_{tab}-button[aria-selected=true]")
    if tab == "extras":
        page.wait_for_selector("#extras_image img", state="attached")
    else:
        check_foreign(site, tab)


@pytest.mark.parametrize("name", ["comfy_workflow.png", "invoke.png"])
def test_another_programs_picture_dropped_on_the_prompt_is_pasted(site, name):
    clear(site, "txt2img")
    site.transfer_file("#txt2img_prompt textarea", SAMPLES / name, "drop")
    site.page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value.includes('Steps: 12')")
    site.page.click("#txt2img_tools #paste")
    check_foreign(site, "txt2img")


def test_extras_enlarges_a_picture_sent_from_the_results(site):
    page = site.page
    site.small()
    site.generate()
    page.click("#txt2img_send_to_extras")
    page.wait_for_selector("#extras_image img", state="attached")
    site.number("extras_upscaling_resize", 2)
    site.choose("extras_upscaler_1", "Lanczos")
    page.click("#extras_generate")
    page.wait_for_selector("#extras_gallery .thumbnail-item img", state="attached")
    address = page.locator("#extras_gallery .thumbnail-item img").first.evaluate("image => image.src")
    assert site.picture(address).size == (128, 128)


def test_extras_keeps_what_another_program_said(site, page_server):
    page = site.page
    site.show("extras")
    if page.locator("#extras_image button[aria-label=Clear]").count():
        page.locator("#extras_image button[aria-label=Clear]").click()
    site.upload("extras_image", SAMPLES / "swarm.png")
    page.wait_for_selector("#extras_image img", state="attached")
    site.number("extras_upscaling_resize", 2)
    site.choose("extras_upscaler_1", "Lanczos")
    before = len(page_server.saved("extras-images"))
    shown = page.evaluate("document.querySelector('#extras_gallery .thumbnail-item img')?.src ?? ''")
    page.click("#extras_generate")
    page.wait_for_function(
        "old => (document.querySelector('#extras_gallery .thumbnail-item img')?.src ?? old) !== old", arg=shown
    )
    (saved,) = page_server.saved("extras-images")[before:]
    with Image.open(saved) as image, Image.open(SAMPLES / "swarm.png") as source:
        assert image.info["parameters"] == source.info["parameters"]


def test_a_merged_checkpoint_generates(site):
    page = site.page
    site.show("modelmerger")
    title = page.locator("#setting_sd_model_checkpoint input").input_value().split(" [")[0]
    for role in ("primary", "secondary"):
        site.choose(f"modelmerger_{role}_model_name", title)
    page.locator("#modelmerger_custom_name :is(textarea, input)").fill("half-and-half")
    page.click("#modelmerger_merge")
    page.wait_for_function("document.getElementById('modelmerger_result').innerText.includes('half-and-half')")
    site.show("txt2img")
    site.choose("setting_sd_model_checkpoint", "half-and-half.safetensors")
    site.small()
    site.generate()
    assert "Model: half-and-half" in site.infotext()


def test_a_click_on_a_checkpoint_card_loads_it(site):
    page = site.page
    page.locator("#txt2img_extra_tabs > .tab-nav > button", has_text="Checkpoints").click()
    card = page.locator("#txt2img_checkpoints_cards .card").filter(has_text=re.compile("demo-emoji"))
    card.click()
    page.wait_for_function(
        "document.querySelector('#setting_sd_model_checkpoint input').value.startsWith('demo-emoji')"
    )
    page.locator("#txt2img_extra_tabs > .tab-nav > button", has_text="Generation").click()
    site.small()
    site.generate()
    assert "Model: demo-emoji" in site.infotext()


def test_a_model_of_another_family_is_chosen_by_click(site, page_server):
    path = page_server.data_dir / "models" / "Stable-diffusion" / "tiny-sdxl.safetensors"
    tiny_checkpoints.write("sdxl", path)
    site.page.click("#refresh_sd_model_checkpoint")
    site.choose("setting_sd_model_checkpoint", "tiny-sdxl.safetensors")
    site.small()
    site.prompt().fill("red apple")
    site.generate()
    assert "Model: tiny-sdxl" in site.infotext()
    site.choose("setting_sd_model_checkpoint", "demo-emoji.safetensors")
    site.generate()
    assert "Model: demo-emoji" in site.infotext()
    path.unlink()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_keeps_people_from_reading_or_reaching_a_tab(blank_site, theme):
    site = blank_site.open(f"?__theme={theme}")
    found = {}
    for tab in [*filter(site.has_tab, TABS), PANE]:
        if tab == PANE:
            site.show("txt2img")
            site.page.click(PANE)
        else:
            site.show(tab)
        site.page.wait_for_timeout(300)
        found[tab] = site.barriers()
    assert not any(found.values()), found
