// Checks of the page's scripts: plain ES2022 files that share the names they assign to window, and no others.
import fs from "node:fs";
import path from "node:path";

import js from "@eslint/js";
import globals from "globals";

const SCRIPTS = ["script.js", "javascript/**/*.js", "{extensions-builtin,test/data/extensions}/**/javascript/**/*.js", "test/data/page_checks.js"];

function filesBelow(folder) {
    if (!fs.existsSync(folder)) return [];
    return fs.readdirSync(folder, {recursive: true}).map((name) => path.join(folder, name.toString()));
}

/** Names that a script offers to the others: `window.name = ...` and `Object.assign(window, {name, ...})`. */
function offeredNames(file) {
    const source = fs.readFileSync(file, "utf8");
    const assigned = [...source.matchAll(/\bwindow\.([A-Za-z_$][\w$]*)\s*=[^=]/g)].map((match) => match[1]);
    const listed = [...source.matchAll(/Object\.assign\(window,\s*\{([^}]*)\}/g)].flatMap((match) =>
        match[1].split(",").map((entry) => entry.split(":")[0].trim()),
    );
    return [...assigned, ...listed].filter((name) => /^[A-Za-z_$][\w$]*$/.test(name));
}

const pageFiles = ["script.js", ...filesBelow("javascript"), ...filesBelow("extensions-builtin")].filter(
    (file) => file.endsWith(".js") && fs.existsSync(file),
);
const pageGlobals = Object.fromEntries(pageFiles.flatMap(offeredNames).map((name) => [name, "writable"]));

export default [
    {ignores: ["venv/", "node_modules/", "extensions/", "repositories/", "htmlcov/"]},
    js.configs.recommended,
    {
        files: SCRIPTS,
        languageOptions: {
            ecmaVersion: 2022,
            sourceType: "script",
            globals: {...globals.browser, ...pageGlobals, gradio_config: "readonly"},
        },
        rules: {
            eqeqeq: "error",
            "no-redeclare": ["error", {builtinGlobals: false}],
            "no-var": "error",
            "prefer-const": "error",
        },
    },
    {
        files: ["**/*.mjs"],
        languageOptions: {ecmaVersion: 2022, sourceType: "module", globals: globals.node},
    },
];
