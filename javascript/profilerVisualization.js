"use strict";
// A table of how long the parts of something took, in a popup.
{
    function createRow(table, cellName, items) {
        const row = document.createElement("tr");
        for (const text of items) {
            const cell = document.createElement(cellName);
            cell.textContent = text;
            row.append(cell);
        }
        table.append(row);
        return row;
    }

    /** A table of the entries [name, seconds] of data; those below the cutoff become one, "others". */
    function createVisualizationTable(data, cutoff = 0, sort = "") {
        const entries = Object.entries(data);
        if (sort === "number") entries.sort((a, b) => b[1] - a[1]);
        else if (sort) entries.sort((a, b) => a[0].localeCompare(b[0]));
        const table = document.createElement("table");
        table.className = "popup-table";
        createRow(table, "th", ["name", "seconds"]);
        let others = 0;
        for (const [name, seconds] of entries) {
            if (seconds < cutoff) others += seconds;
            else createRow(table, "td", [name, seconds.toFixed(3)]);
        }
        if (others > 0) createRow(table, "td", ["others", others.toFixed(3)]);
        return table;
    }

    function showProfile(path, cutoff = 0.05) {
        requestGet(path, {}, (data) => {
            data.records.total = data.total;
            popup(createVisualizationTable(data.records, cutoff, "number"));
        });
    }

    Object.assign(window, {createRow, createVisualizationTable, showProfile});
}
