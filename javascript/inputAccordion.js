"use strict";
// Accordions that are a value: a checkbox in the header that follows the hidden one which the server knows.
{
    function element(id, part) {
        return document.getElementById(`${id}-${part}`);
    }

    /** Ticks an accordion, or not: shows it in the header, opens it, tells the server. */
    function inputAccordionChecked(id, checked) {
        const accordion = document.getElementById(id);
        accordion?.visibleCheckbox && (accordion.visibleCheckbox.checked = checked);
        accordion?.onVisibleCheckboxChange?.();
    }

    function setChecked(input, checked) {
        if (input.checked === checked) return;
        input.checked = checked;
        input.dispatchEvent(new Event("change", {bubbles: true}));
    }

    function createCheckbox(accordion, title, checked) {
        const checkbox = document.createElement("input");
        checkbox.type = "checkbox";
        checkbox.checked = checked;
        checkbox.id = `${accordion.id}-visible-checkbox`;
        checkbox.className = "input-accordion-checkbox";
        checkbox.setAttribute("aria-label", title);
        return checkbox;
    }

    /** Links header, visible and hidden checkbox. Once the visible one has been clicked it no longer opens or closes. */
    function setupAccordion(accordion) {
        const header = accordion.querySelector(":scope > .label-wrap");
        const hidden = gradioApp().querySelector(`#${accordion.id}-checkbox input`);
        if (!header || !hidden || accordion.visibleCheckbox) return;
        const title = header.querySelector("span");
        const checkbox = createCheckbox(accordion, title.textContent, hidden.checked);
        let isLinked = true;
        const isOpen = () => header.classList.contains("open");

        accordion.visibleCheckbox = checkbox;
        accordion.classList.add("input-accordion-ready");
        accordion.onVisibleCheckboxChange = () => {
            if (isLinked && isOpen() !== checkbox.checked) header.click();
            setChecked(hidden, checkbox.checked);
        };
        header.setAttribute("role", "group"); // a button must not have a checkbox in it
        header.setAttribute("aria-label", title.textContent);
        header.insertBefore(checkbox, title);
        checkbox.addEventListener("click", (event) => {
            event.stopPropagation();
            if (isLinked && isOpen() !== checkbox.checked) header.click();
            isLinked = false;
            setChecked(hidden, checkbox.checked);
        });
        new MutationObserver(() => {
            accordion.classList.toggle("input-accordion-open", isOpen());
            if (!isLinked) return;
            checkbox.checked = isOpen();
            setChecked(hidden, checkbox.checked);
        }).observe(header, {attributes: true, attributeFilter: ["class"]});

        const extra = element(accordion.id, "extra");
        if (extra) header.insertBefore(extra, title.nextSibling);
        accordion.classList.toggle("input-accordion-open", isOpen());
    }

    /** Accordions whose header or hidden checkbox is not there yet. */
    const unfinished = new Set();

    onUiUpdate((records) => {
        for (const accordion of changedElements(records, ".input-accordion:not(.input-accordion-ready)")) unfinished.add(accordion);
        for (const accordion of unfinished) {
            setupAccordion(accordion);
            if (accordion.visibleCheckbox || !accordion.isConnected) unfinished.delete(accordion);
        }
    });

    Object.assign(window, {inputAccordionChecked, setupAccordion});
}
