"""img2img in a browser: pictures from the gallery, and strokes on a mask."""

import numpy as np
import pytest
from PIL import Image

MODES = ("img2img", "sketch", "inpaint", "inpaint_sketch")
CANVASES = ("img2img_image", "img2img_sketch", "img2maskimg", "inpaint_sketch")
PICTURE_SIZE = (160, 120)
CANVAS_BORDER = 30


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


@pytest.fixture
def picture(tmp_path):
    """File of a picture with a gradient."""
    path = tmp_path / "picture.png"
    Image.linear_gradient("L").resize(PICTURE_SIZE).convert("RGB").save(path)
    return path


def show_picture(site, mode, path):
    """Opens a mode of img2img with a picture in it, unless it has one of that size: canvases take their time."""
    number = MODES.index(mode)
    page = site.page
    site.show("img2img")
    page.locator("#mode_img2img > .tab-nav > button").nth(number).click()
    if tuple(page.evaluate("window.sourceSize()")) != PICTURE_SIZE:
        site.upload(CANVASES[number], path)
        page.wait_for_function("([w, h]) => String(window.sourceSize()) === `${w},${h}`", arg=PICTURE_SIZE)
    shown = page.locator(f"#{CANVASES[number]} :is(img, canvas)").first
    shown.scroll_into_view_if_needed()
    if number:
        wait_for_zoom(site, CANVASES[number], place_of_picture(site, mode)[2])


def place_of_picture(site, mode):
    """Where the whole picture of a mode is on the screen: x, y, scale."""
    number = MODES.index(mode)
    box = site.page.locator(f"#{CANVASES[number]} :is(img, canvas)").first.bounding_box()
    border = CANVAS_BORDER if number else 0
    scale = min((box[side] - 2 * border) / size for side, size in zip(("width", "height"), PICTURE_SIZE, strict=True))
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    return x - PICTURE_SIZE[0] * scale / 2, y - PICTURE_SIZE[1] * scale / 2, scale


def wait_for_zoom(site, elem_id, scale):
    """Waits until a canvas shows its picture at a scale, give or take the rounding of percents."""
    site.page.wait_for_function(
        """([id, percent]) => Math.abs(
            parseInt(document.querySelector(`#${id} .zoom-number > span`).textContent) - percent) <= 1""",
        arg=[elem_id, 100 * scale],
    )


def turn_wheel(site, key, notches):
    site.page.keyboard.down(key)
    site.page.mouse.wheel(0, -100 * notches)


def mask_of_job(site):
    """What a job gets as its mask, 0 or 255."""
    site.server.set_options(save_mask=True)
    site.prompt("img2img").fill("")
    width, height = PICTURE_SIZE
    site.numbers(img2img_steps=1, img2img_width=width, img2img_height=height, img2img_mask_blur=0)
    site.generate("img2img")
    site.server.set_options(save_mask=False)
    (path,) = [path for path in site.server.saved("img2img-images") if path.stem.endswith("-mask")]
    return np.asarray(Image.open(path).convert("L"))


def test_a_dot_painted_on_a_zoomed_and_moved_canvas_is_where_the_pointer_is(site, picture):
    show_picture(site, "inpaint", picture)
    left, top, scale = place_of_picture(site, "inpaint")
    mouse, keyboard = site.page.mouse, site.page.keyboard
    column, row = 40, 60  # the editor keeps a picture that is not too high in the middle
    x, y = left + column * scale, top + row * scale
    mouse.move(x, y)
    for notches in (1, 2):
        turn_wheel(site, "Alt", 1)
        wait_for_zoom(site, "img2maskimg", scale * 1.2**notches)
        keyboard.up("Alt")
    turn_wheel(site, "Control", -1)
    keyboard.up("Control")
    for key in "qwqq":  # from 20 to 10
        keyboard.press(key)
    site.page.wait_for_selector("#img2maskimg:not(.canvas-sizing)")
    keyboard.down("f")
    site.page.wait_for_selector("#img2maskimg.canvas-moving")
    mouse.move(x + 30, y, steps=3)
    keyboard.up("f")
    site.page.wait_for_selector("#img2maskimg:not(.canvas-moving)")
    mouse.down()
    mouse.up()
    mask = mask_of_job(site)
    assert mask.shape == PICTURE_SIZE[::-1]
    rows, columns = np.nonzero(mask)
    assert abs(columns.mean() + 0.5 - column) < 0.5 and abs(rows.mean() + 0.5 - row) < 0.5
    distance = np.hypot(*np.mgrid[0.5 - row : 120 - row, 0.5 - column : 160 - column])
    assert (mask[distance < 9] == 255).all() and not mask[distance > 11].any()


