"use strict";
// Keys that work anywhere on a tab: Ctrl+Enter generates, Alt+Enter skips, Esc interrupts.
{
    function tabButton(name) {
        return get_uiCurrentTabContent()?.querySelector(`button[id$=_${name}]`);
    }

    function isRunning(interrupt) {
        return interrupt?.style.display === "block";
    }

    /** Stops the running job, and generates again once its Interrupt button has gone. */
    function restartGeneration(interrupt, generate) {
        const observer = new MutationObserver(() => {
            if (isRunning(interrupt)) return;
            observer.disconnect();
            generate.click();
        });
        observer.observe(interrupt, {attributes: true, attributeFilter: ["style"]});
        interrupt.click();
    }

    function isDialogOpen() {
        const popup = document.querySelector(".global-popup");
        const viewer = document.getElementById("lightboxModal");
        return (popup && popup.style.display !== "none") || (viewer && viewer === document.activeElement);
    }

    /** Does what a key asks for; tells whether the key has been dealt with. */
    function act(event) {
        const interrupt = tabButton("interrupt");
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            const generate = tabButton("generate");
            if (isRunning(interrupt)) restartGeneration(interrupt, generate);
            else generate?.click();
            return Boolean(generate);
        }
        if (event.key === "Enter" && event.altKey) {
            tabButton("skip")?.click();
            return true;
        }
        if (event.key === "Escape" && isRunning(interrupt) && !isDialogOpen()) {
            interrupt.click();
            return true;
        }
        return false;
    }

    document.addEventListener("keydown", (event) => {
        if (act(event)) event.preventDefault();
    });
}
