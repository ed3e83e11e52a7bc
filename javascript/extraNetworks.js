"use strict";
// The tabs of extra networks: which one is shown, where its controls and the prompts stand, refreshing it.
{
    const element = (id) => document.getElementById(id);

    /** Adds or removes a style sheet of that key. */
    function toggleCss(key, css, enable) {
        let style = element(key);
        if (enable && !style) {
            style = document.createElement("style");
            style.id = key;
            document.head.append(style);
        }
        if (style) style.textContent = enable ? css : "";
    }

    /** The place beside a tab's row of tab buttons where the controls of its pages stand. */
    function controlsPlace(tabname) {
        const tabs = element(`${tabname}_extra_tabs`);
        let place = tabs?.querySelector(":scope > .extra-networks-controls-div");
        const row = tabs?.querySelector(":scope > .tab-nav");
        if (!place && row) {
            place = document.createElement("div");
            place.className = "extra-networks-controls-div";
            row.after(place);
        }
        return place;
    }

    /** Takes up panes that came or came anew: their controls move to the tab buttons, search and order apply again. */
    function setupExtraNetworksForTab(tabname) {
        const place = controlsPlace(tabname);
        if (!place) return;
        const isInPlace = (controls) => controls.parentElement === place;
        for (const pane of element(`${tabname}_extra_tabs`).querySelectorAll(".extra-network-pane")) {
            const tabnameFull = pane.id.replace(/_pane$/, "");
            const controls = pane.querySelector(".extra-network-control");
            if (controls) {
                if ([...place.children].some((other) => other.id === controls.id)) controls.remove();
                else place.append(controls);
            }
            window.extraNetworksApplyFilter[tabnameFull] = () => applyExtraNetworkFilter(tabnameFull);
            window.extraNetworksApplySort[tabnameFull] = () => applyExtraNetworkSort(tabnameFull);
            applyExtraNetworkSort(tabnameFull);
            applyExtraNetworkFilter(tabnameFull);
            showFolders(tabnameFull);
        }
        for (const search of place.querySelectorAll("input[type=search]:not([data-connected])")) {
            search.dataset.connected = "true";
            search.addEventListener("input", () => filterPages([...place.children].filter(isInPlace)));
        }
        extraNetworksShowControlsForPage(tabname, selectedPage(tabname));
        for (const id of [`${tabname}_prompt`, `${tabname}_neg_prompt`]) extraNetworksRegisterPromptForTab(tabname, id);
    }

    /** Filters all pages of a tab, each by its own search. */
    function filterPages(controls) {
        for (const control of controls) applyExtraNetworkFilter(control.id.replace(/_controls$/, ""));
    }

    /** Id of the chosen page of a tab, null while Generation is shown. */
    function selectedPage(tabname) {
        const button = element(`${tabname}_extra_tabs`)?.querySelector(":scope > .tab-nav > button.selected");
        const id = button?.id.replace(/-button$/, "");
        return element(`${id}_pane`) ? id : null;
    }

    /** Has cards write into a prompt of a tab when it is the one that was used last. */
    function extraNetworksRegisterPromptForTab(tabname, id) {
        const textarea = document.querySelector(`#${id} textarea`);
        if (!textarea || textarea.dataset.remembered) return;
        textarea.dataset.remembered = "true";
        window.activePromptTextarea[tabname] ??= textarea;
        textarea.addEventListener("focus", () => (window.activePromptTextarea[tabname] = textarea));
    }

    /** Puts the rows of the prompts before everything in a page's tab, or without a page back into their container. */
    function extraNetworksMovePromptToTab(tabname, id, showPrompt, showNegativePrompt) {
        if (!gradioApp().querySelector(".toprow-compact-tools")) return;
        const rows = [[`${tabname}_prompt_row`, showPrompt], [`${tabname}_neg_prompt_row`, showNegativePrompt]];
        const container = element(`${tabname}_prompt_container`);
        for (const [row, show] of rows) {
            const place = id && show ? element(id) : container;
            if (element(row) && place) place.append(element(row));
        }
        element(id)?.classList.toggle("extra-page-prompts-active", showPrompt || showNegativePrompt);
    }

    function extraNetworksShowControlsForPage(tabname, tabname_full) {
        for (const controls of controlsPlace(tabname)?.children ?? []) {
            controls.hidden = controls.id !== `${tabname_full}_controls`;
        }
    }

    function extraNetworksUnrelatedTabSelected(tabname) {
        extraNetworksMovePromptToTab(tabname, "", false, false);
        extraNetworksShowControlsForPage(tabname, null);
    }

    function extraNetworksTabSelected(tabname, id, showPrompt, showNegativePrompt, tabname_full) {
        extraNetworksMovePromptToTab(tabname, id, showPrompt, showNegativePrompt);
        extraNetworksShowControlsForPage(tabname, tabname_full);
    }

    function setupExtraNetworks() {
        for (const tabname of ["txt2img", "img2img"]) setupExtraNetworksForTab(tabname);
    }

    /** Has the server look for files anew. */
    function extraNetworksControlRefreshOnClick(event, tabname, extra_networks_tabname) {
        element(`${tabname}_${extra_networks_tabname}_extra_refresh_internal`)?.click();
    }

    /** Has the server make the selected result the preview of a card. */
    function saveCardPreview(event, tabname, filename) {
        const field = document.querySelector(`#${tabname}_preview_filename textarea`);
        field.value = filename;
        updateInput(field);
        element(`${tabname}_save_preview`).click();
        event.stopPropagation();
        event.preventDefault();
    }

    /** Runs functions once all scripts of the page, those of extensions too, have run. */
    function scheduleAfterScriptsCallbacks() {
        clearTimeout(window.uiAfterScriptsTimeout);
        window.uiAfterScriptsTimeout = setTimeout(() => {
            window.executedAfterScripts = true;
            executeCallbacks(window.uiAfterScriptsCallbacks.splice(0));
        }, 200);
    }

    window.extraNetworksApplyFilter = {};
    window.extraNetworksApplySort = {};
    window.activePromptTextarea = {};
    window.uiAfterScriptsCallbacks = [setupExtraNetworks];
    window.uiAfterScriptsTimeout = null;
    window.executedAfterScripts = false;
    Object.assign(window, {
        toggleCss, setupExtraNetworks, setupExtraNetworksForTab, extraNetworksRegisterPromptForTab, extraNetworksMovePromptToTab,
        extraNetworksShowControlsForPage, extraNetworksUnrelatedTabSelected, extraNetworksTabSelected,
        extraNetworksControlRefreshOnClick, saveCardPreview, scheduleAfterScriptsCallbacks
    });

    onUiLoaded(scheduleAfterScriptsCallbacks);
}
