"use strict";
// The page's event registry. Scripts of the program and of extensions register here instead of watching the page themselves.
{
    const callbacks = {
        uiUpdateCallbacks: [],
        uiAfterUpdateCallbacks: [],
        uiLoadedCallbacks: [],
        uiTabChangeCallbacks: [],
        optionsChangedCallbacks: [],
        optionsAvailableCallbacks: [],
    };

    const AFTER_UPDATE_DELAY_MS = 200;
    const COMPLETE_TIMEOUT_MS = 8000;

    /** Ids of elements that exist once every tab has been built; null until the page has said so. */
    let expectedIds = null;

    /** The element that holds the page: the root of element lookups. */
    function gradioApp() {
        const app = document.getElementsByTagName("gradio-app")[0];
        if (!app) return document;
        app.getElementById = (id) => document.getElementById(id);
        return app.shadowRoot ?? app;
    }

    /** The button of the main tab that is shown. */
    function get_uiCurrentTab() {
        return gradioApp().querySelector("#tabs > .tab-nav > button.selected");
    }

    /** The content of the main tab that is shown. */
    function get_uiCurrentTabContent() {
        return gradioApp().querySelector('#tabs > .tabitem[id^=tab_]:not([style*="display: none"])');
    }

    /** Runs callback(mutationRecords) after every change of the page. */
    function onUiUpdate(callback) {
        callbacks.uiUpdateCallbacks.push(callback);
    }

    /** Runs callback() once the page has been quiet for 200 ms after changes. */
    function onAfterUiUpdate(callback) {
        callbacks.uiAfterUpdateCallbacks.push(callback);
    }

    /** Runs callback() once, when all tabs are in the page. */
    function onUiLoaded(callback) {
        callbacks.uiLoadedCallbacks.push(callback);
    }

    /** Runs callback() when another main tab is shown; `uiCurrentTab` is its button. */
    function onUiTabChange(callback) {
        callbacks.uiTabChangeCallbacks.push(callback);
    }

    /** Runs callback() whenever the settings in `opts` may have changed. */
    function onOptionsChanged(callback) {
        callbacks.optionsChangedCallbacks.push(callback);
    }

    /** Runs callback() as soon as `opts` is filled. */
    function onOptionsAvailable(callback) {
        if (Object.keys(window.opts).length !== 0) {
            callback();
            return;
        }
        callbacks.optionsAvailableCallbacks.push(callback);
    }

    /** Calls every function of a list; one that throws doesn't keep the others from running. */
    function executeCallbacks(queue, arg) {
        for (const callback of queue) {
            try {
                callback(arg);
            } catch (e) {
                console.error("error running callback", callback, ":", e);
            }
        }
    }

    function scheduleAfterUiUpdateCallbacks() {
        clearTimeout(window.uiAfterUpdateTimeout);
        window.uiAfterUpdateTimeout = setTimeout(
            () => executeCallbacks(callbacks.uiAfterUpdateCallbacks),
            AFTER_UPDATE_DELAY_MS,
        );
    }

    /** Answers Gradio's load event: shows `count` blocks that it has held back, and notes how to tell that all are there. */
    function revealBlocks(count, ids) {
        expectedIds = ids;
        setTimeout(() => (expectedIds = []), COMPLETE_TIMEOUT_MS);
        return Array.from({length: count}, () => ({__type__: "update", visible: true}));
    }

    function isPageComplete() {
        if (!expectedIds || !document.getElementById("txt2img_prompt")) return false;
        expectedIds = expectedIds.filter((id) => !document.getElementById(id));
        return expectedIds.length === 0;
    }

    function onMutations(records) {
        window.adaptDom();
        if (!window.executedOnLoaded && isPageComplete()) {
            window.executedOnLoaded = true;
            executeCallbacks(callbacks.uiLoadedCallbacks);
        }
        executeCallbacks(callbacks.uiUpdateCallbacks, records);
        scheduleAfterUiUpdateCallbacks();
        const tab = get_uiCurrentTab();
        if (tab && tab !== window.uiCurrentTab) {
            window.uiCurrentTab = tab;
            executeCallbacks(callbacks.uiTabChangeCallbacks);
        }
    }

    /** Whether an element takes up room on the page. */
    function uiElementIsVisible(el) {
        if (el === document) return true;
        const style = getComputedStyle(el);
        return style.display !== "none" && (!el.parentNode || uiElementIsVisible(el.parentNode));
    }

    /** Whether an element lies in the part of the page that is scrolled into view. */
    function uiElementInSight(el) {
        const rect = el.getBoundingClientRect();
        const height = window.innerHeight || document.documentElement.clientHeight;
        return rect.bottom > 0 && rect.top < height;
    }

    window.opts = {};
    window.uiCurrentTab = null;
    window.executedOnLoaded = false;
    window.uiAfterUpdateTimeout = null;
    Object.assign(window, callbacks);
    Object.assign(window, {
        gradioApp, get_uiCurrentTab, get_uiCurrentTabContent,
        onUiUpdate, onAfterUiUpdate, onUiLoaded, onUiTabChange, onOptionsChanged, onOptionsAvailable,
        executeCallbacks, scheduleAfterUiUpdateCallbacks, revealBlocks, uiElementIsVisible, uiElementInSight
    });

    document.addEventListener("DOMContentLoaded", () => {
        new MutationObserver(onMutations).observe(gradioApp(), {childList: true, subtree: true});
    });
}
