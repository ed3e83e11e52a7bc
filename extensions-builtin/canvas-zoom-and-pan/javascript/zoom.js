"use strict";
// Keys and wheel on the canvases of img2img. Zoom, position and brush belong to the image editor: this turns its controls
// and sends it the wheel events it understands.
{
    const MODIFIERS = {Alt: "altKey", Ctrl: "ctrlKey", Shift: "shiftKey"};

    /** Setting -> its default, what canvas_disabled_functions calls it, and what it does. */
    const HOTKEYS = {
        canvas_hotkey_zoom: {key: "Alt", name: "Zoom", wheel: "Zoom in or out"},
        canvas_hotkey_adjust: {key: "Ctrl", name: "Adjust brush size", wheel: "Change the brush size"},
        canvas_hotkey_shrink_brush: {key: "Q", name: "Hotkey shrink brush", text: "Smaller brush"},
        canvas_hotkey_grow_brush: {key: "W", name: "Hotkey enlarge brush", text: "Larger brush"},
        canvas_hotkey_move: {key: "F", name: "Moving canvas", text: "Hold to move the picture with the pointer"},
        canvas_hotkey_fullscreen: {key: "S", name: "Fullscreen", text: "Fill the window, or leave it"},
        canvas_hotkey_reset: {key: "R", name: "Reset Zoom", text: "Show the whole picture"},
        canvas_hotkey_overlap: {key: "O", name: "Overlap", text: "Lie above all else, or not"},
    };

    const WHEEL_NOTCH = 100;
    const ZOOM_STEP = 1.2;
    const BRUSH_STEP = 0.05;

    /** How far a wheel that counts in lines has to turn for the image editor to add 100 % to its zoom. */
    const EDITOR_ZOOM = 2000;

    const SELECTED_TOOL = ".toolbar-wrap .half-container:first-child > button.highlight";

    const canvasIds = new Set(["img2img_sketch", "img2maskimg", "inpaint_sketch"]);
    let hotkeys = {};
    let pointer = {clientX: 0, clientY: 0};

    /** The canvas whose picture follows the pointer, and the button of the tool to go back to. */
    let moving = null;

    let brushTurn = Promise.resolve();

    /** A modifier, or a letter for what is not done with the wheel. */
    function isValidHotkey(key, wheel) {
        return typeof key === "string" && (key in MODIFIERS || (!wheel && /^[a-z]$/i.test(key)));
    }

    /** The keys in use, setting -> key: defaults for keys that can't be or that two functions have, none for what is off. */
    function canvasHotkeys(options) {
        const chosen = (setting) => options[setting]?.toUpperCase?.();
        const count = (setting) => Object.keys(HOTKEYS).filter((other) => chosen(other) === chosen(setting)).length;
        const isOn = ([, {name}]) => !options.canvas_disabled_functions?.includes(name);
        const isUsable = (setting) => isValidHotkey(options[setting], HOTKEYS[setting].wheel) && count(setting) === 1;
        return Object.fromEntries(
            Object.entries(HOTKEYS).filter(isOn).map(([setting, {key}]) => [setting, isUsable(setting) ? options[setting] : key]),
        );
    }

    /** The canvas under the pointer. */
    function hoveredCanvas() {
        return [...canvasIds].map((id) => document.getElementById(id)).find((canvas) => canvas?.matches(":hover"));
    }

    /** Resolves when the page has been drawn after a change. */
    function nextFrame() {
        return new Promise(requestAnimationFrame);
    }

    /** Zooms about the pointer by so many notches of a wheel. */
    function zoom(canvas, notches) {
        const options = {deltaMode: WheelEvent.DOM_DELTA_LINE, deltaY: (1 - ZOOM_STEP ** notches) * EDITOR_ZOOM, altKey: true};
        const event = new WheelEvent("wheel", {...options, ...pointer, bubbles: true, cancelable: true});
        canvas.querySelector("canvas")?.dispatchEvent(event);
    }

    /** Chooses the first entry of the zoom menu, which shows the whole picture. */
    async function showWholePicture(canvas) {
        canvas.querySelector(".zoom-number > span")?.click();
        await nextFrame();
        canvas.querySelector(".zoom-controls li:first-child button")?.click();
    }

    async function reset(canvas) {
        canvas.classList.remove("canvas-fullscreen");
        await showWholePicture(canvas);
    }

    /** Moves the slider for the size of the brush or eraser by steps: it has to be opened, and nothing can be drawn then. */
    async function moveBrushSlider(canvas, steps) {
        if (!canvas.querySelector(`${SELECTED_TOOL}:not(:first-child)`)) return; // the first isn't one to draw with
        canvas.querySelector(".toolbar-wrap .half-container.right > button:last-of-type")?.click();
        await nextFrame();
        const slider = canvas.querySelector(".size_picker input[type=range]");
        if (!slider) return;
        slider.value = String(Number(slider.value) + steps * BRUSH_STEP * Number(slider.max));
        updateInput(slider);
        document.body.dispatchEvent(new MouseEvent("mousedown"));
        await nextFrame();
    }

    /** Changes the brush, out of sight, once earlier changes are done. */
    async function resizeBrush(canvas, steps) {
        canvas.classList.add("canvas-sizing");
        const turn = brushTurn.then(() => moveBrushSlider(canvas, steps));
        brushTurn = turn;
        await turn;
        if (turn === brushTurn) canvas.classList.remove("canvas-sizing");
    }

    function sendPointer(canvas, type) {
        const options = {pointerId: 1, pointerType: "mouse", isPrimary: true, button: 0, bubbles: true, ...pointer};
        canvas.querySelector("canvas")?.dispatchEvent(new PointerEvent(type, options));
    }

    /** Takes hold of the picture with the tool for moving it, which can't be chosen while all of the picture is shown. */
    async function startMoving(canvas) {
        const hand = canvas.querySelector(".top-panel button");
        if (moving || !hand || hand.disabled) return;
        moving = {canvas, tool: canvas.querySelector(SELECTED_TOOL)};
        hand.click();
        await nextFrame();
        if (!moving) return;
        sendPointer(canvas, "pointerdown");
        canvas.classList.add("canvas-moving");
    }

    /** Goes back to the tool there was before, which learns where the pointer is. */
    async function stopMoving() {
        if (!moving) return;
        const {canvas, tool} = moving;
        moving = null;
        sendPointer(canvas, "pointerup");
        tool?.click();
        await nextFrame();
        sendPointer(canvas, "pointermove");
        canvas.classList.remove("canvas-moving");
    }

    const ACTIONS = {
        canvas_hotkey_shrink_brush: (canvas) => resizeBrush(canvas, -1),
        canvas_hotkey_grow_brush: (canvas) => resizeBrush(canvas, 1),
        canvas_hotkey_move: startMoving,
        canvas_hotkey_fullscreen: (canvas) => canvas.classList.toggle("canvas-fullscreen"), // the editor fits itself
        canvas_hotkey_reset: reset,
        canvas_hotkey_overlap: (canvas) => canvas.classList.toggle("canvas-overlap"),
    };

    /** The setting whose letter is the physical key of an event, or whose modifier it is. */
    function settingOf(event) {
        return Object.keys(ACTIONS).find((setting) => {
            const key = hotkeys[setting];
            return key && (event.code === `Key${key.toUpperCase()}` || event.key === (key === "Ctrl" ? "Control" : key));
        });
    }

    function onKeyDown(event) {
        const canvas = hoveredCanvas();
        const setting = canvas && settingOf(event);
        const isLetter = hotkeys[setting]?.length === 1;
        if (!setting || (isLetter && (event.ctrlKey || event.altKey || event.metaKey))) return;
        if (event.target.matches?.("textarea, input:not([type=range], [type=checkbox], [type=radio]), [contenteditable]")) {
            if (!currentOpts.canvas_blur_prompt) return;
            event.target.blur();
        }
        event.preventDefault();
        ACTIONS[setting](canvas);
    }

    function onKeyUp(event) {
        if (settingOf(event) === "canvas_hotkey_move") stopMoving();
    }

    /** Does what a modifier makes of the wheel. Without one it scrolls the page, not the picture. */
    function onWheel(event) {
        const canvas = event.isTrusted && event.target.closest?.([...canvasIds].map((id) => `#${id}`).join());
        if (!canvas) return;
        const holds = (setting) => event[MODIFIERS[hotkeys[setting]]];
        const turn = event.deltaY || event.deltaX; // browsers turn the wheel sideways while Shift is held
        const notches = Math.max(-1, Math.min(1, -turn / WHEEL_NOTCH));
        event.stopPropagation();
        if (holds("canvas_hotkey_zoom")) zoom(canvas, notches);
        else if (holds("canvas_hotkey_adjust")) resizeBrush(canvas, Math.sign(notches));
        else return;
        event.preventDefault();
    }

    /** The keys as a list that opens on an "i" in the corner of a canvas. */
    function keysTooltip() {
        const entries = Object.entries(hotkeys).map(([setting, key]) => {
            const {wheel, text = wheel} = HOTKEYS[setting];
            const item = document.createElement("li");
            const label = document.createElement("kbd");
            label.textContent = wheel ? `${key} + wheel` : key;
            item.append(label, text);
            return item;
        });
        const list = document.createElement("ul");
        list.append(...entries);
        const tooltip = document.createElement("div");
        tooltip.className = "canvas-tooltip";
        tooltip.tabIndex = 0;
        tooltip.setAttribute("role", "note");
        tooltip.setAttribute("aria-label", "Canvas keys");
        tooltip.append("i", list);
        return tooltip;
    }

    function showKeys() {
        for (const id of canvasIds) {
            const canvas = document.getElementById(id);
            canvas?.querySelector(".canvas-tooltip")?.remove();
            if (canvas && currentOpts.canvas_show_tooltip && Object.keys(hotkeys).length) canvas.append(keysTooltip());
        }
    }

    function readSettings() {
        hotkeys = canvasHotkeys(currentOpts);
        showKeys();
    }

    /** Gives the keys to the canvas of an extension. */
    function applyZoomAndPan(selector) {
        canvasIds.add(selector.replace(/^#/, ""));
        showKeys();
    }

    /** The same for canvases that are only there once their container, an accordion for example, has been clicked. */
    function applyZoomAndPanIntegration(container, selectors) {
        const apply = () => selectors.forEach(applyZoomAndPan);
        const element = container !== "none" && gradioApp().querySelector(container);
        if (element) element.addEventListener("click", apply, {once: true});
        else apply();
    }

    onOptionsChanged(readSettings);
    onElements(["mode_img2img"], (modes) => {
        readSettings();
        modes.addEventListener("click", (event) => {
            if (!event.target.closest(".tab-nav > button")) return;
            for (const id of canvasIds) document.getElementById(id)?.classList.remove("canvas-fullscreen");
        });
    });

    document.addEventListener("keydown", onKeyDown);
    document.addEventListener("keyup", onKeyUp);
    document.addEventListener("pointermove", ({clientX, clientY}) => {
        pointer = {clientX, clientY};
    }, {capture: true, passive: true});
    window.addEventListener("blur", stopMoving);
    document.addEventListener("wheel", onWheel, {capture: true, passive: false});

    Object.assign(window, {canvasHotkeys, applyZoomAndPan, applyZoomAndPanIntegration});
}
