"use strict";
// The Settings tab: search, all pages at once, and the comments beside the settings' labels.
{
    const SEARCH_DELAY_MS = 250;

    /** Pages that are not lists of settings, by their content's id. */
    const settingsExcludeTabsFromShowAll = {
        settings_tab_defaults: 1,
        settings_tab_sysinfo: 1,
        settings_tab_actions: 1,
        settings_tab_licenses: 1,
    };

    function pages() {
        return gradioApp().querySelectorAll("#settings > .tabitem");
    }

    function setShowAll(isShown) {
        gradioApp().getElementById("settings_show_all_pages").style.setProperty("display", isShown ? "none" : "", "important");
        gradioApp().getElementById("settings_show_one_page").style.setProperty("display", isShown ? "flex" : "none", "important");
    }

    async function settingsShowAllTabs() {
        await wholePage();
        for (const page of pages()) {
            if (!settingsExcludeTabsFromShowAll[page.id]) page.style.display = "block";
        }
        setShowAll(true);
    }

    /** Shows the page whose button is chosen; by its place, as two sections of settings may have one id. */
    function settingsShowOneTab() {
        const buttons = [...gradioApp().querySelectorAll("#settings .tab-nav > button[role=tab]")];
        const chosen = buttons.findIndex((button) => button.classList.contains("selected"));
        pages().forEach((page, i) => page.style.setProperty("display", i === chosen ? "block" : "none"));
        setShowAll(false);
    }

    /** The rows of a page: what stands beside each other and is hidden or shown together. */
    function rows() {
        return gradioApp().querySelectorAll("#settings [id^=column_settings_] > .form > *, #settings [id^=column_settings_] > :not(.form)");
    }

    /** What a row is found by: what it says, and the names of its settings in files and the API. */
    function termsOf(row) {
        const ids = [row, ...row.querySelectorAll("[id^=setting_]")].map((element) => element.id.replace(/^setting_/, ""));
        return [row.textContent, ...ids].join("\n").toLowerCase();
    }

    async function search(text) {
        if (text.trim()) await wholePage();
        const wanted = text.trim().toLowerCase();
        for (const row of rows()) row.classList.toggle("settings-not-found", !termsOf(row).includes(wanted));
        if (wanted) settingsShowAllTabs();
        else settingsShowOneTab();
    }

    /** Puts the search field above the list of pages and the buttons below it. */
    function moveControls(nav) {
        const sidebar = document.createElement("div");
        sidebar.id = "settings_sidebar";
        nav.before(sidebar);
        const field = gradioApp().getElementById("settings_search");
        const buttons = ["settings_show_all_pages", "settings_show_one_page"].map((id) => gradioApp().getElementById(id));
        sidebar.append(field, nav, ...buttons);
        const input = field.querySelector("input, textarea");
        onEdit("settingsSearch", input, SEARCH_DELAY_MS, () => search(input.value));
        if (input.value) search(input.value); // typed before
        nav.addEventListener("click", (event) => event.target.closest("[role=tab]") && setTimeout(settingsShowOneTab));
    }

    function addCategoryHeadings(nav) {
        const buttons = [...nav.querySelectorAll("[role=tab]")];
        for (const [sectionTitle, category] of currentOpts._categories) {
            const button = buttons.find((candidate) => candidate.textContent.trim() === sectionTitle);
            if (!button) continue;
            const heading = document.createElement("span");
            heading.className = "settings-category";
            heading.textContent = window.getTranslation?.(category) || category;
            nav.insertBefore(heading, button);
        }
    }

    function commentElement(html, place) {
        const comment = document.createElement("span");
        comment.className = `settings-comment settings-comment-${place}`;
        comment.innerHTML = html;
        return comment;
    }

    /** Adds what the settings' definitions say around their labels: links before, explanations after. */
    function addComments(elements) {
        for (const element of elements) {
            const key = element.id.replace(/^setting_/, "");
            const label = element.querySelector("span[data-testid=block-info], .label-text");
            if (!label || label.querySelector(".settings-comment")) continue;
            const [before, after] = [currentOpts._comments_before?.[key], currentOpts._comments_after?.[key]];
            if (before) label.prepend(commentElement(before, "before"));
            if (after) label.append(commentElement(after, "after"));
        }
    }

    onUiUpdate((records) => addComments(changedElements(records, "[id^=setting_]")));

    onUiLoaded(() => onOptionsAvailable(() => {
        const nav = gradioApp().querySelector("#settings .tab-nav");
        moveControls(nav);
        addCategoryHeadings(nav);
    }));

    Object.assign(window, {settingsExcludeTabsFromShowAll, settingsShowAllTabs, settingsShowOneTab});
}
