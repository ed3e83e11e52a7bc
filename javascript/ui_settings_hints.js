"use strict";
// A popup with the keys and labels of all settings, for those that list keys.
{
    function settingsHintsShowQuicksettings() {
        requestGet("./internal/quicksettings-hint", {}, (hints) => {
            const table = document.createElement("table");
            table.className = "popup-table";
            for (const {name, label} of hints) {
                const row = table.insertRow();
                row.insertCell().textContent = name;
                row.insertCell().textContent = label;
            }
            popup(table);
        });
    }

    Object.assign(window, {settingsHintsShowQuicksettings});
}
