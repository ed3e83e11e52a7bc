"use strict";
// The program's settings. They are in the page when it is served, as `currentOpts`, and in `opts` once all tabs are there: for
// scripts of extensions that is the sign to begin. The server writes changed ones into a hidden field.
{
    let lastText = "";

    function readOptions(text) {
        if (text !== lastText) {
            lastText = text;
            window.currentOpts = JSON.parse(text);
        }
        if (window.executedOnLoaded) tellOptions();
    }

    function tellOptions() {
        window.opts = window.currentOpts;
        window.executedOnOptions = true;
        executeCallbacks(window.optionsAvailableCallbacks.splice(0));
        executeCallbacks(window.optionsChangedCallbacks);
    }

    /** Watches the field: Gradio writes to its value, which no event tells. */
    function watchField(textarea) {
        const property = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value");
        Object.defineProperty(textarea, "value", {
            get() {
                return property.get.call(textarea);
            },
            set(text) {
                property.set.call(textarea, text);
                if (text) readOptions(text);
            },
        });
        if (textarea.value) readOptions(textarea.value);
    }

    let isWatching = false;
    onUiUpdate(() => {
        if (isWatching) return;
        const textarea = gradioApp().querySelector("#settings_json textarea");
        if (!textarea) return;
        isWatching = true;
        watchField(textarea);
    });
    onUiLoaded(() => {
        if (isWatching) tellOptions();
    });
}
