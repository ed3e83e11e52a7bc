import assert from "node:assert/strict";
import {test} from "node:test";

import {loadScripts, mark, unmark} from "./page.mjs";

const {moveItems} = loadScripts("edit-order");

const MOVES = [
    ["a, b|b, c", -1, "⟦ bb⟧,a, c"],
    ["a, b|b, c", 1, "a, c,⟦ bb⟧"],
    ["a, ⟦b, c⟧, d", 1, "a, d,⟦ b, c⟧"],
    ["a, ⟦b,⟧ c", -1, "⟦ b⟧,a, c"],
];
for (const [before, direction, after] of MOVES) {
    test(`${before} moved by ${direction} becomes ${after}`, () => {
        const {text, start, end} = unmark(before);
        assert.equal(mark(moveItems(text, start, end, direction)), after);
    });
}

test("nothing moves beyond an edge", () => {
    assert.equal(moveItems("a, b", 0, 0, -1), null);
    assert.equal(moveItems("a, b", 3, 4, 1), null);
    assert.equal(moveItems("alone", 2, 2, 1), null);
});
