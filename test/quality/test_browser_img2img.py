"""img2img in a browser: pictures from the gallery, and strokes on a mask."""

import numpy as np
import pytest


@pytest.fixture
def drawn(site):
    """A picture in the gallery of txt2img."""
    site.small(seed=3)
    site.prompt().fill("red apple")
    return site.generate()


def test_a_picture_of_the_gallery_goes_to_img2img(site, drawn):
    site.page.click("#txt2img_send_to_img2img")
    site.page.wait_for_selector("#img2img_image img", state="attached")
    site.page.wait_for_selector("#tab_img2img-button[aria-selected=true]")
    site.page.wait_for_function("document.querySelector('#img2img_width input').value === '64'")
    site.prompt("img2img").fill("red apple")
    site.numbers(img2img_steps=4, img2img_seed=7, img2img_denoising_strength=0.5)
    picture = site.generate("img2img")
    assert picture.size == (64, 64) and picture.tobytes() != drawn.tobytes()
    assert "Denoising strength: 0.5" in site.infotext("img2img")


def test_an_inpainting_stroke_changes_only_what_it_covers(site, drawn):
    page = site.page
    page.click("#txt2img_send_to_inpaint")
    page.wait_for_function("window.sourceSize()[0] === 64")
    canvas = page.locator("#img2maskimg canvas").first
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 20, y)
    page.mouse.down()
    page.mouse.move(x + 20, y, steps=4)
    page.mouse.up()
    site.prompt("img2img").fill("blue star")
    site.numbers(img2img_steps=4, img2img_seed=7, img2img_width=64, img2img_height=64, img2img_mask_blur=0)
    site.number("img2img_denoising_strength", 1)
    picture = site.generate("img2img")
    changed = np.any(np.asarray(picture.convert("RGB")) != np.asarray(drawn.convert("RGB")), axis=2)
    assert changed.any() and not changed.all()
    rows, columns = np.nonzero(changed)
    assert rows.max() < 63 and rows.min() > 0
    assert abs(rows.mean() - 32) < 12 and abs(columns.mean() - 32) < 16
