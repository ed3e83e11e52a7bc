"use strict";
// Turning over pictures in the viewer with a gamepad's stick or a sideways wheel.
{
    const AXIS_THRESHOLD = 0.3;
    const WHEEL_THRESHOLD = 0.6;
    const POLL_MS = 10;

    let lastSwitch = 0;
    const pollers = new Map();

    function isViewerFocused() {
        return currentOpts.js_modal_lightbox_gamepad && document.getElementById("lightboxModal")?.contains(document.activeElement);
    }

    /** Turns over one picture, at most once in the time that the user has set. */
    function turnOver(offset) {
        if (performance.now() - lastSwitch < currentOpts.js_modal_lightbox_gamepad_repeat) return;
        lastSwitch = performance.now();
        modalImageSwitch(offset);
    }

    function poll(index) {
        const value = navigator.getGamepads()[index]?.axes[0] ?? 0;
        if (Math.abs(value) <= AXIS_THRESHOLD) {
            lastSwitch = 0;
        } else if (isViewerFocused()) {
            turnOver(Math.sign(value));
        }
    }

    window.addEventListener("gamepadconnected", ({gamepad}) => {
        pollers.set(gamepad.index, setInterval(poll, POLL_MS, gamepad.index));
    });
    window.addEventListener("gamepaddisconnected", ({gamepad}) => {
        clearInterval(pollers.get(gamepad.index));
        pollers.delete(gamepad.index);
    });
    window.addEventListener("wheel", ({deltaX}) => {
        if (Math.abs(deltaX) > WHEEL_THRESHOLD && isViewerFocused()) turnOver(Math.sign(deltaX));
    });
}
