"use strict";
// Progress of a task: the bar above its results, the page's title, and the live preview in its gallery.
{
    let originalAppTitle = null;
    const DEFAULT_PERIOD_MS = 500;

    function pad2(x) {
        return x < 10 ? `0${x}` : x;
    }

    /** Seconds as HH:MM:SS, MM:SS or Ns. */
    function formatTime(secs) {
        if (secs > 3600) return `${pad2(Math.floor(secs / 3600))}:${pad2(Math.floor(secs / 60) % 60)}:${pad2(Math.floor(secs) % 60)}`;
        if (secs > 60) return `${pad2(Math.floor(secs / 60))}:${pad2(Math.floor(secs) % 60)}`;
        return `${Math.floor(secs)}s`;
    }

    /** Puts progress in front of the page's title, if the user wants it there. */
    function setTitle(progress) {
        originalAppTitle ??= document.title;
        const title = currentOpts.show_progress_in_title && progress ? `[${progress.trim()}] ${originalAppTitle}` : originalAppTitle;
        if (document.title !== title) document.title = title;
    }

    function randomId() {
        const piece = () => Math.random().toString(36).slice(2, 7);
        return `task(${piece()}${piece()}${piece()})`;
    }

    /** Keeps the screen on while a task runs. */
    class ScreenLock {
        #lock = null;

        async acquire() {
            if (this.#lock || !currentOpts.prevent_screen_sleep_during_generation || !navigator.wakeLock) return;
            try {
                this.#lock = await navigator.wakeLock.request("screen");
            } catch (e) {
                console.warn(`no screen wake lock: ${e}`);
            }
        }

        async release() {
            await this.#lock?.release();
            this.#lock = null;
        }
    }

    /** One task that is watched until it ends or the server forgets it. */
    class ProgressWatch {
        /** options: see requestProgress. */
        constructor(options) {
            Object.assign(this, options);
            this.started = Date.now();
            this.wasActive = false;
            this.screen = new ScreenLock();
            this.bar = document.createElement("div");
            this.bar.className = "progress";
            this.box = document.createElement("div");
            this.box.className = "progressDiv";
            this.box.setAttribute("role", "progressbar");
            this.box.setAttribute("aria-label", "Progress of the generation");
            this.box.style.display = currentOpts.show_progressbar ? "block" : "none";
            this.box.append(this.bar);
            this.container.parentNode.insertBefore(this.box, this.container);
        }

        get period() {
            return currentOpts.live_preview_refresh_period || DEFAULT_PERIOD_MS;
        }

        end() {
            if (!this.box) return;
            this.screen.release();
            setTitle("");
            this.box.remove();
            this.preview?.remove();
            this.box = this.preview = null;
            this.atEnd();
            document.dispatchEvent(new CustomEvent("jobended", {detail: this.id}));
        }

        askStatus() {
            if (!this.box) return;
            this.screen.acquire();
            const failed = () => this.end();
            request("./internal/progress", {id_task: this.id, live_preview: false}, (answer) => this.showStatus(answer), failed);
        }

        showStatus(answer) {
            if (!this.box) return;
            if (answer.completed) {
                this.end();
                return;
            }
            this.drawBar(answer);
            this.wasActive ||= answer.active;
            const elapsed = (Date.now() - this.started) / 1000;
            const isGone = this.wasActive || elapsed > this.inactivityTimeout;
            if (isGone && !answer.active && !answer.queued) {
                this.end();
                return;
            }
            this.onProgress?.(answer);
            setTimeout(() => this.askStatus(), this.period);
        }

        drawBar(answer) {
            const share = answer.progress ?? 0;
            const percent = Math.round(share * 100);
            let text = share > 0 ? `${percent}%` : "";
            if (answer.eta) text += ` ETA: ${formatTime(answer.eta)}`;
            setTitle(text);
            if (answer.textinfo && !answer.textinfo.includes("\n")) text = `${answer.textinfo} ${text}`;
            this.bar.style.width = `${share * 100}%`;
            this.bar.style.background = share > 0 ? "" : "transparent";
            this.bar.dataset.text = this.box.dataset.text = text;
            this.box.setAttribute("aria-valuenow", percent);
            this.box.setAttribute("aria-valuetext", text || "Waiting");
        }

        askPreview(lastId) {
            if (!this.box) return;
            const data = {id_task: this.id, id_live_preview: lastId};
            request("./internal/progress", data, (answer) => this.showPreview(answer), () => this.end());
        }

        showPreview(answer) {
            if (!this.box) return;
            if (answer.live_preview && this.gallery) {
                const image = new Image();
                image.alt = "Preview of the running generation";
                image.onload = () => this.addPreviewImage(image);
                image.src = answer.live_preview;
            }
            setTimeout(() => this.askPreview(answer.id_live_preview), this.period);
        }

        /** Adds a picture on top of the last one, which goes only when the next is painted: no flicker. */
        addPreviewImage(image) {
            if (!this.box) return;
            if (!this.preview) {
                this.preview = document.createElement("div");
                this.preview.className = "livePreview";
                this.gallery.insertBefore(this.preview, this.gallery.firstElementChild);
            }
            this.preview.append(image);
            if (this.preview.childElementCount > 2) this.preview.firstElementChild.remove();
        }
    }

    /**
     * Shows the progress of a task until it ends.
     * @param {string} id_task the id the task was sent with
     * @param {Element} progressbarContainer the bar is put before it
     * @param {Element|null} gallery gets the live preview
     * @param {Function} atEnd called once, when the task has ended or can't be followed any longer
     * @param {Function} [onProgress] called with every answer
     * @param {number} [inactivityTimeout] seconds to wait for a task that the server doesn't know yet
     */
    function requestProgress(id_task, progressbarContainer, gallery, atEnd, onProgress, inactivityTimeout = 40) {
        const watch = new ProgressWatch({id: id_task, container: progressbarContainer, gallery, atEnd, onProgress, inactivityTimeout});
        watch.askStatus();
        if (gallery) watch.askPreview(0);
    }

    // Names of older versions, which extensions still call: the gallery keeps its selection by itself.
    function rememberGallerySelection() {}

    function getGallerySelectedIndex() {}

    Object.assign(window, {
        pad2, formatTime, setTitle, randomId, requestProgress,
        rememberGallerySelection, getGallerySelectedIndex
    });
}
