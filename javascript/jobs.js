"use strict";
// The panel of jobs: what waits and runs, and what was made before. It asks the server while it is open, and otherwise
// only for the number on its button.
{
    const ROOT = "internal/jobs";
    const LIVE = ["running", "queued", "held"];
    const OVER = ["done", "interrupted", "failed", "lost", "cancelled"];
    const PAGE_SIZE = 30;
    const COUNT_PERIOD_MS = 5000;
    const STATES = {
        running: "Running", queued: "Waiting", held: "On hold", done: "Done", interrupted: "Interrupted",
        failed: "Failed", lost: "Lost", cancelled: "Cancelled",
    };
    const EMPTY = {
        live: "Nothing waits. Click Generate as often as you like: each click is a job in this list.",
        over: "No jobs yet. What you make is listed here, with its parameters.",
        search: "No job has all these words.",
    };

    const address = (job, rest = "") => `${ROOT}/${encodeURIComponent(job.id)}${rest}`;

    /** Makes an element with properties, attributes (those with a dash) and children. */
    function make(tag, properties = {}, ...children) {
        const element = document.createElement(tag);
        for (const [name, value] of Object.entries(properties)) {
            if (name.includes("-")) element.setAttribute(name, value);
            else element[name] = value;
        }
        element.append(...children);
        return element;
    }

    async function ask(url, options = {}) {
        const answer = await fetch(url, options);
        const body = await answer.json();
        if (!answer.ok) throw new Error(body.detail ?? `status ${answer.status}`);
        return body;
    }

    function query(states, more = {}) {
        const parameters = new URLSearchParams(more);
        for (const state of states) parameters.append("state", state);
        return `${ROOT}?${parameters}`;
    }

    function seconds(job) {
        return job.started && job.ended ? `${(job.ended - job.started).toFixed(1)} s` : "";
    }

    /** Puts the parameters of a job into the form of a tab, as the button below the prompt does. */
    function load(job) {
        const tab = job.kind === "img2img" ? "img2img" : "txt2img";
        (tab === "img2img" ? switch_to_img2img : switch_to_txt2img)();
        const prompt = gradioApp().querySelector(`#${tab}_prompt textarea`);
        prompt.value = job.infotexts[0] || job.text;
        updateInput(prompt);
        gradioApp().querySelector(`#${tab}_tools #paste`)?.click();
        panel.close();
    }

    class Panel {
        constructor() {
            this.view = "live";
            this.rows = new Map();
            this.total = 0;
            this.events = null;
            this.count = make("span", {className: "jobs-count", hidden: true});
            this.button = make("button", {
                type: "button", id: "jobs_button", className: "jobs-button", title: "Jobs that wait, run and ran",
                "aria-haspopup": "dialog", "aria-expanded": "false",
            }, make("span", {textContent: "Jobs"}), this.count);
            this.button.addEventListener("click", () => this.box.hidden ? this.open() : this.close());
            this.list = make("ul", {className: "jobs-list", "aria-label": "Jobs"});
            this.note = make("p", {className: "jobs-note", "aria-live": "polite"});
            this.search = make("input", {type: "search", className: "jobs-search", placeholder: "Search past jobs", "aria-label": "Search past jobs"});
            this.search.addEventListener("input", () => this.searchSoon());
            this.more = make("div", {className: "jobs-more"});
            this.tabs = ["live", "over"].map((view) => {
                const tab = make("button", {type: "button", role: "tab", className: "jobs-tab", textContent: view === "live" ? "Queue" : "History"});
                tab.addEventListener("click", () => this.show(view));
                tab.dataset.view = view;
                return tab;
            });
            const close = make("button", {type: "button", className: "jobs-close", title: "Close (Esc)", "aria-label": "Close", textContent: "×"});
            close.addEventListener("click", () => this.close());
            this.box = make("aside", {id: "jobs_panel", className: "jobs-panel", hidden: true, role: "dialog", "aria-label": "Jobs"},
                make("header", {}, make("div", {role: "tablist", "aria-label": "Jobs", className: "jobs-tabs"}, ...this.tabs), close),
                this.search, this.note, this.list, this.more);
            this.box.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
            new IntersectionObserver((entries) => entries[0].isIntersecting && this.loadMore()).observe(this.more);
            document.body.append(this.button, this.box);
        }

        async open() {
            this.box.hidden = false;
            this.button.setAttribute("aria-expanded", "true");
            this.events = new EventSource("internal/events?previews=false");
            this.events.addEventListener("job", (event) => this.changed(JSON.parse(event.data)));
            this.events.addEventListener("progress", (event) => this.progressed(JSON.parse(event.data)));
            this.events.addEventListener("resync", () => this.show(this.view));
            await this.show(this.view);
            this.tabs.find((tab) => tab.dataset.view === this.view).focus();
        }

        close() {
            if (this.box.hidden) return;
            this.events?.close();
            this.box.hidden = true;
            this.button.setAttribute("aria-expanded", "false");
            this.button.focus({preventScroll: true});
        }

        get filter() {
            return this.view === "live" ? [LIVE, {limit: 1000}] : [OVER, {limit: PAGE_SIZE, text: this.search.value}];
        }

        /** Reads a list anew. */
        async show(view) {
            this.view = view;
            for (const tab of this.tabs) tab.setAttribute("aria-selected", String(tab.dataset.view === view));
            this.search.hidden = view === "live";
            try {
                const {jobs, total} = await ask(query(...this.filter));
                if (this.view !== view) return;
                this.total = total;
                if (view === "live") jobs.sort(byTurn);
                this.rows.clear();
                this.list.replaceChildren();
                for (const job of jobs) this.put(job, false);
                this.say();
            } catch (e) {
                this.note.textContent = `The jobs cannot be read: ${e.message}`;
            }
        }

        async loadMore() {
            if (this.view !== "over" || this.isLoading || this.rows.size >= this.total) return;
            this.isLoading = true;
            try {
                const [states, more] = this.filter;
                const {jobs} = await ask(query(states, {...more, offset: this.rows.size}));
                for (const job of jobs) if (!this.rows.has(job.id)) this.put(job, false);
            } finally {
                this.isLoading = false;
            }
        }

        searchSoon() {
            clearTimeout(this.timer);
            this.timer = setTimeout(() => this.show("over"), 250);
        }

        say() {
            const empty = this.view === "over" && this.search.value ? EMPTY.search : EMPTY[this.view];
            this.note.textContent = this.rows.size ? "" : empty;
        }

        /** A job was queued, has begun or is over. */
        changed(job) {
            this.setCount();
            const belongs = (this.view === "live" ? LIVE : OVER).includes(job.state);
            if (belongs && this.view === "over" && this.search.value) return;
            if (!belongs) {
                this.rows.get(job.id)?.remove();
                this.rows.delete(job.id);
            } else {
                this.put(job, this.view === "over");
            }
            if (this.view === "live") this.number();
            this.say();
        }

        progressed({id, progress, eta}) {
            const row = this.rows.get(id);
            const bar = row?.querySelector("progress");
            if (!bar) return;
            bar.value = progress;
            row.querySelector(".jobs-state").textContent = `Running, ${Math.round(progress * 100)} %${eta ? `, ${Math.ceil(eta)} s left` : ""}`;
        }

        /** Waiting jobs say how many are before them. */
        number() {
            let place = 0;
            for (const row of this.list.children) {
                if (row.dataset.state === "queued") row.querySelector(".jobs-state").textContent = `Waiting, number ${++place}`;
            }
        }

        put(job, first) {
            const row = this.row(job);
            const old = this.rows.get(job.id);
            this.rows.set(job.id, row);
            if (old) old.replaceWith(row);
            else if (first) this.list.prepend(row);
            else this.list.append(row);
            if (job.position) row.querySelector(".jobs-state").textContent = `Waiting, number ${job.position}`;
        }

        row(job) {
            const text = (job.text.split("\n")[0] || job.kind).slice(0, 300);
            const about = make("div", {className: "jobs-about"},
                make("div", {className: "jobs-text", textContent: text, title: job.infotexts[0] || job.text}),
                make("div", {className: "jobs-state", textContent: [STATES[job.state], seconds(job)].filter(Boolean).join(", ")}));
            if (job.state === "running") about.append(make("progress", {max: 1, value: job.progress, "aria-label": "Progress"}));
            if (job.error && job.state !== "cancelled") about.append(make("div", {className: "jobs-error", textContent: job.error}));
            const row = make("li", {className: "jobs-row"}, this.picture(job), about, this.buttons(job, text));
            row.dataset.state = job.state;
            return row;
        }

        picture(job) {
            if (!job.images) return make("div", {className: "jobs-picture"});
            const image = make("img", {src: address(job, "/images/0?thumbnail=true"), alt: "", loading: "lazy"});
            image.addEventListener("error", () => image.remove());
            return make("a", {className: "jobs-picture", href: address(job, "/images/0"), target: "_blank", title: "Open the picture"}, image);
        }

        buttons(job, text) {
            const does = {
                live: [["Cancel", () => this.act(job, "", "DELETE")]],
                over: [["Again", () => this.act(job, "/retry", "POST")]],
            }[LIVE.includes(job.state) ? "live" : "over"];
            if (job.state === "queued") does.unshift(["First", () => this.toFront(job)]);
            if (job.state === "held") does.unshift(["Run", () => this.act(job, "/retry", "POST")]);
            if (["txt2img", "img2img"].includes(job.kind)) does.push(["To the form", () => load(job)]);
            return make("div", {className: "jobs-buttons"}, ...does.map(([name, act]) => {
                const button = make("button", {type: "button", textContent: name, "aria-label": `${name}: ${text}`});
                button.addEventListener("click", act);
                return button;
            }));
        }

        async act(job, rest, method) {
            try {
                await ask(address(job, rest), {method});
                if (this.view === "over" && rest === "/retry") this.note.textContent = "It is in the queue again.";
            } catch (e) {
                this.note.textContent = e.message;
            }
        }

        async toFront(job) {
            const headers = {"Content-Type": "application/json"};
            await ask(`${ROOT}/reorder`, {method: "POST", headers, body: JSON.stringify({ids: [job.id]})});
            await this.show("live");
        }

        async setCount() {
            try {
                const {total} = await ask(query(LIVE, {limit: 1}));
                this.count.hidden = !total;
                this.count.textContent = total;
                this.button.setAttribute("aria-label", `Jobs, ${total} waiting or running`);
            } catch (e) {
                console.debug(`jobs: ${e}`);
            }
        }
    }

    /** The running job first, then those that wait in their order, then those on hold. */
    function byTurn(a, b) {
        return LIVE.indexOf(a.state) - LIVE.indexOf(b.state) || (a.position ?? 0) - (b.position ?? 0);
    }

    let panel = null;
    onUiLoaded(() => {
        panel = new Panel();
        panel.setCount();
        setInterval(() => document.visibilityState === "visible" && panel.box.hidden && panel.setCount(), COUNT_PERIOD_MS);
    });
}
