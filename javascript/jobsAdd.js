"use strict";
// Adding jobs to the queue without waiting for them: Shift and a click on Generate, its menu, and Ctrl+Shift+Enter.
{
    const TABS = ["txt2img", "img2img"];

    function currentTab() {
        const name = get_uiCurrentTabContent()?.id.replace("tab_", "");
        return TABS.includes(name) ? name : null;
    }

    function clickWithShift(event) {
        if (!event.isTrusted || !event.shiftKey) return;
        const button = event.target.closest?.("button[id$=_generate], button[id$=_interrupt], button[id$=_skip]");
        const tab = TABS.find((name) => button?.id.startsWith(`${name}_`));
        if (!tab) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        addToQueue(tab);
    }

    function pressKeys(event) {
        if (event.key !== "Enter" || !event.shiftKey || !(event.ctrlKey || event.metaKey)) return;
        const tab = currentTab();
        if (!tab) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        addToQueue(tab);
    }

    // before the listeners of Gradio and of the keys without Shift
    document.addEventListener("click", clickWithShift, true);
    document.addEventListener("keydown", pressKeys, true);
    for (const tab of TABS) {
        for (const button of ["generate", "interrupt", "skip"]) {
            appendContextMenuOption(`#${tab}_${button}`, "Add to the queue", () => addToQueue(tab));
        }
    }
}
