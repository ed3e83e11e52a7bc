"use strict";
// The buttons on a card of extra networks: its path, what its file says of itself, its notes and preview.
{
    const COPIED_FOR_MS = 1200;

    /** Nested JSON as one level: {a: {b: 1}} becomes {"a/b": 1}; texts that are JSON objects count as such. */
    function extraNetworksFlattenMetadata(obj) {
        const result = {};
        for (const [key, given] of Object.entries(obj)) {
            const value = parsedObject(given);
            const path = key.startsWith("modelspec.") ? key.replaceAll(".", "/") : key;
            if (value && typeof value === "object" && !Array.isArray(value)) {
                for (const [inner, leaf] of Object.entries(extraNetworksFlattenMetadata(value))) result[`${path}/${inner}`] = leaf;
            } else {
                result[path] = value;
            }
        }
        return result;
    }

    function parsedObject(value) {
        if (typeof value !== "string" || !value.trimStart().startsWith("{")) return value;
        try {
            return JSON.parse(value);
        } catch {
            return value;
        }
    }

    function metadataTable(metadata) {
        const table = document.createElement("table");
        table.className = "popup-metadata";
        for (const [key, value] of Object.entries(extraNetworksFlattenMetadata(metadata))) {
            const row = table.insertRow();
            const head = document.createElement("th");
            head.scope = "row";
            head.textContent = key;
            row.append(head);
            row.insertCell().textContent = typeof value === "string" ? value : JSON.stringify(value);
        }
        return table;
    }

    /** Shows a text in the popup: as a table if it is a JSON object, else as it is. */
    function extraNetworksShowMetadata(text) {
        const metadata = parsedObject(text);
        if (metadata && typeof metadata === "object") {
            popup(metadataTable(metadata));
            return;
        }
        const plain = document.createElement("pre");
        plain.className = "popup-metadata";
        plain.textContent = text;
        popup(plain);
    }

    function nameOfCard(event) {
        return event.target.closest(".card").dataset.name;
    }

    async function extraNetworksCopyCardPath(event) {
        event.stopPropagation();
        const button = event.target.closest("button");
        await navigator.clipboard?.writeText(button.dataset.clipboardText);
        button.classList.add("copied");
        setTimeout(() => button.classList.remove("copied"), COPIED_FOR_MS);
    }

    function extraNetworksRequestMetadata(event, extraPage) {
        event.stopPropagation();
        const showError = () => extraNetworksShowMetadata("there was an error getting metadata");
        const show = (answer) => (answer?.metadata ? extraNetworksShowMetadata(answer.metadata) : showError());
        requestGet("./sd_extra_networks/metadata", {page: extraPage, item: nameOfCard(event)}, show, showError);
    }

    /** Has the server fill the editor of a page with a card's notes, and then show it. */
    function extraNetworksEditUserMetadata(event, tabname, extraPage) {
        event.stopPropagation();
        const id = `${tabname}_${extraPage}_edit_user_metadata`;
        const field = document.querySelector(`#${id}_name textarea`);
        window.extraPageUserMetadataEditors[id] ??= document.getElementById(id);
        field.value = nameOfCard(event);
        updateInput(field);
        document.getElementById(`${id}_button`).click();
    }

    /** Shows a card as the server has it now. */
    function extraNetworksRefreshSingleCard(page, tabname, name) {
        requestGet("./sd_extra_networks/get-single-card", {page, tabname, name}, ({html}) => {
            const cards = document.querySelectorAll(`#${tabname}_${page.replaceAll(" ", "_")}_cards > .card`);
            const card = [...cards].find((candidate) => candidate.dataset.name === name);
            const template = document.createElement("template");
            template.innerHTML = html.trim();
            card?.replaceWith(template.content.firstElementChild);
        });
    }

    window.extraPageUserMetadataEditors = {};
    Object.assign(window, {
        extraNetworksFlattenMetadata, extraNetworksShowMetadata, extraNetworksCopyCardPath,
        extraNetworksRequestMetadata, extraNetworksEditUserMetadata, extraNetworksRefreshSingleCard
    });
}
