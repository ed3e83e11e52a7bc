import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import test from "node:test";

// What modules/ui_assets.py writes into the front end, and what it replaces, taken from its source.
const source = readFileSync(new URL("../../modules/ui_assets.py", import.meta.url), "utf8");
const quick = (name) => source.match(new RegExp(`^${name} = """([^]*?)"""$`, "m"))[1];
const original = (name) =>
    [...source.match(new RegExp(`^${name} = \\(\\n([^]*?)\\n\\)$`, "m"))[1].matchAll(/"([^"]*)"/g)].map((m) => m[1]).join("");

const functionZ = (code) => new Function(`${code}; return Z;`)();
const Events = (code) => new Function(`return class { ${code} };`)();

const tree = () => ({id: 0, children: [{id: 1, children: [{id: 2}, {id: 3, children: []}]}, {id: 4}]});

test("a component is found as in the front end", () => {
    const root = tree();
    const [slow, fast] = [functionZ(original("FIND_NODE")), functionZ(quick("QUICK_FIND_NODE"))];
    for (const id of [0, 1, 2, 3, 4, 5, 2]) assert.equal(fast(root, id), slow(root, id));
    root.children.push({id: 5});
    assert.equal(fast(root, 5), slow(root, 5));
    assert.equal(fast(tree(), 6), null);
});

test("events are attached as in the front end", () => {
    const dependencies = [
        {targets: [[1, "click"], [2, "change"], [1, "select"]]},
        {targets: [[null, "load"]]},
        {targets: [[1, "input"]]},
        {targets: [[2, null]]},
        {targets: []},
    ];
    const [slow, fast] = [new (Events(original("ATTACHED_EVENTS")))(), new (Events(quick("QUICK_ATTACHED_EVENTS")))()];
    const events = (finder, id) => {
        const node = finder.find_attached_events({id, props: {shared_props: {}}}, dependencies);
        return node.props.shared_props.attached_events;
    };
    for (const id of [1, 2, 3]) assert.deepEqual(events(fast, id), events(slow, id));
    dependencies.push({targets: [[3, "submit"]]});
    assert.deepEqual(events(fast, 3), ["submit"]);
});

test("an editor draws at every frame while it is seen, and now and then while not", () => {
    const asked = [];
    let hidden = false;
    const Ticker = new Function("window", "requestAnimationFrame", "setTimeout", `return class {
        constructor() {
            this.started = true;
            this.updates = 0;
            this.update = () => this.updates++;
            this._head = {next: {}};
            this._tick = (e) => { ${quick("DRAW_WHEN_SEEN")} }`)(
        {canvasesAreHidden: () => hidden}, () => asked.push("frame"), (callback, wait) => asked.push([callback, wait]));
    const ticker = new Ticker();
    ticker._tick(0);
    assert.deepEqual([asked.pop(), ticker.updates], ["frame", 1]);
    hidden = true;
    ticker._tick(0);
    const [later, wait] = asked.pop();
    assert.ok(wait >= 100);
    hidden = false;
    later();
    assert.deepEqual([asked.pop(), ticker.updates], ["frame", 3]);

    hidden = true;
    ticker._tick(0);
    const [late] = asked.pop();
    ticker._requestId = null; // stopped meanwhile
    late();
    assert.equal(ticker.updates, 4);
});

test("of what nobody sees the topmost is held back, once", () => {
    const part = (id, visible, ...children) => ({id, props: {shared_props: {visible}}, children});
    const hold = (code, node) => {
        const held = new Set();
        const Y = new Function(`${code}; return Y;`)();
        Y(node, held);
        Y(node, held); // as for tabs inside of tabs
        return [...held];
    };
    const panel = () => part(0, 1, part(1, true, part(2, true)), part(3, false, part(4, true)), part(5, 1, part(6, true)));
    assert.deepEqual(hold(original("HOLD_BACK_ALL"), panel()), [1, 2, 4, 6]);
    assert.deepEqual(hold(original("HOLD_BACK_TOPMOST"), panel()), [1, 6]);
});
