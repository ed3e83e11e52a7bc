"use strict";
// While the size sliders of img2img move: the shape of the picture to come, laid over the one it is made from.
{
    const SECONDS_SHOWN = 2;

    /** What shows the picture of each mode. */
    const PICTURES = ["#img2img_image img", "#img2img_sketch canvas", "#img2maskimg canvas", "#inpaint_sketch canvas"];

    /** Canvases leave this many pixels free around a picture, and enlarge it no further than this. */
    const CANVAS_BORDER = 30;
    const CANVAS_MAX_ZOOM = 10;

    let arFrameTimeout = null;

    /** The largest box of a shape that fits centred into another box, without enlarging it more than so many times. */
    function fitted(box, width, height, maxScale = Infinity) {
        const scale = Math.min(box.width / width, box.height / height, maxScale);
        const size = {width: width * scale, height: height * scale};
        return {...size, left: box.left + (box.width - size.width) / 2, top: box.top + (box.height - size.height) / 2};
    }

    /** The box that a picture fills of the element that shows it, on the page. */
    function pictureBox(shown, width, height) {
        const {left, top, width: boxWidth, height: boxHeight} = shown.getBoundingClientRect();
        const border = shown.tagName === "CANVAS" ? CANVAS_BORDER : 0;
        const inner = {
            left: left + window.scrollX + border,
            top: top + window.scrollY + border,
            width: boxWidth - 2 * border,
            height: boxHeight - 2 * border,
        };
        return fitted(inner, width, height, border ? CANVAS_MAX_ZOOM : Infinity);
    }

    /** Whether a canvas has been zoomed in or out: no script can tell where it shows the picture then. */
    function isZoomed(shown, scale) {
        const percent = shown.closest(".gradio-imageeditor")?.querySelector(".zoom-number > span")?.textContent;
        return percent !== undefined && Math.abs(parseInt(percent) - scale * 100) > 1;
    }

    function frame() {
        let box = document.getElementById("imageARPreview");
        if (!box) {
            box = document.createElement("div");
            box.id = "imageARPreview";
            document.body.append(box);
        }
        return box;
    }

    function hideFrame() {
        frame().style.display = "none";
    }

    /** Shows the shape that a new width or height makes for a while. */
    function dimensionChange(e, is_width, is_height) {
        const field = (side) => gradioApp().querySelector(`#img2img_${side} input`);
        const newWidth = Number((is_width ? e.target : field("width")).value);
        const newHeight = Number((is_height ? e.target : field("height")).value);
        const selector = PICTURES[get_tab_index("mode_img2img")];
        const shown = selector && gradioApp().querySelector(selector);
        const [width, height] = sourceSize();
        if (!shown?.offsetParent || !width || !newWidth || !newHeight) return;
        const picture = pictureBox(shown, width, height);
        if (isZoomed(shown, picture.width / width)) return;
        const box = fitted(picture, newWidth, newHeight);
        for (const [name, value] of Object.entries(box)) frame().style[name] = `${value}px`;
        frame().style.display = "block";
        clearTimeout(arFrameTimeout);
        arFrameTimeout = setTimeout(hideFrame, SECONDS_SHOWN * 1000);
    }

    for (const [id, isWidth] of [["img2img_width", true], ["img2img_height", false]]) {
        onElements([id], (slider) => {
            for (const input of slider.querySelectorAll("input")) {
                input.addEventListener("input", (event) => dimensionChange(event, isWidth, !isWidth));
            }
        });
    }

    Object.assign(window, {dimensionChange});
}
