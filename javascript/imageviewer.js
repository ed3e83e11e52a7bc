"use strict";
// The full-screen viewer: shows the picture of the results that is selected, and turns over to the others.
{
    const BIG_PICTURE_BUTTON = ".gradio-gallery .preview .media-button";
    const BIG_PICTURE = `${BIG_PICTURE_BUTTON} img`;
    const GENERATION_TABS = ["txt2img", "img2img"];

    let modal = null;
    let lastFocused = null;

    function negmod(n, m) {
        return ((n % m) + m) % m;
    }

    function modalImage() {
        return document.getElementById("modalImage");
    }

    function isOpen() {
        return modal && modal.style.display !== "none";
    }

    /** The generation tab that is shown: "txt2img", "img2img" or undefined. */
    function currentGenerationTab() {
        const id = get_uiCurrentTabContent()?.id;
        return GENERATION_TABS.find((tab) => id === `tab_${tab}`);
    }

    /** The picture to show: with the setting for it the newest preview of a running job, else the selected one. */
    function currentSource() {
        const tab = get_uiCurrentTabContent();
        const previews = currentOpts.js_live_preview_in_modal_lightbox ? tab?.querySelectorAll(".livePreview img") : [];
        const preview = previews?.[previews.length - 1];
        return (preview ?? tab?.querySelector(BIG_PICTURE))?.src;
    }

    function setSource(source) {
        const image = modalImage();
        if (!source || image.src === source) return;
        image.src = source;
        if (modal.style.getPropertyValue("background-image")) modal.style.setProperty("background-image", `url(${source})`);
    }

    function showModal(event) {
        lastFocused = document.activeElement;
        modal.style.display = "flex";
        setSource(event.target.src ?? currentSource());
        modalZoomSet(modalImage(), currentOpts.js_modal_lightbox_initially_zoomed);
        document.getElementById("modal_save").style.display = currentGenerationTab() ? "" : "none";
        updateLivePreviewButton();
        modal.focus();
        event.preventDefault();
        event.stopPropagation();
    }

    function closeModal() {
        if (!isOpen()) return;
        modal.style.display = "none";
        modal.style.removeProperty("background-image");
        modalImage().style.display = "";
        lastFocused?.focus?.({preventScroll: true});
        document.getElementById(`${currentGenerationTab()}_generation_info_button`)?.click();
    }

    /** Keeps up with the gallery, which may have got other pictures. */
    function updateOnBackgroundChange() {
        if (isOpen()) setSource(currentSource());
    }

    /** Shows the picture that many places further, beginning anew at the ends. */
    function modalImageSwitch(offset) {
        const buttons = all_gallery_buttons();
        if (buttons.length < 2) return;
        const position = buttons.findIndex((button) => button.classList.contains("selected"));
        const button = buttons[negmod(Math.max(position, 0) + offset, buttons.length)];
        button.click();
        setSource(button.querySelector("img")?.src);
        setTimeout(() => modal.focus(), 10);
    }

    function saveImage() {
        document.getElementById(`save_${currentGenerationTab()}`)?.click();
    }

    function modalSaveImage(event) {
        saveImage();
        event.stopPropagation();
    }

    function modalNextImage(event) {
        modalImageSwitch(1);
        event.stopPropagation();
    }

    function modalPrevImage(event) {
        modalImageSwitch(-1);
        event.stopPropagation();
    }

    function modalZoomSet(image, enable) {
        image?.classList.toggle("modalImageFullscreen", Boolean(enable));
    }

    function modalZoomToggle(event) {
        const image = modalImage();
        modalZoomSet(image, !image.classList.contains("modalImageFullscreen"));
        event.stopPropagation();
    }

    /** Shows the picture repeated over the whole window, to judge how it tiles. */
    function modalTileImageToggle(event) {
        const image = modalImage();
        const isTiled = image.style.display === "none";
        image.style.display = isTiled ? "" : "none";
        if (isTiled) modal.style.removeProperty("background-image");
        else modal.style.setProperty("background-image", `url(${image.src})`);
        event.stopPropagation();
    }

    function updateLivePreviewButton() {
        const isOn = Boolean(currentOpts.js_live_preview_in_modal_lightbox);
        document.getElementById("modal_toggle_live_preview").setAttribute("aria-pressed", isOn);
    }

    function modalLivePreviewToggle(event) {
        currentOpts.js_live_preview_in_modal_lightbox = !currentOpts.js_live_preview_in_modal_lightbox;
        updateLivePreviewButton();
        updateOnBackgroundChange();
        event.stopPropagation();
    }

    /** Keeps the focus among the viewer's own buttons. */
    function moveFocus(event) {
        const buttons = Array.from(modal.querySelectorAll("button")).filter((button) => button.offsetParent);
        const position = buttons.indexOf(document.activeElement);
        const next = position < 0 && event.shiftKey ? -1 : position + (event.shiftKey ? -1 : 1);
        buttons[negmod(next, buttons.length)].focus();
    }

    /** Keys of the open viewer, wherever the focus is: the gallery takes it when another picture is chosen. */
    function modalKeyHandler(event) {
        if (!isOpen() || event.ctrlKey || event.metaKey || event.altKey) return;
        const actions = {
            s: (e) => window.modalSaveImage(e),
            ArrowLeft: modalPrevImage,
            ArrowRight: modalNextImage,
            Escape: closeModal,
            Tab: moveFocus,
        };
        if (!Object.hasOwn(actions, event.key)) return;
        actions[event.key](event);
        event.preventDefault();
        event.stopPropagation();
    }

    /** The big picture of a gallery that an event happened on. */
    function pictureOf(event) {
        return event.target.closest?.(BIG_PICTURE_BUTTON)?.querySelector("img");
    }

    /** A click on the big picture, or Enter on its button. */
    function onClick(event) {
        if (pictureOf(event) && currentOpts.js_modal_lightbox) showModal(event);
    }

    /** The middle button opens the file itself. */
    function onMouseDown(event) {
        const image = event.button === 1 && pictureOf(event);
        if (!image) return;
        window.open(image.src);
        event.preventDefault();
    }

    const BUTTONS = [
        {id: "modal_zoom", className: "modalZoom", text: "⤡", title: "Fill the window, or show the whole picture", action: modalZoomToggle},
        {id: "modal_tile_image", className: "modalTileImage", text: "⊞", title: "Show how the picture tiles", action: modalTileImageToggle},
        {id: "modal_save", className: "modalSave", text: "💾", title: "Save (s)", action: (event) => window.modalSaveImage(event)},
        {
            id: "modal_toggle_live_preview",
            className: "modalToggleLivePreview",
            text: "📺",
            title: "Show the preview of a running job",
            action: modalLivePreviewToggle,
        },
        {id: "modal_close", className: "modalClose", text: "×", title: "Close (Esc)", action: closeModal},
    ];

    function makeButton({id, className, text, title, action}) {
        const button = document.createElement("button");
        Object.assign(button, {id, className, type: "button", textContent: text, title});
        button.setAttribute("aria-label", title);
        button.addEventListener("click", action);
        return button;
    }

    function makeViewer() {
        modal = document.createElement("div");
        modal.id = "lightboxModal";
        modal.tabIndex = -1;
        modal.style.display = "none";
        modal.setAttribute("role", "dialog");
        modal.setAttribute("aria-modal", "true");
        modal.setAttribute("aria-label", "Picture viewer");
        modal.addEventListener("click", closeModal);
        document.addEventListener("keydown", modalKeyHandler, true);
        const controls = document.createElement("div");
        controls.className = "modalControls gradio-container";
        controls.append(...BUTTONS.map(makeButton));
        const image = document.createElement("img");
        image.id = "modalImage";
        image.alt = "The selected picture";
        modal.append(
            controls,
            makeButton({id: "modal_prev", className: "modalPrev", text: "❮", title: "Previous picture", action: modalPrevImage}),
            image,
            makeButton({id: "modal_next", className: "modalNext", text: "❯", title: "Next picture", action: modalNextImage}),
        );
        document.body.append(modal);
    }

    document.addEventListener("DOMContentLoaded", makeViewer);
    document.addEventListener("click", onClick, true);
    document.addEventListener("mousedown", onMouseDown, true);
    onAfterUiUpdate(updateOnBackgroundChange);

    Object.assign(window, {
        negmod, showModal, closeModal, updateOnBackgroundChange, modalImageSwitch, saveImage, modalSaveImage,
        modalNextImage, modalPrevImage, modalKeyHandler, modalZoomSet, modalZoomToggle, modalLivePreviewToggle,
        modalTileImageToggle
    });
}
