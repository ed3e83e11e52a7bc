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
    const COMPLETE_TIMEOUT_MS = 60000;
    const IDLE_TIMEOUT_MS = 300;
    const WHOLE_TIMEOUT_MS = 5000;

    /** Ids of elements that exist once every tab has been built. */
    let expectedIds = [];

    /** The same for what comes later. */
    const laterIds = [];

    /** Number of load events that have not been answered. */
    let waiting = 0;

    let lastTurn = Promise.resolve();

    /** What waits for elements of these ids: {ids, callback}. */
    let awaited = [];

    let app = null;

    /** The element that holds the page: the root of element lookups. */
    function gradioApp() {
        if (!app?.isConnected) {
            app = document.querySelector("gradio-app");
            if (!app) return document;
            app.getElementById = (id) => document.getElementById(id);
        }
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

    /** Runs callback() once, when all tabs are in the page but for what comes later, see wholePage. */
    function onUiLoaded(callback) {
        callbacks.uiLoadedCallbacks.push(callback);
    }

    /** Runs callback() when another main tab is shown; `uiCurrentTab` is its button. */
    function onUiTabChange(callback) {
        callbacks.uiTabChangeCallbacks.push(callback);
    }

    /** Runs callback() whenever the settings in `opts` may have changed, first when they are there. */
    function onOptionsChanged(callback) {
        callbacks.optionsChangedCallbacks.push(callback);
    }

    function answerAwaited() {
        const elements = new Map();
        const find = (id) => elements.get(id) ?? elements.set(id, document.getElementById(id)).get(id);
        const isReady = ({ids}) => ids.every(find);
        const ready = awaited.filter(isReady);
        awaited = awaited.filter((waiting) => !ready.includes(waiting));
        executeCallbacks(ready.map(({ids, callback}) => () => callback(...ids.map(find))));
    }

    /**
     * Runs callback(...elements) once, as soon as the elements of these ids are in the page. On a slow machine that is
     * long before onUiLoaded: the first tab can be used while the others are being made.
     */
    function onElements(ids, callback) {
        awaited.push({ids, callback});
        answerAwaited();
    }

    /** Runs callback() as soon as both `opts` and the tab of the settings are there. */
    function onOptionsAvailable(callback) {
        if (window.executedOnOptions) {
            callback();
            return;
        }
        callbacks.optionsAvailableCallbacks.push(callback);
    }

    /** Function -> the last error it has thrown: some are called hundreds of times. */
    const failed = new Map();

    /** Calls every function of a list; one that throws doesn't keep the others from running. */
    function executeCallbacks(queue, arg) {
        for (const callback of queue) {
            try {
                callback(arg);
            } catch (e) {
                if (failed.get(callback) === String(e)) continue;
                failed.set(callback, String(e));
                console.error("error running callback", callback, ":", e);
                window.dispatchEvent(new CustomEvent("callbackerror", {detail: e}));
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

    /** Resolves when the browser has time, so that the page answers to the user between two pieces of work. */
    function idle() {
        return new Promise((resolve) => {
            if (window.requestIdleCallback) window.requestIdleCallback(resolve, {timeout: IDLE_TIMEOUT_MS});
            else setTimeout(resolve, IDLE_TIMEOUT_MS);
        });
    }

    /** The updates that show so many blocks. */
    function shown(count) {
        return Array.from({length: count}, () => ({__type__: "update", visible: true}));
    }

    /**
     * Answers one of Gradio's load events, which all come at once: shows `count` blocks that Gradio has held back, after
     * those of the events before it. `ids` are elements that exist once they are there.
     */
    async function revealBlocks(count, ids) {
        expectedIds.push(...ids);
        waiting += 1;
        lastTurn = lastTurn.then(() => new Promise((resolve) => setTimeout(resolve))).then(idle);
        await lastTurn;
        waiting -= 1;
        if (waiting === 0) awaitLastBlocks(performance.now() + COMPLETE_TIMEOUT_MS);
        return shown(count);
    }

    let hurry = null;

    const hurried = new Promise((resolve) => {
        hurry = resolve;
    });

    /** Resolves when the browser has nothing else to do. */
    function spareTime() {
        return new Promise((resolve) => {
            if (window.requestIdleCallback) window.requestIdleCallback(resolve);
            else setTimeout(resolve, IDLE_TIMEOUT_MS);
        });
    }

    /** The same for blocks that come after the onUiLoaded callbacks: in spare time, or when somebody needs them. */
    async function revealLater(count, ids) {
        laterIds.push(...ids);
        lastLaterTurn = lastLaterTurn.then(() => Promise.race([spareTime(), hurried]));
        await lastLaterTurn;
        return shown(count);
    }

    /** Resolves when all of the page is there, which it hurries: to be awaited by what looks through all of it. */
    async function wholePage() {
        hurry();
        await loaded;
        await new Promise((resolve) => {
            onElements(laterIds, resolve);
            setTimeout(resolve, WHOLE_TIMEOUT_MS);
        });
    }

    let reportLoaded = null;

    const loaded = new Promise((resolve) => {
        reportLoaded = resolve;
    });

    let lastLaterTurn = loaded;

    /**
     * Resolves when the onUiLoaded callbacks have run: what the server fills into the page comes after them, as their
     * watchers expect. To be the `js` of an event without inputs.
     */
    function whenUiLoaded() {
        return loaded;
    }

    /** Runs the onUiLoaded callbacks as soon as all expected elements are there, at the latest at `deadline`. */
    function awaitLastBlocks(deadline) {
        expectedIds = expectedIds.filter((id) => !document.getElementById(id));
        if (expectedIds.length && performance.now() < deadline) {
            setTimeout(() => awaitLastBlocks(deadline), 20);
            return;
        }
        window.adaptDom();
        window.opts = window.currentOpts;
        window.executedOnLoaded = true;
        executeCallbacks(callbacks.uiLoadedCallbacks);
        reportLoaded([]);
    }

    function onMutations(records) {
        window.adaptDom(records);
        answerAwaited();
        executeCallbacks(callbacks.uiUpdateCallbacks, records);
        scheduleAfterUiUpdateCallbacks();
        noteTabChange();
    }

    const tabObserver = new MutationObserver(noteTabChange);
    let observedTabs = null;

    /** Runs the callbacks for another tab once its content is shown too. Choosing one changes classes, no elements. */
    function noteTabChange() {
        const tab = get_uiCurrentTab();
        if (!tab || !get_uiCurrentTabContent()) return;
        if (tab.parentElement !== observedTabs) {
            observedTabs = tab.parentElement;
            tabObserver.observe(observedTabs, {attributes: true, attributeFilter: ["class"], subtree: true});
        }
        if (tab === window.uiCurrentTab) return;
        window.uiCurrentTab = tab;
        executeCallbacks(callbacks.uiTabChangeCallbacks);
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

    window.currentOpts ??= {};
    window.opts = {};
    window.uiCurrentTab = null;
    window.executedOnLoaded = false;
    window.executedOnOptions = false;
    window.uiAfterUpdateTimeout = null;
    Object.assign(window, callbacks);
    Object.assign(window, {
        gradioApp, get_uiCurrentTab, get_uiCurrentTabContent,
        onUiUpdate, onAfterUiUpdate, onUiLoaded, onElements, onUiTabChange, onOptionsChanged, onOptionsAvailable,
        executeCallbacks, scheduleAfterUiUpdateCallbacks, revealBlocks, revealLater, wholePage, whenUiLoaded, uiElementIsVisible, uiElementInSight
    });

    document.addEventListener("DOMContentLoaded", () => {
        new MutationObserver(onMutations).observe(gradioApp(), {childList: true, subtree: true});
    });
}
