"use strict";
// Access to the browser's storage that never throws: it may be full or switched off.
{
    function localSet(k, v) {
        try {
            localStorage.setItem(k, v);
        } catch (e) {
            console.warn(`Failed to save ${k} to localStorage: ${e}`);
        }
    }

    function localGet(k, def) {
        try {
            return localStorage.getItem(k) ?? def;
        } catch (e) {
            console.warn(`Failed to load ${k} from localStorage: ${e}`);
            return def;
        }
    }

    function localRemove(k) {
        try {
            localStorage.removeItem(k);
        } catch (e) {
            console.warn(`Failed to remove ${k} from localStorage: ${e}`);
        }
    }

    Object.assign(window, {localSet, localGet, localRemove});
}
