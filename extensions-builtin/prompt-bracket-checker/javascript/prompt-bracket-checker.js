"use strict";
// Marks the token counter of a prompt whose brackets do not match, and says which.
{
    const PAIRS = ["()", "[]", "{}"];

    const counterIds = ["txt2img", "img2img"].flatMap((tab) => [
        [`${tab}_prompt`, `${tab}_token_counter`],
        [`${tab}_neg_prompt`, `${tab}_negative_token_counter`],
    ]);

    function countOf(text, character) {
        return text.split(character).length - 1;
    }

    /** One line for each kind of brackets that are not opened as often as closed. */
    function bracketErrors(text) {
        return PAIRS.flatMap(([open, close]) => {
            const surplus = countOf(text, open) - countOf(text, close);
            if (surplus === 0) return [];
            return [surplus > 0 ? `${open}...${close} - ${surplus} not closed` : `${open}...${close} - ${-surplus} not opened`];
        });
    }

    function checkBrackets(textArea, counterElt) {
        const lines = bracketErrors(textArea.value);
        counterElt.title = lines.join("\n");
        counterElt.classList.toggle("error", lines.length > 0);
    }

    function setupBracketChecking(id_prompt, id_counter) {
        const textarea = document.querySelector(`#${id_prompt} textarea`);
        const counter = document.getElementById(id_counter);
        if (!textarea || !counter) return;
        textarea.addEventListener("input", () => checkBrackets(textarea, counter));
        checkBrackets(textarea, counter);
    }

    for (const ids of counterIds) onElements(ids, () => setupBracketChecking(...ids));

    Object.assign(window, {checkBrackets, setupBracketChecking});
}
