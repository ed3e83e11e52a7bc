"use strict";
// Finding a card in a pane of extra networks: search, order, folders as buttons or as a tree.
{
    const SEARCH_HIDDEN_FROM = 4;
    const element = (id) => document.getElementById(id);

    function cardsOf(tabnameFull) {
        return [...(element(`${tabnameFull}_cards`)?.querySelectorAll(":scope > .card") ?? [])];
    }

    function searchOf(tabnameFull) {
        return element(`${tabnameFull}_extra_search`);
    }

    /** Shows the cards whose terms or description contain the search; those of hidden folders need a longer one. */
    function applyExtraNetworkFilter(tabname_full) {
        const text = (searchOf(tabname_full)?.value ?? "").toLowerCase();
        for (const card of cardsOf(tabname_full)) {
            const terms = [...card.querySelectorAll(".search_terms, .description")].map((term) => term.textContent);
            const isFound = terms.join(" ").toLowerCase().includes(text);
            const isHidden = card.querySelector(".search_only") && text.length < SEARCH_HIDDEN_FROM;
            card.classList.toggle("hidden", !isFound || Boolean(isHidden));
        }
    }

    function compareKeys(a, b) {
        const [x, y] = [Number(a), Number(b)];
        if (a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y)) return x - y;
        return a.localeCompare(b);
    }

    /** Orders the cards as the buttons say; skipped when nothing has changed since the last time. */
    function applyExtraNetworkSort(tabname_full) {
        const pane = element(`${tabname_full}_pane`);
        const cards = cardsOf(tabname_full);
        const button = element(`${tabname_full}_controls`)?.querySelector(".extra-network-control--sort[aria-pressed=true]");
        const key = button?.dataset.sortkey ?? pane?.dataset.sortKey ?? "default";
        const direction = element(`${tabname_full}_extra_sort_dir`)?.dataset.sortdir ?? pane?.dataset.sortDirection;
        const state = `${key}-${direction}-${cards.length}`;
        const container = element(`${tabname_full}_cards`);
        if (!container || container.dataset.sorted === state) return;
        container.dataset.sorted = state;

        const keyOf = (card) => card.getAttribute(`data-sort-${key}`) ?? "";
        cards.sort((a, b) => compareKeys(keyOf(a), keyOf(b)));
        if (direction === "Descending") cards.reverse();
        container.append(...cards);
    }

    function setSearch(tabnameFull, text) {
        const search = searchOf(tabnameFull);
        search.value = text;
        updateInput(search);
    }

    /** A folder's button searches for its name, "all" for nothing. */
    function extraNetworksSearchButton(tabname, extra_networks_tabname, event) {
        const button = event.target.closest("button");
        const text = button.classList.contains("search-all") ? "" : button.textContent.trim();
        setSearch(`${tabname}_${extra_networks_tabname}`, text);
        for (const other of button.parentElement.children) other.classList.toggle("selected", other === button);
    }

    function extraNetworksControlSortOnClick(event, tabname, extra_networks_tabname) {
        const button = event.target.closest("button");
        for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
        applyExtraNetworkSort(`${tabname}_${extra_networks_tabname}`);
    }

    function extraNetworksControlSortDirOnClick(event, tabname, extra_networks_tabname) {
        const button = event.target.closest("button");
        button.dataset.sortdir = button.dataset.sortdir === "Ascending" ? "Descending" : "Ascending";
        applyExtraNetworkSort(`${tabname}_${extra_networks_tabname}`);
    }

    /** Shows the tree or the folders' buttons of a page if their button is pressed. */
    function showFolders(tabnameFull) {
        const button = element(`${tabnameFull}_extra_tree_view`);
        const folders = element(`${tabnameFull}_tree`) ?? element(`${tabnameFull}_dirs`);
        if (button && folders) folders.hidden = button.getAttribute("aria-pressed") !== "true" || !folders.childElementCount;
    }

    function extraNetworksControlTreeViewOnClick(event, tabname, extra_networks_tabname) {
        const button = event.target.closest("button");
        button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
        showFolders(`${tabname}_${extra_networks_tabname}`);
    }

    /** A file of the tree acts as its card. */
    function extraNetworksTreeProcessFileClick(event, btn, tabname, extra_networks_tabname) {
        cardsOf(`${tabname}_${extra_networks_tabname}`).find((card) => card.dataset.name === btn.dataset.name)?.click();
    }

    /** A folder's chevron opens and closes it; elsewhere a click also searches for the folder, or ends that. */
    function extraNetworksTreeProcessDirectoryClick(event, btn, tabname, extra_networks_tabname) {
        const isOpen = btn.getAttribute("aria-expanded") === "true";
        if (event.target.closest(".tree-list-item-action-chevron")) {
            btn.setAttribute("aria-expanded", String(!isOpen));
            return;
        }
        const wasSelected = btn.classList.contains("selected");
        const tree = element(`${tabname}_${extra_networks_tabname}_tree`);
        for (const other of tree.querySelectorAll(".selected")) other.classList.remove("selected");
        btn.classList.toggle("selected", !(wasSelected && isOpen));
        btn.setAttribute("aria-expanded", String(!(wasSelected && isOpen)));
        setSearch(`${tabname}_${extra_networks_tabname}`, wasSelected && isOpen ? "" : btn.dataset.path);
    }

    function extraNetworksTreeOnClick(event, tabname, extra_networks_tabname) {
        const button = event.target.closest(".tree-list-content");
        const isFolder = button.closest("[data-tree-entry-type]").dataset.treeEntryType === "dir";
        const process = isFolder ? extraNetworksTreeProcessDirectoryClick : extraNetworksTreeProcessFileClick;
        process(event, button, tabname, extra_networks_tabname);
    }

    Object.assign(window, {
        applyExtraNetworkFilter, applyExtraNetworkSort, showFolders, extraNetworksSearchButton,
        extraNetworksControlSortOnClick, extraNetworksControlSortDirOnClick, extraNetworksControlTreeViewOnClick,
        extraNetworksTreeProcessFileClick, extraNetworksTreeProcessDirectoryClick, extraNetworksTreeOnClick
    });
}
