"use strict";
// Gives the page's elements the places that scripts and style sheets written for older versions look for them, and roles
// where Gradio has left them out.
{
    /** `.tabs > .tab-nav`: Gradio keeps the row of tab buttons one level further down. */
    function liftTabButtons() {
        for (const list of document.querySelectorAll(".tabs > .tab-wrapper > .tab-container[role=tablist]")) {
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

    function showTabsAsBlocks() {
        for (const tab of document.getElementsByClassName("tabitem")) {
            if (knownTabs.has(tab)) continue;
            knownTabs.add(tab);
            tabObserver.observe(tab, {attributes: true, attributeFilter: ["style"]});
            showAsBlock(tab);
        }
    }

    /** `label > textarea`: Gradio puts a container between them. */
    function liftTextFields() {
        const selector = ".gradio-textbox > label > .input-container > :is(textarea, input)";
        for (const field of document.querySelectorAll(selector)) {
            field.parentElement.before(field);
        }
    }

    /** The text of a tab's button ended with a space, and scripts that look for a tab compare the whole of it. */
    function endTabNamesWithASpace() {
        for (const button of document.querySelectorAll(".tabs > .tab-nav > button[role=tab]")) {
            if (!/\s$/.test(button.textContent)) button.append(" ");
        }
    }

    /** The button that empties an image was named "Clear", and the list of a menu had the class "options". */
    function keepOldNames() {
        for (const button of document.querySelectorAll('.image-container button[aria-label="Remove Image"]')) {
            button.setAttribute("aria-label", "Clear");
        }
        for (const list of document.querySelectorAll("ul.option-list:not(.options)")) list.classList.add("options");
    }

    /** The sign that Gradio shows for an empty gallery is named, which only something with a role can be. */
    function giveEmptySignsARole() {
        for (const sign of document.querySelectorAll(".empty[aria-label]:not([role])")) sign.setAttribute("role", "img");
    }

    /** A menu whose label is not shown says in its field what it is for, as text fields can. */
    function giveMenusAPlaceholder() {
        const selector = ".gradio-dropdown span.sr-only[data-testid=block-info] ~ .wrap input[role=combobox]:not([placeholder])";
        for (const input of document.querySelectorAll(selector)) input.placeholder = input.getAttribute("aria-label") ?? "";
    }

    function adaptDom() {
        liftTabButtons();
        endTabNamesWithASpace();
        showTabsAsBlocks();
        liftTextFields();
        keepOldNames();
        giveEmptySignsARole();
        giveMenusAPlaceholder();
    }

    Object.assign(window, {adaptDom});
}
