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

    /** `label > textarea`: Gradio puts a container between them. */
    function liftTextFields() {
        const selector = ".gradio-textbox > label > .input-container > :is(textarea, input)";
        for (const field of document.querySelectorAll(selector)) {
            field.parentElement.before(field);
        }
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
        liftTextFields();
        giveEmptySignsARole();
        giveMenusAPlaceholder();
    }

    Object.assign(window, {adaptDom});
}
