"use strict";
// Alt+Left and Alt+Right in a prompt: moves the comma separated parts that the selection touches.
{
    const PROMPTS = ":is([id*=_toprow] [id*=_prompt], .prompt) textarea";

    function itemAt(text, position) {
        return text.slice(0, position).split(",").length - 1;
    }

    /**
     * Moves parts of a prompt one place.
     * @param {string} text the prompt
     * @param {number} start where the selection begins
     * @param {number} end
     * @param {number} direction -1 to the left, 1 to the right
     * @returns {?{text: string, start: number, end: number}} the new prompt and selection; null at an edge
     */
    function moveItems(text, start, end, direction) {
        const items = text.split(",");
        const first = itemAt(text, start);
        const last = itemAt(text, Math.max(start, end - 1));
        const target = first + direction;
        if (target < 0 || last + direction >= items.length) return null;
        const moved = items.splice(first, last - first + 1);
        items.splice(target, 0, ...moved);
        const before = items.slice(0, target).map((item) => `${item},`).join("");
        return {text: items.join(","), start: before.length, end: before.length + moved.join(",").length};
    }

    function keyupEditOrder(event) {
        const direction = {ArrowLeft: -1, ArrowRight: 1}[event.key];
        const field = event.target;
        if (!direction || !event.altKey || !currentOpts.keyedit_move || !field.matches?.(PROMPTS)) return;
        event.preventDefault();
        const edited = moveItems(field.value, field.selectionStart, field.selectionEnd, direction);
        if (!edited) return;
        field.value = edited.text;
        field.setSelectionRange(edited.start, edited.end);
        updateInput(field);
    }

    document.addEventListener("keydown", keyupEditOrder);

    Object.assign(window, {keyupEditOrder, moveItems});
}
