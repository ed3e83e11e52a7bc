import assert from "node:assert/strict";
import {test} from "node:test";

import {loadScripts} from "./page.mjs";

test("the viewer turns over beyond both ends", () => {
    const {negmod} = loadScripts("imageviewer");
    assert.deepEqual([negmod(-1, 3), negmod(3, 3), negmod(1, 3)], [2, 0, 1]);
});

test("one picture can be dropped, other files and several not", () => {
    const {isValidImageList} = loadScripts("dragdrop");
    assert.ok(isValidImageList([{type: "image/png"}]));
    assert.ok(!isValidImageList([{type: "text/plain"}]));
    assert.ok(!isValidImageList([{type: "image/png"}, {type: "image/png"}]));
    assert.ok(!isValidImageList([]));
});

test("addresses are told from words", () => {
    const {isURL} = loadScripts("dragdrop");
    assert.ok(isURL("http://127.0.0.1:7860/file=a.png"));
    assert.ok(!isURL("a red apple"));
    assert.ok(!isURL("red: apple"));
});

test("a drop belongs to the prompt if the field or what it stands in says so", () => {
    const {dragDropTargetIsPrompt} = loadScripts("dragdrop");
    const inside = (className) => ({parentNode: {parentNode: {className}}});
    assert.ok(dragDropTargetIsPrompt({placeholder: "Hires Prompt"}));
    assert.ok(dragDropTargetIsPrompt(inside("block prompt")));
    assert.ok(!dragDropTargetIsPrompt(inside("promptly")));
    assert.ok(!dragDropTargetIsPrompt(null));
});

test("times are shown as people read them", () => {
    const page = loadScripts("progressbar");
    assert.deepEqual([5.9, 61, 3601].map(page.formatTime), ["5s", "01:01", "01:00:01"]);
    assert.match(page.randomId(), /^task\([a-z0-9]{3,15}\)$/);
});

test("the counter of a prompt names the brackets that do not match", () => {
    const {checkBrackets} = loadScripts("../extensions-builtin/prompt-bracket-checker/javascript/prompt-bracket-checker");
    const classes = new Set();
    const counter = {classList: {toggle: (name, on) => (on ? classes.add(name) : classes.delete(name))}};
    const titleFor = (value) => {
        checkBrackets({value}, counter);
        return counter.title;
    };
    assert.equal(titleFor("((a) b] {c"), "(...) - 1 not closed\n[...] - 1 not opened\n{...} - 1 not closed");
    assert.ok(classes.has("error"));
    assert.equal(titleFor("(a) [b] {c}"), "");
    assert.ok(!classes.has("error"));
});
