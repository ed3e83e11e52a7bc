"use strict";
// Small things the page's events and other scripts call: values, the selected picture, tabs, settings.
{
    /** Reloads the page in the light or dark theme, unless its address names one. */
    function set_theme(theme) {
        const address = new URL(window.location.href);
        if (address.searchParams.has("__theme")) return;
        address.searchParams.set("__theme", theme);
        window.location.replace(address);
    }

    /** Tells Gradio that a script has changed the value of a field. */
    function updateInput(target) {
        target.dispatchEvent(new Event("input", {bubbles: true}));
    }

    /** The thumbnails of every gallery that is shown. */
    function all_gallery_buttons() {
        const buttons = gradioApp().querySelectorAll('[style="display: block;"].tabitem div[id$=_gallery].gradio-gallery .thumbnails > .thumbnail-item.thumbnail-small');
        const all = buttons.length ? buttons : gradioApp().querySelectorAll(".gradio-gallery .thumbnails > .thumbnail-item.thumbnail-small");
        return Array.from(all).filter((button) => button.parentElement.offsetParent);
    }

    function selected_gallery_button() {
        return all_gallery_buttons().find((button) => button.classList.contains("selected")) ?? null;
    }

    /** Position of the selected picture in the gallery of the tab that is shown, -1 without one. */
    function selected_gallery_index() {
        return all_gallery_buttons().findIndex((button) => button.classList.contains("selected"));
    }

    function gallery_container_buttons(gallery_container) {
        return gradioApp().querySelectorAll(`#${gallery_container} .thumbnail-item.thumbnail-small`);
    }

    function selected_gallery_index_id(gallery_container) {
        return Array.from(gallery_container_buttons(gallery_container)).findIndex((button) => button.classList.contains("selected"));
    }

    /** The picture of a gallery's value to send elsewhere, as a list of one: the only one, else the selected, else the first. */
    function extract_image_from_gallery(gallery) {
        if (!gallery?.length) return [null];
        const index = gallery.length === 1 ? 0 : selected_gallery_index();
        return [[gallery[index >= 0 && index < gallery.length ? index : 0]]];
    }

    /** Number of the tab that is chosen in the Tabs of that id. */
    function get_tab_index(tabId) {
        const buttons = document.getElementById(tabId)?.querySelectorAll(":scope > .tab-nav > button") ?? [];
        return Math.max(0, Array.from(buttons).findIndex((button) => button.classList.contains("selected")));
    }

    /** Inputs of an event with the number of the chosen tab in the first place. */
    function create_tab_index_args(tabId, args) {
        const values = Array.from(args);
        values[0] = get_tab_index(tabId);
        return values;
    }

    function get_img2img_tab_index(...args) {
        return create_tab_index_args("mode_img2img", args);
    }

    function showMainTab(id) {
        document.getElementById(`tab_${id}-button`)?.click();
    }

    function switch_to_txt2img(...args) {
        showMainTab("txt2img");
        return args;
    }

    /** Shows a mode of img2img by its position: img2img, sketch, inpaint, inpaint sketch, inpaint upload, batch. */
    function switch_to_img2img_tab(no) {
        showMainTab("img2img");
        document.querySelectorAll("#mode_img2img > .tab-nav > button")[no]?.click();
    }

    function switch_to_img2img(...args) {
        switch_to_img2img_tab(0);
        return args;
    }

    function switch_to_sketch(...args) {
        switch_to_img2img_tab(1);
        return args;
    }

    function switch_to_inpaint(...args) {
        switch_to_img2img_tab(2);
        return args;
    }

    function switch_to_inpaint_sketch(...args) {
        switch_to_img2img_tab(3);
        return args;
    }

    function switch_to_extras(...args) {
        showMainTab("extras");
        return args;
    }

    function confirm_clear_prompt(prompt, negative_prompt) {
        return confirm("Delete prompt?") ? ["", ""] : [prompt, negative_prompt];
    }

    /** Puts -1 into a seed field. */
    function setRandomSeed(elem_id) {
        const input = gradioApp().querySelector(`#${elem_id} input`);
        if (!input) return [];
        input.value = "-1";
        updateInput(input);
        return [];
    }

    function switchWidthHeight(tabname) {
        const [width, height] = ["width", "height"].map((name) => gradioApp().querySelector(`#${tabname}_${name} input[type=number]`));
        if (!width || !height) return [];
        [width.value, height.value] = [height.value, width.value];
        updateInput(width);
        updateInput(height);
        return [];
    }

    /** Has a checkpoint loaded that was chosen outside of the checkpoint menu. */
    function selectCheckpoint(name) {
        window.desiredCheckpointName = name;
        gradioApp().getElementById("change_checkpoint").click();
    }

    function takeDesiredCheckpointName() {
        const name = window.desiredCheckpointName;
        window.desiredCheckpointName = null;
        return name;
    }

    /** Calls func once the user has paused typing into a field for afterMs; returns the function that does it at once. */
    function onEdit(editId, elem, afterMs, func) {
        const edited = () => {
            clearTimeout(window.onEditTimers[editId]);
            window.onEditTimers[editId] = setTimeout(func, afterMs);
        };
        elem.addEventListener("input", edited);
        return edited;
    }

    /** Waits for the server to come back, then loads the page anew. */
    function restart_reload() {
        document.body.style.backgroundColor = "var(--background-fill-primary)";
        document.body.innerHTML = '<h1 class="restarting">Reloading...</h1>';
        const ask = () => requestGet("./internal/ping", {}, () => location.reload(), () => setTimeout(ask, 500));
        setTimeout(ask, 2000);
        return [];
    }

    window.desiredCheckpointName = null;
    window.onEditTimers = {};
    Object.assign(window, {
        set_theme, updateInput, all_gallery_buttons, selected_gallery_button, selected_gallery_index,
        gallery_container_buttons, selected_gallery_index_id, extract_image_from_gallery, get_tab_index,
        create_tab_index_args, get_img2img_tab_index, switch_to_txt2img, switch_to_img2img_tab, switch_to_img2img,
        switch_to_sketch, switch_to_inpaint, switch_to_inpaint_sketch, switch_to_extras, confirm_clear_prompt,
        setRandomSeed, switchWidthHeight, selectCheckpoint, takeDesiredCheckpointName, onEdit, restart_reload
    });
}
