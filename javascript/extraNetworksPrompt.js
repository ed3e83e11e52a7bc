"use strict";
// What a click on a card does to a prompt: its text goes in, or out again if it is there.
{
    const re_extranet = /<([^:^>]+:[^:]+):-?[\d.]+>(.*)/s;
    const re_extranet_g = /<([^:^>]+:[^:>]+):[^<>]+>/g;
    const re_extranet_neg = /\(([^:^>]+:[\d.]+)\)/;
    const re_extranet_g_neg = /\(([^:^>]+:[\d.]+)\)/g;

    /** Cuts [start, end) out of a text, with the separator before it; returns [text, start of the cut]. */
    function cut(text, start, end) {
        const separator = currentOpts.extra_networks_add_text_separator;
        const begin = separator && text.slice(0, start).endsWith(separator) ? start - separator.length : start;
        return [text.slice(0, begin) + text.slice(end), begin];
    }

    /** Removes all tags that `isWanted`, each with `tail` if that follows it. */
    function removeTags(prompt, pattern, isWanted, tail) {
        let result = prompt;
        for (const match of [...prompt.matchAll(pattern)].reverse()) {
            if (!isWanted(match)) continue;
            let end = match.index + match[0].length;
            if (tail && result.startsWith(tail, end)) end += tail.length;
            [result] = cut(result, match.index, end);
        }
        return result;
    }

    /** Removes a plain text wherever it occurs. */
    function removeText(prompt, text) {
        let result = prompt;
        let from = 0;
        for (let at = result.indexOf(text, from); text && at >= 0; at = result.indexOf(text, from)) {
            [result, from] = cut(result, at, at + text.length);
        }
        return result;
    }

    /** A prompt without a card's text. A tag counts as the same whatever its numbers are; in the negative prompt not. */
    function withoutCardText(prompt, text, isNeg) {
        const tag = text.match(isNeg ? re_extranet_neg : re_extranet);
        if (!tag || (isNeg && tag[0] !== text)) return removeText(prompt, text);
        const pattern = isNeg ? re_extranet_g_neg : re_extranet_g;
        return removeTags(prompt, pattern, (match) => match[1] === tag[1], isNeg ? "" : tag[2]);
    }

    /** Takes a card's text out of a prompt; returns whether it was there. */
    function tryToRemoveExtraNetworkFromPrompt(textarea, text, isNeg) {
        const remaining = withoutCardText(textarea.value, text, isNeg);
        if (remaining === textarea.value) return false;
        textarea.value = remaining;
        return true;
    }

    /** Toggles a card's text in a prompt. */
    function updatePromptArea(text, textArea, isNeg) {
        if (!tryToRemoveExtraNetworkFromPrompt(textArea, text, isNeg)) {
            textArea.value += currentOpts.extra_networks_add_text_separator + text;
        }
        updateInput(textArea);
    }

    /** Toggles a card's texts: those of both prompts if it has a negative one, else in the prompt that was used last. */
    function cardClicked(tabname, textToAdd, textToAddNegative, allowNegativePrompt) {
        const prompt = document.querySelector(`#${tabname}_prompt textarea`);
        if (textToAddNegative.length > 0) {
            updatePromptArea(textToAdd, prompt, false);
            updatePromptArea(textToAddNegative, document.querySelector(`#${tabname}_neg_prompt textarea`), true);
        } else {
            updatePromptArea(textToAdd, (allowNegativePrompt && window.activePromptTextarea[tabname]) || prompt, false);
        }
    }

    Object.assign(window, {
        re_extranet, re_extranet_g, re_extranet_neg, re_extranet_g_neg, tryToRemoveExtraNetworkFromPrompt,
        updatePromptArea, cardClicked
    });
}
