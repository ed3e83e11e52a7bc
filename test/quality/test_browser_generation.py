"""The txt2img tab in a browser: from typing to the saved file, and what a running job shows."""

import base64
import io
import re

import pytest
from PIL import Image

LONG = 150


def start_long_job(site, steps=LONG, size=256):
    """Starts a job that takes long enough to be watched, and waits until it runs."""
    site.small(steps=steps, size=size)
    site.prompt().fill("blue star")
    site.page.click("#txt2img_generate")
    site.page.wait_for_function("document.querySelector('.progressDiv .progress')?.dataset.text?.includes('%')")


def test_keys_weigh_and_order_the_prompt_and_generate(site):
    prompt = site.prompt()
    prompt.fill("red apple, leaf")
    prompt.evaluate("field => field.setSelectionRange(6, 6)")
    site.page.keyboard.press("Control+ArrowUp")
    site.page.keyboard.press("Control+ArrowUp")
    assert prompt.input_value() == "red (apple:1.2), leaf"
    prompt.evaluate("field => field.setSelectionRange(19, 19)")
    site.page.keyboard.press("Alt+ArrowLeft")
    assert prompt.input_value() == " leaf,red (apple:1.2)"
    site.small()
    prompt.focus()
    before = site.sources()
    site.page.keyboard.press("Control+Enter")
    site.wait_for_result("txt2img", before)
    assert "(apple:1.2)" in site.infotext()


def test_the_page_saves_what_the_api_gives(site, page_server):
    site.small(steps=5, seed=42)
    site.prompt().fill("red apple")
    site.prompt(negative=True).fill("blue")
    site.generate()
    shown = site.bytes(site.sources()[0])
    saved = page_server.saved("txt2img-images")[-1]
    assert shown == saved.read_bytes()

    request = {"prompt": "red apple", "negative_prompt": "blue", "seed": 42, "steps": 5, "width": 64, "height": 64}
    answer = page_server.request("/sdapi/v1/txt2img", {**request, "sampler_name": site.value("txt2img_sampling")})
    given, kept = Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))), Image.open(saved)
    assert given.tobytes() == kept.tobytes()
    assert given.info["parameters"].replace("CFG scale: 7.0", "CFG scale: 7") == kept.info["parameters"]


def test_a_script_of_an_extension_reads_the_context(site):
    site.small()
    site.generate()
    assert "Read context: complete" in site.infotext()


def test_hires_fix_enlarges_the_picture(site):
    site.small()
    site.prompt().fill("red apple")
    site.page.locator("#txt2img_hr input[type=checkbox]").first.check()
    site.page.wait_for_selector("#txtimg_hr_finalres .resolution")
    assert "from 64x64 to 128x128" in site.page.locator("#txtimg_hr_finalres").inner_text()
    assert site.generate().size == (128, 128)
    assert "Hires upscale: 2" in site.infotext()
    site.page.locator("#txt2img_hr input[type=checkbox]").first.uncheck()


def test_interrupt_keeps_the_picture_so_far(site):
    before = site.sources()
    start_long_job(site)
    site.page.click("#txt2img_interrupt")
    picture = site.wait_for_result("txt2img", before)
    assert picture.size == (256, 256)


def test_a_reloaded_page_finds_its_job_and_the_result(site):
    start_long_job(site, size=512)  # outlasts a slow reload; the interrupt ends it
    site.open()
    site.page.wait_for_selector(".progressDiv .progress", state="attached")
    site.page.click("#txt2img_interrupt")
    site.wait_for_result("txt2img", [])
    assert "blue star" in site.infotext()
    assert not site.page.locator(".progressDiv").count()


def test_progress_shows_percent_and_preview_in_page_and_title(site):
    start_long_job(site)
    text = site.page.locator(".progressDiv .progress").get_attribute("data-text")
    assert re.search(r"\d+%", text)
    site.page.wait_for_function("document.title.startsWith('[')")
    site.page.wait_for_selector("#txt2img_gallery .livePreview img")
    before = site.sources()
    site.page.click("#txt2img_interrupt")
    site.wait_for_result("txt2img", before)
    assert site.page.title() == "Stable Diffusion"


def test_styles_go_into_the_prompt(site, page_server):
    style = page_server.request("/sdapi/v1/prompt-styles")[0]
    site.small()
    site.prompt().fill("red apple")
    site.choose("txt2img_styles", style["name"])
    site.generate()
    text = style["prompt"].replace("{prompt}", "red apple")
    assert text.split(",")[-1].strip() in site.infotext()
    site.page.click("#txt2img_style_apply")
    site.page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value !== 'red apple'")
    assert site.chosen("txt2img_styles") == []


def test_a_plot_over_steps(site):
    site.small()
    site.prompt().fill("red apple")
    site.choose("txt2img_script_container #script_list", "X/Y/Z plot")
    site.choose("script_txt2img_xyz_plot_x_type", "Steps")
    site.page.wait_for_timeout(1000)  # the server's answer to the choice clears the values
    site.page.locator("#script_txt2img_xyz_plot_x_values textarea").fill("2, 4")
    grid = site.generate()
    assert grid.width == 2 * 64 and grid.height > 64
    site.choose("txt2img_script_container #script_list", "None")


@pytest.mark.parametrize(("button", "suffix", "beginning"), [("save", ".png", b"\x89PNG"), ("save_zip", ".zip", b"PK")])
def test_save_offers_the_file(site, page_server, button, suffix, beginning):
    site.small()
    site.generate()
    site.page.click(f"#{button}_txt2img")
    link = site.page.locator(f"#download_files_txt2img a[href$='{suffix}']").first
    assert site.bytes(link.evaluate("link => link.href")).startswith(beginning)
    assert list((page_server.data_dir / "log" / "images").rglob("*.png"))
