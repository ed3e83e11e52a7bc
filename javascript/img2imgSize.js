"use strict";
// Sizes of the pictures in img2img: what "Resize by" makes of the chosen one, and a button that takes its size.
{
    const NO_SIZE = [0, 0];

    /** [width, height] of the picture in the chosen mode, zeros without one. The server notes them. */
    function sourceSize() {
        const noted = gradioApp().querySelector("#img2img_source_sizes textarea, #img2img_source_sizes input");
        const mode = get_tab_index("mode_img2img");
        return JSON.parse(noted?.value || "{}")[mode] ?? NO_SIZE;
    }

    function currentImg2imgSourceResolution(w, h, scaleBy) {
        return [...sourceSize(), scaleBy];
    }

    /** The size of the chosen picture, or the values there are if there is none. */
    function detectImageSize(width, height) {
        const size = sourceSize();
        return size[0] ? size : [width, height];
    }

    function updateImg2imgResizeToTextAfterChangingImage() {
        setTimeout(() => gradioApp().getElementById("img2img_update_resize_to")?.click(), 500);
        return [];
    }

    onElements(["mode_img2img"], (modes) => modes.addEventListener("click", (event) => {
        if (event.target.closest(".tab-nav > button")) updateImg2imgResizeToTextAfterChangingImage();
    }));

    Object.assign(window, {
        sourceSize, currentImg2imgSourceResolution, detectImageSize, updateImg2imgResizeToTextAfterChangingImage
    });
}
