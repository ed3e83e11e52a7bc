"use strict";
// Translates the page: texts, titles and placeholders that `window.localization` knows, of elements added later as well.
{
    const SKIPPED = "script, style, textarea, .notranslate";
    const ONLY_NUMBER = /^[.\d]+$/;
    const EMOJI = /[\p{Extended_Pictographic}\u{1F3FB}-\u{1F3FF}\u{1F9B0}-\u{1F9B3}]/u;

    /** Ids of controls whose choices are names, not words: those of models and styles. Extensions add theirs. */
    window.ignore_ids_for_localization = {
        setting_sd_hypernetwork: "OPTION",
        setting_sd_model_checkpoint: "OPTION",
        modelmerger_primary_model_name: "OPTION",
        modelmerger_secondary_model_name: "OPTION",
        modelmerger_tertiary_model_name: "OPTION",
        train_embedding: "OPTION",
        train_hypernetwork: "OPTION",
        txt2img_styles: "OPTION",
        img2img_styles: "OPTION",
        setting_random_artist_categories: "OPTION",
        setting_face_restoration_model: "OPTION",
        setting_realesrgan_enabled_models: "OPTION",
        extras_upscaler_1: "OPTION",
        extras_upscaler_2: "OPTION",
    };

    const original_lines = {};
    const translated_lines = {};

    /** Translation -> the text it stands for. */
    const originals = new Map();

    function hasLocalization() {
        return Boolean(window.localization) && Object.keys(window.localization).length > 0;
    }

    function textNodesUnder(el) {
        const nodes = [];
        const walker = document.createTreeWalker(el, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) nodes.push(walker.currentNode);
        return nodes;
    }

    function canBeTranslated(node, text) {
        if (!text || !node.parentElement || ONLY_NUMBER.test(text) || EMOJI.test(text)) return false;
        const parent = node.parentElement;
        if (parent.closest(SKIPPED)) return false;
        if (!parent.closest('[role="option"], .token, option')) return true;
        return !Object.keys(window.ignore_ids_for_localization).some((id) => parent.closest(`[id="${CSS.escape(id)}"]`));
    }

    /** The translation of a text, undefined without one. Notes what was asked for. */
    function getTranslation(text) {
        if (!text) return undefined;
        if (translated_lines[text] === undefined) original_lines[text] = 1;
        const translation = window.localization?.[text];
        if (translation !== undefined) {
            translated_lines[translation] = 1;
            originals.set(translation, text);
        }
        return translation;
    }

    /** What a text of the page was before it was translated. */
    function originalText(text) {
        return originals.get(text) ?? text;
    }

    function processTextNode(node) {
        const text = node.textContent.trim();
        if (!canBeTranslated(node, text)) return;
        const translation = getTranslation(text);
        if (translation === undefined) return;
        node.textContent = translation;
    }

    function processAttributes(element) {
        for (const name of ["title", "placeholder"]) {
            const translation = getTranslation(element.getAttribute(name));
            if (translation !== undefined) element.setAttribute(name, translation);
        }
    }

    function processNode(node) {
        if (node.nodeType === Node.TEXT_NODE) {
            processTextNode(node);
            return;
        }
        if (node.nodeType !== Node.ELEMENT_NODE) return;
        processAttributes(node);
        node.querySelectorAll("[title], [placeholder]").forEach(processAttributes);
        textNodesUnder(node).forEach(processTextNode);
    }

    function localizeWholePage() {
        processNode(gradioApp() === document ? document.documentElement : gradioApp());
    }

    /** Every text of the page with its translation, or itself where it has none. */
    function dumpTranslations() {
        if (!hasLocalization()) localizeWholePage();
        const dumped = window.localization?.rtl ? {rtl: true} : {};
        for (const text of Object.keys(original_lines)) dumped[text] ??= window.localization?.[text] ?? text;
        return dumped;
    }

    function download_localization() {
        const content = JSON.stringify(dumpTranslations(), null, 4);
        const link = document.createElement("a");
        link.href = `data:text/json;charset=utf-8,${encodeURIComponent(content)}`;
        link.download = "localization.json";
        link.click();
    }

    /** Lets the rules of style sheets for writing from right to left apply: `@media rtl { ... }`. */
    function enableRightToLeft() {
        for (const sheet of document.styleSheets) {
            try {
                for (const rule of sheet.cssRules) {
                    if (rule.media?.mediaText.includes("rtl")) rule.media.appendMedium("all");
                }
            } catch (e) {
                console.debug(`a style sheet of another origin: ${e}`);
            }
        }
    }

    document.addEventListener("DOMContentLoaded", () => {
        if (!hasLocalization()) return;
        onUiUpdate((records) => records.forEach((record) => record.addedNodes.forEach(processNode)));
        localizeWholePage();
        if (window.localization.rtl) onUiLoaded(enableRightToLeft);
    });

    Object.assign(window, {
        original_lines, translated_lines, hasLocalization, textNodesUnder, canBeTranslated, getTranslation, originalText,
        processTextNode, processNode, localizeWholePage, dumpTranslations, download_localization
    });
}
