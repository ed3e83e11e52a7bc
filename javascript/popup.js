"use strict";
// The popup over the page: shows an element made by a script, or one of the page, which goes back to its place afterwards.
{
    let lastFocused = null;

    /** Elements of the page that popups have shown, by id. */
    const storedPopupIds = {};

    /** Marks the place of the element that is borrowed from the page now: it has to be there for its events to work. */
    let home = null;

    function isOpen() {
        return globalPopup && globalPopup.style.display !== "none";
    }

    function giveBack() {
        home?.replaceWith(globalPopupInner.firstElementChild);
        home = null;
    }

    function closePopup() {
        if (!isOpen()) return;
        globalPopup.style.display = "none";
        giveBack();
        lastFocused?.focus?.({preventScroll: true});
    }

    function makePopup() {
        const globalPopup = document.createElement("div");
        globalPopup.className = "global-popup";
        globalPopup.style.display = "none";
        const close = document.createElement("button");
        Object.assign(close, {type: "button", className: "global-popup-close", title: "Close (Esc)"});
        close.setAttribute("aria-label", "Close");
        close.addEventListener("click", closePopup);
        const globalPopupInner = document.createElement("div");
        globalPopupInner.className = "global-popup-inner";
        globalPopupInner.tabIndex = 0;
        globalPopupInner.setAttribute("role", "dialog");
        globalPopupInner.setAttribute("aria-modal", "true");
        globalPopup.append(close, globalPopupInner);
        globalPopup.addEventListener("click", (event) => event.target === globalPopup && closePopup());
        (gradioApp().querySelector(".main") ?? document.body).append(globalPopup);
        Object.assign(window, {globalPopup, globalPopupInner});
    }

    /** Shows an element over the page, in place of what was shown there before. */
    function popup(contents) {
        if (!globalPopup) makePopup();
        if (!isOpen()) lastFocused = document.activeElement;
        giveBack();
        if (contents.isConnected) {
            home = document.createComment("shown in the popup");
            contents.before(home);
        }
        globalPopupInner.replaceChildren(contents);
        globalPopup.style.display = "flex";
        globalPopupInner.scrollTop = 0;
        globalPopupInner.focus({preventScroll: true});
    }

    /** Shows the element of the page with that id over it. */
    function popupId(id) {
        storedPopupIds[id] ??= gradioApp().getElementById(id);
        popup(storedPopupIds[id]);
    }

    document.addEventListener("keydown", (event) => {
        if (event.key === "Escape") closePopup();
    });

    window.globalPopup = null;
    window.globalPopupInner = null;
    Object.assign(window, {storedPopupIds, popup, popupId, closePopup});
}
