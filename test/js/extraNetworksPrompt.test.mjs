// What a click on a card does to a prompt.
import assert from "node:assert/strict";
import {test} from "node:test";

import {loadScripts} from "./page.mjs";

/** The prompt after a click on a card of that text. */
function clicked(prompt, text, isNeg = false, separator = " ") {
    const page = loadScripts("extraNetworksPrompt");
    page.updateInput = () => {};
    page.currentOpts.extra_networks_add_text_separator = separator;
    const textarea = {value: prompt};
    page.updatePromptArea(text, textarea, isNeg);
    return textarea.value;
}

for (const [prompt, text, expected] of [
    ["cat", "<lora:a:1>", "cat <lora:a:1>"],
    ["cat <lora:a:0.6>, dog", "<lora:a:1>", "cat, dog"],
    ["cat <lora:a:0.6> sks, x", "<lora:a:1> sks", "cat, x"],
    ["cat <lora:a:0.6> other", "<lora:a:1> sks", "cat other"],
    ["<lora:a:1> cat <lora:a:2>", "<lora:a:1>", " cat"],
    ["cat <lora:a:-0.5>", "<lora:a:1>", "cat"],
    ["cat <lora:a:0.5:0.8>", "<lora:a:1>", "cat"],
    ["cat <lora:a:te=0.5:unet=1:dyn=4>", "<lora:a:1>", "cat"],
    ["cat <lora:a:1>", "<lora:a:-0.5>", "cat"],
    ["cat <lora:ab:1> <hypernet:a:1>", "<lora:a:1>", "cat <lora:ab:1> <hypernet:a:1> <lora:a:1>"],
    ["cat <lora:a b, c:1>", "<lora:a b, c:1>", "cat"],
    ["cat $& <lora:a.*(:1>", "<lora:a.*(:1>", "cat $&"],
    ["cat my-word, dog", "my-word", "cat, dog"]
]) {
    test(`${prompt} + ${text}`, () => assert.equal(clicked(prompt, text), expected));
}

for (const [prompt, text, expected] of [
    ["bad (ugly:1.3), x", "(ugly:1)", "bad (ugly:1.3), x (ugly:1)"],
    ["bad (ugly:1), x", "(ugly:1)", "bad, x"],
    ["bad ((worse:1.2), ugly:1), x", "((worse:1.2), ugly:1)", "bad, x"]
]) {
    test(`negative: ${prompt} + ${text}`, () => assert.equal(clicked(prompt, text, true), expected));
}

test("a separator of the user's", () => {
    assert.equal(clicked("cat", "<lora:a:1>", false, ", "), "cat, <lora:a:1>");
    assert.equal(clicked("cat, <lora:a:1>, dog", "<lora:a:1>", false, ", "), "cat, dog");
});
