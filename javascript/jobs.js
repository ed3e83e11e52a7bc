"use strict";
// The panel of jobs: what waits and runs, and what was made before. It asks the server while it is open, and otherwise
// only for the number on its button.
{
    const ROOT = "internal/jobs";
    const LIVE = ["running", "queued", "held"];
    const OVER = ["done", "interrupted", "failed", "lost", "cancelled"];
    const PAGE_SIZE = 30;
    const LIVE_PAGE_SIZE = 300;
    const COUNT_PERIOD_MS = 5000;
    const COUNT_SOON_MS = 500;
    /** By then the pictures of a job that has just ended are usually in files, which is when it is over for the list. */
    const KEPT_SOON_MS = 250;
    const VIEWS = {live: "Queue", over: "History"};
    const EMPTY = {
        live: "Nothing waits. Shift+click on Generate, or its menu, adds a job without waiting for it.",
        over: "No jobs yet. What you make is listed here, with its parameters.",
        search: "No job has all these words, or it was made with another checkpoint or on another day.",
    };
    const SHOWN_MS = 4000;

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

    class Panel {
        constructor() {
            this.view = "live";
            this.rows = new Map();
            this.total = 0;
            this.events = null;
            this.count = makeElement("span", {className: "jobs-count", hidden: true});
            this.button = makeElement("button", {
                type: "button", id: "jobs_button", className: "jobs-button", title: "Jobs that wait, run and ran",
                "aria-haspopup": "dialog", "aria-expanded": "false",
            }, makeElement("span", {textContent: "Jobs"}), this.count);
            this.button.addEventListener("click", () => this.box.hidden ? this.open() : this.close());
            this.list = makeElement("ul", {className: "jobs-list", "aria-label": "Jobs"});
            this.note = makeElement("p", {className: "jobs-note", "aria-live": "polite"});
            this.filters = new JobFilters(makeElement, () => this.show("over"));
            this.said = makeElement("div", {className: "jobs-said", role: "status"});
            this.more = makeElement("div", {className: "jobs-more"});
            this.tabs = Object.entries(VIEWS).map(([view, name]) => {
                const tab = makeElement("button", {type: "button", role: "tab", id: `jobs_tab_${view}`, className: "jobs-tab", textContent: name, "aria-controls": "jobs_view"});
                tab.addEventListener("click", () => this.show(view));
                tab.addEventListener("keydown", (event) => event.key.startsWith("Arrow") && this.turn());
                tab.dataset.view = view;
                return tab;
            });
            const close = makeElement("button", {type: "button", className: "jobs-close", title: "Close (Esc)", "aria-label": "Close", textContent: "×"});
            close.addEventListener("click", () => this.close());
            this.content = makeElement("div", {id: "jobs_view", role: "tabpanel"}, this.filters.box, this.note, this.list, this.more);
            this.box = makeElement("aside", {id: "jobs_panel", className: "jobs-panel", hidden: true, role: "dialog", "aria-label": "Jobs"},
                makeElement("header", {}, makeElement("div", {role: "tablist", "aria-label": "Jobs", className: "jobs-tabs"}, ...this.tabs), close), this.content);
            this.box.addEventListener("keydown", (event) => {
                if (event.key !== "Escape") return;
                event.stopPropagation(); // it would interrupt the running job
                this.close();
            });
            new IntersectionObserver((entries) => entries[0].isIntersecting && this.loadMore()).observe(this.more);
            document.body.append(this.button, this.said, this.box);
        }

        /** Shows a short text beside the button, and has it read out. */
        announce(text) {
            this.said.textContent = text;
            clearTimeout(this.forgets);
            this.forgets = setTimeout(() => this.said.replaceChildren(), SHOWN_MS);
        }

        /** Goes to the other tab, by key. */
        turn() {
            const next = this.tabs.find((tab) => tab.dataset.view !== this.view);
            next.focus();
            return this.show(next.dataset.view);
        }

        async open() {
            this.box.hidden = false;
            this.button.setAttribute("aria-expanded", "true");
            this.events = new EventSource("internal/events");
            this.events.addEventListener("job", (event) => this.changed(JSON.parse(event.data)));
            this.events.addEventListener("progress", (event) => this.progressed(JSON.parse(event.data)));
            this.events.addEventListener("resync", () => this.show(this.view));
            this.events.addEventListener("error", () => this.tell("The server does not answer; trying again…"));
            this.events.addEventListener("open", () => this.isLost && this.show(this.view));
            this.tabs.find((tab) => tab.dataset.view === this.view).focus();
            await this.show(this.view);
        }

        close() {
            if (this.box.hidden) return;
            this.events?.close();
            this.box.hidden = true;
            this.button.setAttribute("aria-expanded", "false");
            this.button.focus({preventScroll: true});
        }

        get filter() {
            // What runs, and what comes next, is among the oldest of those that live.
            return this.view === "live" ? [LIVE, {limit: LIVE_PAGE_SIZE, oldest_first: true}] : [OVER, {limit: PAGE_SIZE, ...this.filters.query}];
        }

        /** Says what is wrong, or nothing. */
        tell(text) {
            this.isLost = Boolean(text);
            this.note.textContent = text;
        }

        /** Reads a list anew. */
        async show(view) {
            this.view = view;
            for (const tab of this.tabs) {
                const isShown = tab.dataset.view === view;
                tab.setAttribute("aria-selected", String(isShown));
                tab.tabIndex = isShown ? 0 : -1;
                if (isShown) this.content.setAttribute("aria-labelledby", tab.id);
            }
            this.filters.box.hidden = view === "live";
            const turn = this.asked = {};
            try {
                const [{jobs, total}, models] = await Promise.all([ask(query(...this.filter)), view === "over" ? ask("internal/job-models") : null]);
                if (this.asked !== turn) return; // something else has been asked for meanwhile
                if (models) this.filters.offer(models);
                this.isLost = false;
                this.total = total;
                if (view === "live") jobs.sort(byTurn);
                this.rows.clear();
                this.list.replaceChildren();
                for (const job of jobs) this.put(job, false);
                this.say();
            } catch (e) {
                if (this.asked === turn) this.tell(`The jobs cannot be read: ${e.message}`);
            }
        }

        async loadMore() {
            if (this.isLoading || this.rows.size >= this.total) return;
            this.isLoading = true;
            const turn = this.asked;
            try {
                const [states, more] = this.filter;
                const {jobs} = await ask(query(states, {...more, offset: this.rows.size}));
                if (this.asked !== turn) return;
                if (this.view === "live") jobs.sort(byTurn);
                for (const job of jobs) if (!this.rows.has(job.id)) this.put(job, false);
                if (!jobs.length) this.total = this.rows.size;
            } catch (e) {
                this.tell(`More jobs cannot be read: ${e.message}`);
                return;
            } finally {
                this.isLoading = false;
            }
            if (this.more.getBoundingClientRect().top < window.innerHeight) this.loadMore();
        }

        say() {
            const empty = this.filters.isSet && this.view === "over" ? EMPTY.search : EMPTY[this.view];
            this.note.textContent = this.rows.size ? "" : empty;
        }

        /** A job was queued, has begun or is over. */
        changed(job) {
            this.setCount();
            const belongs = (this.view === "live" ? LIVE : OVER).includes(job.state);
            if (belongs && this.view === "over" && this.filters.isSet) return;
            if (OVER.includes(job.state)) this.announce(jobSaid(job));
            if (!belongs) {
                this.takeOut(job.id);
            } else {
                this.put(job, this.view === "over");
            }
            if (this.view === "live") this.number();
            this.say();
        }

        progressed({id, progress, eta, preview}) {
            const row = this.rows.get(id);
            const bar = row?.querySelector("progress");
            if (!bar) return;
            bar.value = progress;
            row.querySelector(".jobs-state").textContent = jobProgress(progress, eta);
            if (preview) showPreview(row, preview);
        }

        /** Waiting jobs say how many are before them. */
        number() {
            let place = 0;
            for (const row of this.list.children) {
                if (row.dataset.state === "queued") row.querySelector(".jobs-state").textContent = `Waiting, number ${++place}`;
            }
        }

        /** Removes a row; what had the focus in it hands it on. */
        takeOut(id) {
            const row = this.rows.get(id);
            if (!row) return;
            const next = row.nextElementSibling ?? row.previousElementSibling;
            if (row.contains(document.activeElement)) (next?.querySelector("button") ?? this.tabs.find((tab) => tab.tabIndex === 0)).focus();
            row.remove();
            this.rows.delete(id);
        }

        put(job, first) {
            const row = jobRow(job, this);
            const old = this.rows.get(job.id);
            const focused = old?.contains(document.activeElement) ? document.activeElement.textContent : null;
            this.rows.set(job.id, row);
            if (old) {
                old.replaceWith(row);
                if (focused) focusOn(row, focused);
            } else if (first) {
                this.list.prepend(row);
            } else {
                this.list.append(row);
            }
        }

        /** Puts the parameters of a job into the form. */
        load(job) {
            loadJob(job);
            this.close();
        }

        async send(job, name) {
            try {
                await sendPicture(jobImage(job), name);
                this.close();
            } catch (e) {
                this.note.textContent = e.message;
            }
        }

        async act(job, rest, method) {
            try {
                await ask(jobAddress(job, rest), {method});
                if (this.view === "over" && rest === "/retry") this.note.textContent = "It is in the queue again.";
            } catch (e) {
                this.note.textContent = e.message;
            }
        }

        async toFront(job) {
            const headers = {"Content-Type": "application/json"};
            try {
                await ask(`${ROOT}/reorder`, {method: "POST", headers, body: JSON.stringify({ids: [job.id]})});
                await this.show("live");
            } catch (e) {
                this.note.textContent = e.message;
            }
        }

        async setCount() {
            try {
                const {total} = await ask(query(LIVE, {limit: 1}));
                for (const box of document.querySelectorAll(".generate-box")) box.dataset.jobs = total || "";
                this.count.hidden = !total;
                this.count.textContent = total;
                this.button.setAttribute("aria-label", `Jobs, ${total} waiting or running`);
            } catch (e) {
                console.debug(`jobs: ${e}`);
            }
        }
    }

    /** Gives the focus to the button of a name in a row, to its first one if there is none. */
    function focusOn(row, name) {
        const buttons = Array.from(row.querySelectorAll("button"));
        (buttons.find((button) => button.textContent === name) ?? buttons[0])?.focus();
    }

    /** The running job first, then those that wait in their order, then those on hold. */
    function byTurn(a, b) {
        return LIVE.indexOf(a.state) - LIVE.indexOf(b.state) || (a.position ?? 0) - (b.position ?? 0);
    }

    let panel = null;
    onUiLoaded(() => {
        panel = new Panel();
        panel.setCount();
        document.addEventListener("jobadded", () => {
            panel.announce("Added to the queue");
            setTimeout(() => panel.setCount(), COUNT_SOON_MS);
        });
        document.addEventListener("jobended", () => {
            panel.setCount();
            setTimeout(() => panel.setCount(), KEPT_SOON_MS);
        });
        setInterval(() => document.visibilityState === "visible" && panel.box.hidden && panel.setCount(), COUNT_PERIOD_MS);
    });
}
