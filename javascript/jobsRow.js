"use strict";
// What the panel of jobs shows of one: its picture, its state, and what can be done with it.
{
    const ROOT = "internal/jobs";
    const STATES = {
        running: "Running", queued: "Waiting", held: "On hold", done: "Done", interrupted: "Interrupted",
        failed: "Failed", lost: "Lost", cancelled: "Cancelled",
    };
    const KINDS = {extras: "Extras", merge: "Checkpoint merge"};

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

    function duration(seconds) {
        if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
        return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
    }

    /** What has become of a job, how long it took, and when it was asked for. */
    function said(job) {
        if (job.state === "queued") return job.position ? `${STATES.queued}, number ${job.position}` : STATES.queued;
        if (job.state === "running") return jobProgress(job.progress, job.eta);
        const took = job.started && job.ended ? duration(job.ended - job.started) : "";
        const when = new Date(job.submitted * 1000).toLocaleString([], {dateStyle: "short", timeStyle: "short"});
        return [STATES[job.state], took, when].filter(Boolean).join(", ");
    }

    function jobProgress(share, eta) {
        return `${STATES.running}, ${Math.round(share * 100)} %${eta ? `, ${duration(eta)} left` : ""}`;
    }

    /** Shows the preview of the running job in its row. */
    function showPreview(row, source) {
        const place = row.querySelector(".jobs-picture");
        const image = place.querySelector("img") ?? place.appendChild(make("img", {alt: ""}));
        image.src = source;
    }

    /** The first line of what a job is about. */
    function title(job) {
        const kind = KINDS[job.kind] ? `${KINDS[job.kind]}: ` : "";
        return (kind + job.text.split("\n")[0] || job.kind).slice(0, 300);
    }

    /** The address of the picture of a job that its row shows: `job.shown`, the first of all unless the user turned over. */
    function shownImage(job, rest = "") {
        return address(job, `/images/${job.shown ?? 0}${rest}`);
    }

    /** Puts the parameters of a job into the form of a tab, as the button below the prompt does. */
    function load(job) {
        const tab = job.kind === "img2img" ? "img2img" : "txt2img";
        (tab === "img2img" ? switch_to_img2img : switch_to_txt2img)();
        const prompt = gradioApp().querySelector(`#${tab}_prompt textarea`);
        prompt.value = job.infotexts[job.shown ?? 0] || job.infotexts[0] || job.text;
        updateInput(prompt);
        gradioApp().querySelector(`#${tab}_tools #paste`)?.click();
    }

    /** The picture of a job, which opens in a tab of its own; of several one after the other. */
    function picture(job) {
        if (!job.images) return make("div", {className: "jobs-picture"});
        const image = make("img", {alt: "", loading: "lazy"});
        image.addEventListener("error", () => { image.hidden = true; });
        image.addEventListener("load", () => { image.hidden = false; });
        const place = make("span", {className: "jobs-picture-count", hidden: job.images === 1});
        const link = make("a", {className: "jobs-picture", target: "_blank"}, image, place);
        const turn = (by) => {
            job.shown = ((job.shown ?? 0) + by + job.images) % job.images;
            image.src = shownImage(job, "?thumbnail=true");
            place.textContent = `${job.shown + 1}/${job.images}`;
            link.href = shownImage(job);
            link.title = job.images > 1 ? `Open picture ${job.shown + 1} of ${job.images}` : "Open the picture";
            link.setAttribute("aria-label", `${link.title}: ${title(job)}`);
        };
        turn(0);
        if (job.images === 1) return link;
        const [back, next] = buttons(job, [["‹", () => turn(-1)], ["›", () => turn(1)]], ["Picture before", "Next picture"]);
        return make("div", {className: "jobs-pictures"}, link, make("div", {className: "jobs-turn"}, back, next));
    }

    /** Buttons that say whom they are for; rows of what is on one and what it does. labels: what is read out instead. */
    function buttons(job, rows, labels = []) {
        return rows.map(([name, act], n) => {
            const button = make("button", {type: "button", textContent: name, "aria-label": `${labels[n] ?? name}: ${title(job)}`});
            button.addEventListener("click", act);
            return button;
        });
    }

    /** What can be done with a job, by its state. */
    function actions(job, panel) {
        const again = () => panel.act(job, "/retry", "POST");
        const cancel = ["Cancel", () => panel.act(job, "", "DELETE")];
        const fill = ["To the form", () => panel.load(job)];
        const rows = {
            running: [cancel], queued: [["First", () => panel.toFront(job)], cancel], held: [["Run", again], cancel],
        }[job.state] ?? [["Again", again]];
        return ["txt2img", "img2img"].includes(job.kind) ? [...rows, fill] : rows;
    }

    function destinations(job, panel) {
        const rows = jobDestinations.map((name) => [name, () => panel.send(job, name)]);
        return make("details", {className: "jobs-send"},
            make("summary", {textContent: "Send to", "aria-label": `Send the picture to: ${title(job)}`}),
            make("div", {className: "jobs-buttons"}, ...buttons(job, rows)));
    }

    /** Makes the row of a job. `panel` does what its buttons say. */
    function jobRow(job, panel) {
        const about = make("div", {className: "jobs-about"},
            make("div", {className: "jobs-text", textContent: title(job), title: job.infotexts[0] || job.text}),
            make("div", {className: "jobs-state", textContent: said(job)}));
        if (job.state === "running") about.append(make("progress", {max: 1, value: job.progress, "aria-label": "Progress"}));
        if (job.error && job.state !== "cancelled") about.append(make("div", {className: "jobs-error", textContent: job.error}));
        const does = make("div", {className: "jobs-buttons"}, ...buttons(job, actions(job, panel)));
        if (job.images && !["running", "queued", "held"].includes(job.state)) does.append(destinations(job, panel));
        const row = make("li", {className: "jobs-row"}, picture(job), about, does);
        row.dataset.state = job.state;
        return row;
    }

    /** The words for what a job has come to. */
    function jobSaid(job) {
        return `${STATES[job.state]}: ${title(job)}`;
    }

    Object.assign(window, {jobAddress: address, jobImage: shownImage, jobProgress, jobRow, jobSaid, loadJob: load, showPreview, makeElement: make});
}
