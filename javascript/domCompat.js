"use strict";
// Gives the page's elements the places that scripts and style sheets written for older versions look for them, and roles
// where Gradio has left them out.
{
    /** The elements that a selector finds in some parts of the page, those parts included. */
    function* found(roots, selector) {
        for (const root of roots) {
            if (root !== document && root.matches(selector)) yield root;
            yield* root.querySelectorAll(selector);
        }
    }

    /** `.tabs > .tab-nav`: Gradio keeps the row of tab buttons one level further down. */
    function liftTabButtons(roots) {
        for (const list of found(roots, ".tabs > .tab-wrapper > .tab-container[role=tablist]")) {
            const wrapper = list.parentElement;
            const tabs = wrapper.parentElement;
            list.classList.add("tab-nav");
            wrapper.classList.add("tab-wrapper-empty");
            tabs.insertBefore(list, tabs.firstChild);
        }
    }

    /** `display: block` is how scripts tell the tab that is shown. Gradio makes it `flex`, which looks the same. */
    function showAsBlock(tab) {
        if (tab.style.display === "flex") tab.style.display = "block";
    }

    const knownTabs = new WeakSet();
    const tabObserver = new MutationObserver((records) => records.forEach(({target}) => showAsBlock(target)));

    function showTabsAsBlocks(roots) {
        for (const tab of found(roots, ".tabitem")) {
            if (knownTabs.has(tab)) continue;
            knownTabs.add(tab);
            tabObserver.observe(tab, {attributes: true, attributeFilter: ["style"]});
            showAsBlock(tab);
        }
    }

    /** `label > textarea`: Gradio puts a container between them. */
    function liftTextFields(roots) {
        for (const field of found(roots, ".gradio-textbox > label > .input-container > :is(textarea, input)")) {
            field.parentElement.before(field);
        }
    }

    /** The text of a tab's button ended with a space, and scripts that look for a tab compare the whole of it. */
    function endTabNamesWithASpace(roots) {
        for (const button of found(roots, ".tabs > .tab-nav > button[role=tab]")) {
            if (!/\s$/.test(button.textContent)) button.append(" ");
        }
    }

    /** The button that empties an image was named "Clear", and the list of a menu had the class "options". */
    function keepOldNames(roots) {
        for (const button of found(roots, '.image-container button[aria-label="Remove Image"]')) {
            button.setAttribute("aria-label", "Clear");
        }
        for (const list of found(roots, "ul.option-list:not(.options)")) list.classList.add("options");
    }

    /** The sign that Gradio shows for an empty gallery is named, which only something with a role can be. */
    function giveEmptySignsARole(roots) {
        for (const sign of found(roots, ".empty[aria-label]:not([role])")) sign.setAttribute("role", "img");
    }

    /** A menu whose label is not shown says in its field what it is for, as text fields can. */
    function giveMenusAPlaceholder(roots) {
        const selector = ".gradio-dropdown span.sr-only[data-testid=block-info] ~ .wrap input[role=combobox]:not([placeholder])";
        for (const input of found(roots, selector)) input.placeholder = input.getAttribute("aria-label") ?? "";
    }

    const ADAPTATIONS = [
        liftTabButtons, endTabNamesWithASpace, showTabsAsBlocks, liftTextFields, keepOldNames, giveEmptySignsARole,
        giveMenusAPlaceholder,
    ];

    /** The parts of the page that some changes were made in, each once and none inside another; without changes, all. */
    function changedParts(records) {
        if (!records) return [document];
        const changed = new Set(records.map(({target}) => target));
        return [...changed].filter((part) => {
            for (let outer = part.parentNode; outer; outer = outer.parentNode) if (changed.has(outer)) return false;
            return part.isConnected;
        });
    }

    /**
     * Adapts what a MutationObserver has seen to change, without records the whole page. While a page is being made there
     * are hundreds of changes, and it has thousands of elements.
     */
    function adaptDom(records = null) {
        const roots = changedParts(records);
        for (const adapt of ADAPTATIONS) adapt(roots);
    }

    /** The elements that a selector finds where some changes were made: what a callback of onUiUpdate has to look at. */
    function changedElements(records, selector) {
        return [...found(changedParts(records), selector)];
    }

    Object.assign(window, {adaptDom, changedElements});
}
