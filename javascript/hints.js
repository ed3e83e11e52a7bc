"use strict";
// Tooltips: those components bring along, and a table of texts for what has none.
{
    const DELAY_MS = 1000;

    /** What an element is called (its text, value or class) -> its tooltip. Extensions add theirs. */
    window.titles = {
        "Sampling steps": "How often the picture is improved; more steps take longer",
        "Sampling method": "Which algorithm turns noise into the picture",
        "Schedule type": "How the noise levels are spread over the steps",
        "CFG Scale": "How strongly the picture follows the prompt; lower values leave it more freedom",
        "Seed": "What the noise is made from: the same seed and settings give the same picture",
        "Batch count": "How many batches to make, one after the other",
        "Batch size": "How many pictures to make at once; needs more memory",
        "Hires. fix": "Make the picture small first, then enlarge it and add detail",
        "Denoising strength": "How much of the picture may change: 0 nothing, 1 everything",
        "Variation strength": "How far to go from the seed's picture towards that of the variation seed",
        "Resize seed from width": "Make a picture similar to one of this width and the same seed",
        "Resize seed from height": "Make a picture similar to one of this height and the same seed",
        "Extra": "Variations of a seed",
        "Clip skip": "Stop the text encoder before its last layers",
        "Upscale by": "How much larger the hires pass makes the picture",
        "Hires steps": "Steps of the hires pass; 0: as many as in the first",
        "Just resize": "Stretch the picture to the new size",
        "Crop and resize": "Fill the new size, cutting off what does not fit",
        "Resize and fill": "Keep all of the picture, filling empty space with its colours",
        "Mask blur": "How soft the edge of the mask is, in pixels",
        "Masked content": "What to start from under the mask",
        "Only masked padding, pixels": "How much around the mask is looked at when only the masked part is drawn",
        "Whole picture": "Draw the whole picture, then keep only what the mask covers",
        "Only masked": "Draw only the masked part, at the full size, and put it back",
        "Generate forever": "Generate until cancelled",
    };

    const tooltipsById = new Map();
    let pending = new Set();
    let timer = null;

    function readComponentTooltips() {
        for (const {props} of window.gradio_config?.components ?? []) {
            if (props.webui_tooltip && props.elem_id) tooltipsById.set(props.elem_id, props.webui_tooltip);
        }
    }

    /** Gives an element the tooltip of its text, value or class; buttons without words get it as their name, too. */
    function updateTooltip(element) {
        if (element.title) return;
        const own = tooltipsById.get(element.id);
        const text = originalText(element.textContent?.trim());
        const named = window.titles[text] ?? window.titles[element.value] ?? window.titles[element.dataset?.value];
        const tooltip = own ?? named ?? [...element.classList].map((name) => window.titles[name]).find(Boolean);
        if (!tooltip) return;
        element.title = getTranslation(tooltip) || tooltip;
        if (own && element.tagName === "BUTTON") element.setAttribute("aria-label", element.title);
    }

    function processTooltipCheckNodes() {
        for (const node of pending) {
            for (const element of [node, ...node.querySelectorAll("span, button, select, p, label")]) {
                if (element.matches("span, button, select, p, label, [id]")) updateTooltip(element);
            }
        }
        pending = new Set();
        timer = null;
    }

    onUiUpdate((mutations) => {
        for (const {addedNodes} of mutations) {
            for (const node of addedNodes) {
                if (node.nodeType === Node.ELEMENT_NODE && !node.classList.contains("livePreview")) pending.add(node);
            }
        }
        if (pending.size && !timer) timer = setTimeout(processTooltipCheckNodes, DELAY_MS);
    });

    document.addEventListener("DOMContentLoaded", readComponentTooltips);

    Object.assign(window, {updateTooltip, processTooltipCheckNodes});
}
