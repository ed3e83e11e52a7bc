import assert from "node:assert/strict";
import {test} from "node:test";

import {loadScripts} from "./page.mjs";

const STANDARD = {
    canvas_hotkey_zoom: "Alt",
    canvas_hotkey_adjust: "Ctrl",
    canvas_hotkey_shrink_brush: "Q",
    canvas_hotkey_grow_brush: "W",
    canvas_hotkey_move: "F",
    canvas_hotkey_fullscreen: "S",
    canvas_hotkey_reset: "R",
    canvas_hotkey_overlap: "O",
};

/** The keys in use with some settings changed. */
function keys(changes) {
    return {...loadScripts("../extensions-builtin/canvas-zoom-and-pan/javascript/zoom").canvasHotkeys({...STANDARD, canvas_disabled_functions: [], ...changes})};
}

test("keys are those of the settings", () => {
    assert.deepEqual(keys({}), STANDARD);
    assert.equal(keys({canvas_hotkey_reset: "z"}).canvas_hotkey_reset, "z");
    assert.equal(keys({canvas_hotkey_move: "Shift"}).canvas_hotkey_move, "Shift");
});

test("what can't be a key gives way to the default", () => {
    for (const key of ["", "F1", "7", null, undefined]) {
        assert.equal(keys({canvas_hotkey_reset: key}).canvas_hotkey_reset, "R");
    }
    assert.equal(keys({canvas_hotkey_zoom: "Z"}).canvas_hotkey_zoom, "Alt");
});

test("a key that two functions have stays with neither", () => {
    assert.deepEqual(keys({canvas_hotkey_reset: "x", canvas_hotkey_move: "X"}), STANDARD);
});

test("what is switched off has no key", () => {
    const left = keys({canvas_disabled_functions: ["Overlap", "Zoom", "Reset Zoom"]});
    const off = ["canvas_hotkey_zoom", "canvas_hotkey_reset", "canvas_hotkey_overlap"];
    assert.deepEqual(Object.keys(left), Object.keys(STANDARD).filter((key) => !off.includes(key)));
});
