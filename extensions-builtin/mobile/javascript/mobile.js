"use strict";
// In a window too narrow for two columns the Generate button stands above the results.
{
    const element = (id) => document.getElementById(id);

    /** Puts the box with Generate where it belongs now; the compact layout has it above the results anyway. */
    function placeGenerateBox(tabname) {
        const [box, results, settings] = ["generate_box", "results", "settings"].map((name) => element(`${tabname}_${name}`));
        const actions = element(`${tabname}_actions_column`);
        const isBelow = results.offsetParent && results.getBoundingClientRect().top >= settings.getBoundingClientRect().bottom;
        const place = isBelow ? results : actions;
        if (box.parentElement !== place) place.prepend(box);
    }

    for (const tabname of ["txt2img", "img2img"]) {
        const ids = ["generate_box", "results", "settings", "actions_column"].map((name) => `${tabname}_${name}`);
        onElements(ids, (_, results) => new ResizeObserver(() => placeGenerateBox(tabname)).observe(results));
    }
}