def test_keys_fill_the_window_with_a_canvas_and_show_all_of_the_picture_again(site, picture):
    show_picture(site, "inpaint", picture)
    left, top, scale = place_of_picture(site, "inpaint")
    page = site.page
    page.mouse.move(left + 9, top + 9)
    page.keyboard.press("s")
    page.wait_for_selector("#img2maskimg.canvas-fullscreen")
    wait_for_zoom(site, "img2maskimg", min(1218 / 160, 838 / 120))
    turn_wheel(site, "Alt", 1)
    wait_for_zoom(site, "img2maskimg", min(1218 / 160, 838 / 120) * 1.2)
    page.keyboard.up("Alt")
    page.keyboard.press("r")
    wait_for_zoom(site, "img2maskimg", scale)
    assert page.locator(".canvas-fullscreen").count() == 0
    site.prompt("img2img").fill("")
    site.prompt("img2img").press("s")
    assert site.prompt("img2img").input_value() == "s" and page.locator(".canvas-fullscreen").count() == 0
    page.hover("#img2maskimg .canvas-tooltip")
    page.wait_for_selector("#img2maskimg .canvas-tooltip li:has-text('Fill the window')")


@pytest.mark.parametrize("mode", ["img2img", "inpaint"])
def test_the_shape_of_the_picture_to_come_lies_over_the_picture(site, picture, mode):
    show_picture(site, mode, picture)
    for width, height in ((320, 160), (128, 256)):
        site.numbers(img2img_width=width, img2img_height=height)
        left, top, scale = place_of_picture(site, mode)
        shape = site.page.wait_for_selector("#imageARPreview", state="visible").bounding_box()
        shown_width, shown_height = (size * scale for size in PICTURE_SIZE)
        times = min(shown_width / width, shown_height / height)
        assert abs(shape["width"] - width * times) < 1 and abs(shape["height"] - height * times) < 1
        assert abs(shape["x"] + shape["width"] / 2 - left - shown_width / 2) < 1
        assert abs(shape["y"] + shape["height"] / 2 - top - shown_height / 2) < 1


def test_files_dropped_on_the_prompt_are_read_one_after_the_other(site, picture, tmp_path):
    """The field they go through is emptied in between, which is nothing to read."""
    site.show("img2img")
    text = tmp_path / "words.txt"
    for words in ("one apple", "two apples"):
        text.write_text(words)
        site.transfer_file("#img2img_prompt textarea", text, "drop")
        site.page.wait_for_function(
            "words => document.querySelector('#img2img_prompt textarea').value === words", arg=words
        )
    site.transfer_file("#img2img_prompt textarea", picture, "drop")
    site.page.wait_for_function("document.querySelector('#img2img_prompt textarea').value === ''")
    assert "Traceback" not in site.server.log() and site.page.locator(".toast-body").count() == 0


@pytest.mark.parametrize("mode", ["img2img", "inpaint"])
def test_a_pasted_picture_takes_the_place_of_the_one_there_is(site, tmp_path, mode):
    site.show("img2img")
    site.page.locator("#mode_img2img > .tab-nav > button").nth(MODES.index(mode)).click()
    for size in ((40, 24), (24, 40)):
        path = tmp_path / "pasted.png"
        Image.new("RGB", size, "teal").save(path)
        site.transfer_file("body", path, "paste")
        site.page.wait_for_function("([w, h]) => String(window.sourceSize()) === `${w},${h}`", arg=size)


MANY_CANVASES = """() => {
    const canvases = Array.from({length: 24}, (_, i) => {
        const canvas = document.createElement("canvas");
        canvas.hidden = i !== 0;
        canvas.addEventListener("webglcontextlost", (event) => event.preventDefault()); // as who wants it back does
        canvas.gl = canvas.getContext("webgl");
        document.body.prepend(canvas);
        return canvas;
    });
    window.manyCanvases = canvases;
    return canvases.every((canvas) => canvas.gl);
}"""


def test_hidden_canvases_take_no_picture_from_visible_ones(site):
    """Chromium gives a page 16 contexts; without help the oldest, which is the visible one, is lost."""
    page = site.page
    assert page.evaluate(MANY_CANVASES)
    page.wait_for_function("manyCanvases.filter((canvas) => canvas.gl.isContextLost()).length >= 8")
    assert page.evaluate("!manyCanvases[0].gl.isContextLost()")
    page.evaluate("manyCanvases[1].hidden = false")
    page.wait_for_function("!manyCanvases[1].gl.isContextLost()")
    page.evaluate("manyCanvases.forEach((canvas) => canvas.remove())")
