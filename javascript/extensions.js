"use strict";
// The Extensions tab: what its table and lists send, and what went wrong in the scripts of extensions on this page.
{
    const element = (id) => gradioApp().getElementById(id);

    /** Names of the extensions whose box of a kind ("enable_", "update_") is ticked, or is not. */
    function namesOf(kind, isTicked) {
        const boxes = gradioApp().querySelectorAll(`#extensions input[name^="${kind}"]`);
        return [...boxes].filter((box) => box.checked === isTicked).map((box) => box.name.slice(kind.length));
    }

    function extensions_apply(_disabled_list, _update_list, disable_all) {
        return [JSON.stringify(namesOf("enable_", false)), JSON.stringify(namesOf("update_", true)), disable_all];
    }

    function extensions_check() {
        const id = randomId();
        for (const status of gradioApp().querySelectorAll("#extensions .extension_status")) {
            if (status.textContent.trim()) status.textContent = "Loading...";
        }
        requestProgress(id, element("extensions_installed_html"), null, () => {});
        return [id, JSON.stringify(namesOf("enable_", false))];
    }

    /** Writes into a hidden field and presses a hidden button. */
    function send(fieldId, text, buttonId) {
        const field = element(fieldId).querySelector("textarea, input");
        field.value = text;
        updateInput(field);
        element(buttonId).click();
    }

    function install_extension_from_index(button, url) {
        button.disabled = true;
        button.textContent = "Installing...";
        send("extension_to_install", url, "install_extension_button");
    }

    function check_extension(button) {
        send("extension_to_check", button.dataset.request, "check_extension_button");
    }

    function config_state_confirm_restore(_, config_state_name, config_restore_type) {
        if (config_state_name === "Current") return [false, config_state_name, config_restore_type];
        const what = {
            extensions: "all extensions are moved to the commits of this state, and those it does not have are disabled",
            webui: "the program itself is moved to the commit of this state",
            both: "the program itself and all extensions are moved to the commits of this state",
        }[config_restore_type];
        const confirmed = confirm(`Restore "${config_state_name}"? Then ${what}. Changes of files in them are lost.`);
        return [confirmed, config_state_name, config_restore_type];
    }

    function toggle_all_extensions(event) {
        for (const box of gradioApp().querySelectorAll('#extensions .extension_toggle')) box.checked = event.target.checked;
    }

    function toggle_extension() {
        const boxes = [...gradioApp().querySelectorAll('#extensions .extension_toggle')];
        gradioApp().querySelector("#extensions .all_extensions_toggle").checked = boxes.every((box) => box.checked);
    }

    /** What the scripts of extensions have thrown: file -> messages. */
    const thrown = new Map();

    /** The file of an extension that an address of a script names, if it is one's. */
    function fileOf(address) {
        const path = decodeURIComponent(new URL(address, location.href).pathname);
        return path.match(/file=(.*\/)?(extensions(?:-builtin)?\/[^?]*)/)?.[2];
    }

    /** Shows what was thrown below the table of extensions. */
    function showThrown() {
        const place = element("extensions_page_errors");
        if (!place) return;
        place.replaceChildren(...[...thrown].map(([where, message]) => {
            const line = document.createElement("p");
            line.className = "extension-error";
            line.textContent = `${where}: ${message}`;
            return line;
        }));
    }

    /** Remembers what was thrown at a line of a script, if that is an extension's. */
    function remember(address, line, message) {
        const file = address && fileOf(address);
        if (!file || thrown.get(`${file}, line ${line}`) === message) return;
        thrown.set(`${file}, line ${line}`, message);
        showThrown();
    }

    /** Remembers an error that a callback or a promise has ended with: its innermost line in a file of an extension. */
    function rememberError(error) {
        const places = String(error?.stack).matchAll(/(https?:[^\s()]+?):(\d+):\d+/g);
        const [, address, line] = [...places].find((place) => fileOf(place[1])) ?? [];
        remember(address, line, String(error));
    }

    window.addEventListener("error", (event) => remember(event.filename, event.lineno, event.message));
    window.addEventListener("unhandledrejection", (event) => rememberError(event.reason));
    window.addEventListener("callbackerror", (event) => rememberError(event.detail));
    onElements(["extensions_page_errors"], showThrown);

    Object.assign(window, {
        extensions_apply, extensions_check, install_extension_from_index, check_extension,
        config_state_confirm_restore, toggle_all_extensions, toggle_extension
    });
}
