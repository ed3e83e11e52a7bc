"use strict";
// While the size sliders of img2img move: the shape of the picture to come, laid over the one it is made from.
{
    const SECONDS_SHOWN = 2;

    /** What shows the picture of each mode; those with a canvas draw it centred, as large as fits. */
    const PICTURES = ["#img2img_image img", "#img2img_sketch canvas", "#img2maskimg canvas", "#inpaint_sketch canvas"];

    let currentWidth = null;
    let currentHeight = null;
    let arFrameTimeout = null;

    /** The largest box of a shape that fits centred into another box. */
    function fitted(box, width, height) {
        const scale = Math.min(box.width / width, box.height / height);
        const size = {width: width * scale, height: height * scale};
        return {...size, left: box.left + (box.width - size.width) / 2, top: box.top + (box.height - size.height) / 2};
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

    /** Notes a new width or height, and shows its shape for a while. */
    function dimensionChange(e, is_width, is_height) {
        if (is_width) currentWidth = Number(e.target.value);
        if (is_height) currentHeight = Number(e.target.value);
        const selector = PICTURES[get_tab_index("mode_img2img")];
        const shown = selector && gradioApp().querySelector(selector);
        const [width, height] = sourceSize();
        if (!shown?.offsetParent || !width || !currentWidth || !currentHeight) return;
        const {left, top, width: boxWidth, height: boxHeight} = shown.getBoundingClientRect();
        const page = {left: left + window.scrollX, top: top + window.scrollY, width: boxWidth, height: boxHeight};
        const box = fitted(fitted(page, width, height), currentWidth, currentHeight);
        for (const [name, value] of Object.entries(box)) frame().style[name] = `${value}px`;
        frame().style.display = "block";
        clearTimeout(arFrameTimeout);
        arFrameTimeout = setTimeout(hideFrame, SECONDS_SHOWN * 1000);
    }

    onUiLoaded(() => {
        for (const [id, isWidth] of [["img2img_width", true], ["img2img_height", false]]) {
            for (const input of gradioApp().querySelectorAll(`#${id} input`)) {
                const value = Number(input.value);
                if (isWidth) currentWidth = value;
                else currentHeight = value;
                input.addEventListener("input", (event) => dimensionChange(event, isWidth, !isWidth));
            }
        }
    });

    Object.assign(window, {dimensionChange});
}
