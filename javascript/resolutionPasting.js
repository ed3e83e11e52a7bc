"use strict";
// A size such as "832 x 1216" pasted into a width or height field fills both.
{
    const SIZE = /^\s*(\d+)\D+(\d+)\s*$/;

    function setNumber(input, value) {
        input.value = value;
        updateInput(input);
    }

    function setupResolutionPasting(tabname) {
        const [width, height] = ["width", "height"].map((name) => gradioApp().querySelector(`#${tabname}_${name} input[type=number]`));
        for (const input of [width, height]) {
            input?.addEventListener("paste", (event) => {
                const size = event.clipboardData.getData("text/plain").match(SIZE);
                if (!size) return;
                event.preventDefault();
                setNumber(width, size[1]);
                setNumber(height, size[2]);
            });
        }
    }

    for (const tab of ["txt2img", "img2img"]) onElements([`${tab}_width`, `${tab}_height`], () => setupResolutionPasting(tab));

    Object.assign(window, {setupResolutionPasting});
}
