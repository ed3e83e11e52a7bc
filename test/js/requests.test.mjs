import assert from "node:assert/strict";
import test from "node:test";

import {loadScripts} from "./page.mjs";

/** A page with `javascript/requests.js`, its window's events, and what its requests came to. */
function pageWith(fetch) {
    const events = new EventTarget();
    const page = loadScripts({fetch, addEventListener: events.addEventListener.bind(events)}, "requests");
    const outcomes = [];
    const ask = () => page.request("./internal/progress", {}, (answer) => outcomes.push(answer), () => outcomes.push("failed"));
    return {ask, outcomes, send: (name) => events.dispatchEvent(new Event(name))};
}

const settled = () => new Promise((resolve) => setTimeout(resolve));
const brokenOff = () => Promise.reject(new TypeError("Failed to fetch"));

test("an answer goes to the handler, anything else to the handler of errors", async () => {
    const statuses = [200, 404];
    const page = pageWith(async () => ({status: statuses.shift(), json: async () => "answer"}));
    page.ask();
    await settled();
    page.ask();
    await settled();
    assert.deepEqual(page.outcomes, ["answer", "failed"]);
});

test("what is broken off because the page is left is no error, unless the user comes back", async () => {
    const page = pageWith(brokenOff);
    page.send("pagehide");
    page.ask();
    await settled();
    assert.deepEqual(page.outcomes, []);
    page.send("pageshow");
    await settled();
    assert.deepEqual(page.outcomes, ["failed"]);
    page.ask();
    await settled();
    assert.deepEqual(page.outcomes, ["failed", "failed"]);
});
