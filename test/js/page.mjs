// Loads scripts of the page into a context with as much of a browser as their pure parts need.
import fs from "node:fs";
import vm from "node:vm";

const NOTHING = () => {};

/** The names that scripts offer, after they have run in the order given. The first may be what a page has beside. */
export function loadScripts(...names) {
    const more = typeof names[0] === "object" ? names.shift() : {};
    const page = {currentOpts: {}, console, URL, URLSearchParams, document: {addEventListener: NOTHING}, addEventListener: NOTHING, ...more};
    for (const name of ["onUiLoaded", "onUiUpdate", "onAfterUiUpdate", "onOptionsChanged", "onOptionsAvailable", "onElements"]) {
        page[name] = NOTHING;
    }
    page.window = page;
    vm.createContext(page);
    for (const name of names) {
        const file = new URL(`../../javascript/${name}.js`, import.meta.url);
        vm.runInContext(fs.readFileSync(file, "utf8"), page, {filename: file.pathname});
    }
    return page;
}

/** A text with its selection marked: "red ⟦apple⟧", or with | for a caret, as {text, start, end}. */
export function unmark(marked) {
    const caret = marked.indexOf("|");
    if (caret >= 0) return {text: marked.replace("|", ""), start: caret, end: caret};
    const [start, end] = [marked.indexOf("⟦"), marked.indexOf("⟧") - 1];
    return {text: marked.replace(/[⟦⟧]/g, ""), start, end};
}

export function mark({text, start, end}) {
    return `${text.slice(0, start)}⟦${text.slice(start, end)}⟧${text.slice(end)}`;
}
