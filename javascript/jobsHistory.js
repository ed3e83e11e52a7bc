"use strict";
// What the panel of jobs has for those that are over: what to look for, and where their pictures can be sent.
{
    const SEARCH_DELAY_MS = 250;

    /** Name > how to come to the picture input of a tab, and the input. */
    const DESTINATIONS = {
        "img2img": [() => switch_to_img2img(), "#img2img_image"],
        "Inpaint": [() => switch_to_inpaint(), "#img2maskimg"],
        "Extras": [() => switch_to_extras(), "#extras_image"],
    };

    /** The seconds since the epoch at which a day begins, in local time; `add` days later. */
    function beginOf(day, add = 0) {
        const date = new Date(`${day}T00:00`);
        date.setDate(date.getDate() + add);
        return date.getTime() / 1000;
    }

    /** Puts a picture into the input of another tab, as if the user had dropped it there. */
    async function sendPicture(url, name) {
        const [show, input] = DESTINATIONS[name];
        const answer = await fetch(url);
        if (!answer.ok) throw new Error("The picture is gone: it was deleted, or cleared by the settings of jobs");
        const content = await answer.blob();
        show();
        const wrap = await elementWithInput(input);
        const remove = wrap.querySelector('button[aria-label="Clear"], button[aria-label="Remove Image"]');
        if (remove) {
            remove.click();
            await elementWithInput(input);
        }
        dropReplaceImage(wrap, [new File([content], "image.png", {type: content.type})]);
    }

    /** Waits for an element in which a file can be chosen: a tab may be filled when it is first shown. */
    async function elementWithInput(selector) {
        for (;;) {
            const found = document.querySelector(selector);
            if (found?.querySelector('input[type="file"]')) return found;
            await new Promise(requestAnimationFrame);
        }
    }

    /** The fields above the history. `changed` is called once there is something else to look for. */
    class JobFilters {
        constructor(make, changed) {
            const later = () => {
                clearTimeout(this.timer);
                this.timer = setTimeout(changed, SEARCH_DELAY_MS);
            };
            const day = (label) => {
                const input = make("input", {type: "date", "aria-label": label, title: label});
                input.addEventListener("change", later);
                return input;
            };
            this.text = make("input", {type: "search", className: "jobs-search", placeholder: "Words in prompt or parameters", "aria-label": "Search past jobs"});
            this.text.addEventListener("input", later);
            this.model = make("select", {"aria-label": "Checkpoint"});
            this.model.addEventListener("change", later);
            this.since = day("From this day on");
            this.until = day("Up to this day");
            this.clear = make("button", {type: "button", textContent: "Clear", hidden: true});
            this.clear.addEventListener("click", () => {
                for (const field of [this.text, this.model, this.since, this.until]) field.value = "";
                this.text.focus();
                changed();
            });
            this.box = make("div", {className: "jobs-filters", role: "search"}, this.text,
                make("div", {className: "jobs-filter-row"}, this.model, this.since, make("span", {textContent: "–", "aria-hidden": "true"}), this.until, this.clear));
            this.offer([]);
        }

        /** Offers the checkpoints that jobs were made with. */
        offer(models) {
            const chosen = this.model.value;
            this.model.replaceChildren(new Option("All checkpoints", ""), ...models.map((name) => new Option(name, name)));
            if (models.includes(chosen)) this.model.value = chosen;
        }

        /** What the server is asked for. */
        get query() {
            const query = {text: this.text.value, model: this.model.value};
            if (this.since.value) query.since = beginOf(this.since.value);
            if (this.until.value) query.until = beginOf(this.until.value, 1);
            return query;
        }

        get isSet() {
            const isSet = [this.text, this.model, this.since, this.until].some((field) => field.value);
            this.clear.hidden = !isSet;
            return isSet;
        }
    }

    Object.assign(window, {JobFilters, sendPicture, jobDestinations: Object.keys(DESTINATIONS)});
}
