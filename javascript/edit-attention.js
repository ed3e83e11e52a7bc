"use strict";
// Ctrl+Up and Ctrl+Down in a prompt: the weight of the selected words, of the word at the caret, or of the brackets around it.
{
    const PROMPTS = ":is([id*=_toprow] [id*=_prompt], .prompt) textarea";
    const PAIRS = [["<", ">"], ["(", ")"], ["[", "]"]];
    const BRACKETS_OF_EDITING = "[]|:";
    const NUMBER = /^\s*-?(\d+\.?\d*|\.\d+)\s*$/;
    const WHITESPACE = {"Tab": "\t", "Carriage Return": "\r", "Line Feed": "\n"};

    /** The text between the innermost pair of brackets around the caret, without a weight at its end, as [start, end]. */
    function insideOfPair(text, caret, [opener, closer]) {
        const open = text.slice(0, caret).lastIndexOf(opener);
        const close = text.indexOf(closer, caret);
        if (open < 0 || close < 0) return null;
        const isClosedBefore = text.slice(open, caret).includes(closer);
        const isOpenedAfter = text.slice(caret, close).includes(opener);
        if (isClosedBefore || isOpenedAfter) return null;
        const inside = text.slice(open + 1, close);
        return [open + 1, /:-?[\d.]+/.test(inside) ? open + 1 + inside.lastIndexOf(":") : close];
    }

    /** The positions of the square brackets around a selection, as [open, close]; null outside of any. */
    function bracketsAround(text, start, end) {
        const find = (from, step, wanted, other) => {
            let depth = 0;
            for (let i = from; i >= 0 && i < text.length; i += step) {
                if (text[i] === wanted && depth === 0) return i;
                if (text[i] === wanted) depth--;
                if (text[i] === other) depth++;
            }
            return -1;
        };
        const [open, close] = [find(start - 1, -1, "[", "]"), find(end, 1, "]", "[")];
        return open < 0 || close < 0 ? null : [open, close];
    }

    /** The parts of the inside of brackets that `:` and `|` divide, those in brackets of their own left out. */
    function partsBetween(text, open, close) {
        const parts = [];
        let [depth, start] = [0, open + 1];
        for (let i = open + 1; i <= close; i++) {
            if (i === close || (depth === 0 && ":|".includes(text[i]))) {
                parts.push({start, end: i, text: text.slice(start, i), separator: text[i]});
                start = i + 1;
            } else if ("([<".includes(text[i])) {
                depth++;
            } else if (")]>".includes(text[i])) {
                depth--;
            }
        }
        return parts;
    }

    /**
     * The prompt editing, [from:to:when], or alternation, [one|other], around a selection; null in other brackets.
     * @returns {?{open: number, close: number, parts: {start: number, end: number}[]}} parts: those that are prompts
     */
    function editingAround(text, start, end) {
        const brackets = bracketsAround(text, start, end);
        if (!brackets) return null;
        const [open, close] = brackets;
        const parts = partsBetween(text, open, close);
        const isTimed = parts.length > 1 && NUMBER.test(parts.at(-1).text);
        const isAlternation = parts.some(({separator}) => separator === "|");
        if (!isTimed && !isAlternation) return null;
        return {open, close, parts: isTimed ? parts.slice(0, -1) : parts};
    }

    /** The word at the caret as [start, end]. */
    function wordAt(text, caret, delimiters) {
        let [start, end] = [caret, caret];
        while (start > 0 && !delimiters.includes(text[start - 1])) start--;
        while (end < text.length && !delimiters.includes(text[end])) end++;
        while (start < end && text[start] === " ") start++;
        while (end > start && text[end - 1] === " ") end--;
        return [start, end];
    }

    function rounded(number) {
        return Number(number.toPrecision(12));
    }

    /** A weight as it is written: 1.0, 0.95. */
    function formatWeight(weight) {
        return Number.isInteger(weight) ? weight.toFixed(1) : String(weight);
    }

    function countPairsAround(text, start, end, opener, closer) {
        let count = 0;
        while (text[start - 1 - count] === opener && text[end + count] === closer) count++;
        return count;
    }

    /** Writes a weight behind the selection where it has none: for the brackets directly around it, or 1. */
    function withExplicitWeight(text, start, end, precision) {
        const [before, after] = [text[start - 1], text[end]];
        const pair = PAIRS.slice(1).find(([opener, closer]) => before === opener && after === closer);
        if (pair) {
            const count = countPairsAround(text, start, end, ...pair);
            const weight = (pair[0] === "(" ? 1.1 : 1 / 1.1) ** count;
            const written = formatWeight(rounded(Math.round(weight / precision) * precision));
            const [outerStart, outerEnd] = [start - count, end + count];
            const selected = text.slice(start, end);
            text = `${text.slice(0, outerStart)}(${selected}:${written})${text.slice(outerEnd)}`;
            return {text, start: outerStart + 1, end: outerStart + 1 + selected.length};
        }
        if (before === "(" || before === "<") return {text, start, end};
        while (end > start && text[end - 1] === " ") end--;
        if (start === end) return null;
        text = `${text.slice(0, start)}(${text.slice(start, end)}:1.0)${text.slice(end)}`;
        return {text, start: start + 1, end: end + 1};
    }

    /** What a caret weighs: what stands in the brackets around it, in prompt editing and outside of brackets its word. */
    function regionAtCaret(text, caret, delimiters) {
        const region = PAIRS.map((pair) => insideOfPair(text, caret, pair)).find(Boolean);
        const editing = editingAround(text, caret, caret);
        if (!editing || region?.[0] > editing.open + 1) return region ?? wordAt(text, caret, delimiters);
        const part = editing.parts.find(({start, end}) => start <= caret && caret <= end);
        return part ? wordAt(text, caret, delimiters + BRACKETS_OF_EDITING) : [caret, caret];
    }

    /** What a selection weighs: itself; the whole of a prompt editing of which it is more than one part. */
    function regionOfSelection(text, start, end) {
        const editing = editingAround(text, start, end);
        if (!editing || editing.parts.some((part) => part.start <= start && end <= part.end)) return [start, end];
        return [editing.open, editing.close + 1];
    }

    /**
     * Raises or lowers the weight of a part of a prompt. Prompt editing and alternation stay what they are.
     * @param {string} text the prompt
     * @param {number} start where the selection begins; with end equal to it, the caret
     * @param {number} end
     * @param {number} direction 1 or -1
     * @param {{precision: number, precisionExtra: number, delimiters: string}} settings
     * @returns {?{text: string, start: number, end: number}} the new prompt and selection; null when there is nothing to weigh
     */
    function editWeight(text, start, end, direction, settings) {
        [start, end] = start === end ? regionAtCaret(text, start, settings.delimiters) : regionOfSelection(text, start, end);
        const isNetwork = text[start - 1] === "<";
        const closer = isNetwork ? ">" : ")";
        const weighted = withExplicitWeight(text, start, end, settings.precision);
        if (!weighted || weighted.text[weighted.end] !== ":") return null;
        ({text, start, end} = weighted);
        const close = text.indexOf(closer, end);
        const written = text.slice(end + 1, close).trim();
        if (close < 0 || !written || Number.isNaN(Number(written))) return null;
        const step = isNetwork ? settings.precisionExtra : settings.precision;
        const weight = rounded(Number(written) + direction * step);
        if (weight === 1 && closer === ")") {
            text = text.slice(0, start - 1) + text.slice(start, end) + text.slice(close + 1);
            return {text, start: start - 1, end: end - 1};
        }
        return {text: text.slice(0, end + 1) + formatWeight(weight) + text.slice(close), start, end};
    }

    function readSettings() {
        const whitespace = currentOpts.keyedit_delimiters_whitespace.map((name) => WHITESPACE[name] ?? "");
        return {
            precision: Number(currentOpts.keyedit_precision_attention),
            precisionExtra: Number(currentOpts.keyedit_precision_extra),
            delimiters: currentOpts.keyedit_delimiters + whitespace.join(""),
        };
    }

    function keyupEditAttention(event) {
        const direction = {ArrowUp: 1, ArrowDown: -1}[event.key];
        const field = event.target;
        if (!direction || !(event.ctrlKey || event.metaKey) || !field.matches?.(PROMPTS)) return;
        event.preventDefault();
        const edited = editWeight(field.value, field.selectionStart, field.selectionEnd, direction, readSettings());
        if (!edited) return;
        field.value = edited.text;
        field.setSelectionRange(edited.start, edited.end);
        updateInput(field);
    }

    document.addEventListener("keydown", keyupEditAttention);

    Object.assign(window, {keyupEditAttention, editWeight});
}
