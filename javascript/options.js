"use strict";
// `opts`: the program's settings, read from the hidden field that the server writes them into.
{
    let lastText = "";

    function readOptions(text) {
        if (text !== lastText) {
            lastText = text;
            window.opts = JSON.parse(text);
        }
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

    onOptionsChanged(() => {
        const link = document.getElementById("sd_checkpoint_hash");
        const hash = opts.sd_checkpoint_hash ?? "";
        if (!link) return;
        link.textContent = hash.slice(0, 10) || "N/A";
        link.title = hash;
        link.href = hash ? `https://google.com/search?q=${hash}` : "";
    });
}
