"use strict";
// Menus on right click (or a touch with two fingers), and "generate forever" on the Generate and Interrupt buttons.
{
    const REPEAT_MS = 500;

    /** Menu entries by the selector of the elements they belong to. */
    const entries = new Map();
    let isListening = false;

    function closeMenu() {
        document.getElementById("context-menu")?.remove();
    }

    function showMenu(x, y, items) {
        closeMenu();
        const menu = document.createElement("nav");
        menu.id = "context-menu";
        const list = document.createElement("ul");
        list.className = "context-menu-items";
        for (const item of items) {
            const link = document.createElement("a");
            link.innerHTML = item.name;
            link.addEventListener("click", () => item.func());
            list.append(link);
        }
        menu.append(list);
        document.body.append(menu);
        menu.style.left = `${Math.min(x, window.innerWidth - menu.offsetWidth - 4)}px`;
        menu.style.top = `${Math.min(y, window.innerHeight - menu.offsetHeight - 4)}px`;
    }

    /** Adds an entry to the menu of the elements a selector matches; returns an id to remove it by. */
    function appendContextMenuOption(targetElementSelector, entryName, entryFunction) {
        const item = {id: `${Date.now()}${Math.random()}`, name: entryName, func: entryFunction};
        entries.set(targetElementSelector, [...(entries.get(targetElementSelector) ?? []), item]);
        return item.id;
    }

    function removeContextMenuOption(uid) {
        for (const [selector, items] of entries) {
            entries.set(selector, items.filter((item) => item.id !== uid));
        }
    }

    function openMenuAt(event, x, y) {
        for (const [selector, items] of entries) {
            if (items.length && event.composedPath()[0].matches?.(selector)) {
                showMenu(x, y, items);
                event.preventDefault();
                return;
            }
        }
    }

    function addContextMenuEventListener() {
        if (isListening) return;
        isListening = true;
        const root = gradioApp();
        root.addEventListener("click", (event) => event.isTrusted && closeMenu());
        root.addEventListener("contextmenu", (event) => {
            closeMenu();
            openMenuAt(event, event.clientX, event.clientY);
        });
        root.addEventListener("touchstart", (event) => {
            if (event.touches.length === 2) openMenuAt(event, event.touches[0].clientX, event.touches[0].clientY);
        }, {passive: false});
        document.addEventListener("click", (event) => event.target.closest("#context-menu") && closeMenu());
    }

    function cancelGenerateForever() {
        clearInterval(window.generateOnRepeatInterval);
    }

    /** Clicks Generate now and whenever no job of the tab runs, until cancelled. */
    function generateOnRepeat(tabname) {
        const generate = document.getElementById(`${tabname}_generate`);
        const interrupt = document.getElementById(`${tabname}_interrupt`);
        const next = () => interrupt.offsetParent || generate.click();
        next();
        cancelGenerateForever();
        window.generateOnRepeatInterval = setInterval(next, REPEAT_MS);
    }

    for (const tabname of ["txt2img", "img2img"]) {
        for (const button of ["generate", "interrupt"]) {
            const selector = `#${tabname}_${button}`;
            appendContextMenuOption(selector, "Generate forever", () => generateOnRepeat(tabname));
            appendContextMenuOption(selector, "Cancel generate forever", cancelGenerateForever);
        }
    }
    onElements(["tabs"], addContextMenuEventListener);

    window.generateOnRepeatInterval = null;
    Object.assign(window, {appendContextMenuOption, removeContextMenuOption, addContextMenuEventListener});
}
