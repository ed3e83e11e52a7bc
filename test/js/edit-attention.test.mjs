import assert from "node:assert/strict";
import {test} from "node:test";

import {loadScripts, mark, unmark} from "./page.mjs";

const {editWeight} = loadScripts("edit-attention");
const SETTINGS = {precision: 0.1, precisionExtra: 0.05, delimiters: ".,\\/!?%^*;:{}=`~() \t\r\n"};

function press(marked, direction, settings = SETTINGS) {
    const {text, start, end} = unmark(marked);
    const edited = editWeight(text, start, end, direction, settings);
    return edited && mark(edited);
}

const UP = [
    ["red ap|ple, car", "red (⟦apple⟧:1.1), car"],
    ["(ap|ple:1.9)", "(⟦apple⟧:2.0)"],
    ["((ap|ple)), car", "(⟦apple⟧:1.3), car"],
    ["⟦red apple ⟧car", "(⟦red apple⟧:1.1) car"],
    ["(a (b|:1.2) c:1.3)", "(a (⟦b⟧:1.3) c:1.3)"],
    ["[cat:d|og:0.5]", "[cat:(⟦dog⟧:1.1):0.5]"],
    ["[c|at:dog:0.5]", "[(⟦cat⟧:1.1):dog:0.5]"],
    ["[a red c|at::0.5], tree", "[a red (⟦cat⟧:1.1)::0.5], tree"],
    ["[c|at:7]", "[(⟦cat⟧:1.1):7]"],
    ["[a:[b:c|c:3]:0.5]", "[a:[b:(⟦cc⟧:1.1):3]:0.5]"],
    ["[a|a:[b:c:3]:0.5]", "[(⟦aa⟧:1.1):[b:c:3]:0.5]"],
    ["(tree, [cat:d|og:0.5])", "(tree, [cat:(⟦dog⟧:1.1):0.5])"],
    ["[cat:(d|og:1.1):0.5]", "[cat:(⟦dog⟧:1.2):0.5]"],
    ["[cat:<lora:d|og:1>:0.5]", "[cat:<⟦lora:dog⟧:1.05>:0.5]"],
    ["[⟦cat:dog⟧:0.5]", "(⟦[cat:dog:0.5]⟧:1.1)"],
    ["[⟦cat:dog:0.5⟧]", "(⟦[cat:dog:0.5]⟧:1.1)"],
    ["[cat:⟦dog⟧:0.5]", "[cat:(⟦dog⟧:1.1):0.5]"],
    ["[ap|ple] car", "⟦apple⟧ car"],
    ["<lora:na|me:0.5> x", "<⟦lora:name⟧:0.55> x"],
    ["ap|ple", "(⟦apple⟧:1.1)"],
    ["a\nap|ple", "a\n(⟦apple⟧:1.1)"],
];
for (const [before, after] of UP) {
    test(`Ctrl+Up: ${before} becomes ${after}`, () => assert.equal(press(before, 1), after));
}

const DOWN = [
    ["red (ap|ple:1.1), car", "red ⟦apple⟧, car"],
    ["[ap|ple] car", "(⟦apple⟧:0.8) car"],
    ["<lora:na|me:1> x", "<⟦lora:name⟧:0.95> x"],
    ["[cat:d|og:0.5]", "[cat:(⟦dog⟧:0.9):0.5]"],
    ["(x:-0.1|)", "(⟦x⟧:-0.2)"],
    ["(a, b|:0.1)", "(⟦a, b⟧:0.0)"],
];
for (const [before, after] of DOWN) {
    test(`Ctrl+Down: ${before} becomes ${after}`, () => assert.equal(press(before, -1), after));
}

for (const unchanged of ["(⟦apple⟧ pie)", "a, |, b", "⟦ ⟧", "(⟦apple⟧:big)", "(⟦apple⟧:1.2", "<lora:na|me>", "[cat:dog:0|.5]", "[:|:0.5]"]) {
    test(`nothing to weigh in ${unchanged}`, () => assert.equal(press(unchanged, 1), null));
}

test("the selection stays on the text, so that keys can be repeated", () => {
    const once = editWeight("red apple", 4, 9, 1, SETTINGS);
    const twice = editWeight(once.text, once.start, once.end, 1, SETTINGS);
    assert.equal(mark(twice), "red (⟦apple⟧:1.2)");
    const back = editWeight(twice.text, twice.start, twice.end, -1, SETTINGS);
    assert.equal(mark(editWeight(back.text, back.start, back.end, -1, SETTINGS)), "red ⟦apple⟧");
});

test("alternation is kept", () => {
    const alternation = "[red|green|blue] apple";
    const edited = (start, end) => mark(editWeight(alternation, start, end, 1, SETTINGS));
    assert.equal(edited(6, 6), "[red|(⟦green⟧:1.1)|blue] apple");
    assert.equal(edited(13, 13), "[red|green|(⟦blue⟧:1.1)] apple");
    assert.equal(edited(1, 10), "(⟦[red|green|blue]⟧:1.1) apple");
});

test("the precision of the settings is used", () => {
    assert.equal(press("ap|ple", 1, {...SETTINGS, precision: 0.025}), "(⟦apple⟧:1.025)");
});
