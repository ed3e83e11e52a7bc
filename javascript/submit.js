"use strict";
// Sending a tab's controls: what Generate and its siblings hand to the server, and the buttons that show while a job runs.
{
    /** The inputs of an event as an array. */
    function args_to_array(args) {
        return Array.from(args);
    }

    /** The arguments of a submit function as the list to send. */
    function create_submit_args(args) {
        return args_to_array(args);
    }

    function runButton(tabname, name) {
        return document.getElementById(`${tabname}_${name}`);
    }

    function setSubmitButtonsVisibility(tabname, showInterrupt, showSkip, showInterrupting) {
        const visible = {interrupt: showInterrupt, skip: showSkip, interrupting: showInterrupting};
        for (const [name, show] of Object.entries(visible)) {
            const button = runButton(tabname, name);
            if (button) button.style.display = show ? "block" : "none";
        }
    }

    /** The id of the job that each tab waits for. */
    const followed = {};

    function followedJob(tabname) {
        return followed[tabname] ?? null;
    }

    /** Shows that the job of a tab is being stopped; returns its id, as it may still wait. */
    function interruptJob(tabname) {
        window.showSubmitInterruptingPlaceholder(tabname);
        return followedJob(tabname);
    }

    /** Shows Generate, or Interrupt and Skip in its place. */
    function showSubmitButtons(tabname, show) {
        setSubmitButtonsVisibility(tabname, !show, !show, false);
    }

    function showSubmitInterruptingPlaceholder(tabname) {
        setSubmitButtonsVisibility(tabname, false, true, true);
    }

    function showRestoreProgressButton(tabname, show) {
        const button = runButton(tabname, "restore_progress");
        button?.style.setProperty("display", show ? "flex" : "none", "important");
    }

    /**
     * Follows a job of a tab; its id is kept in the browser, so that a reloaded page can find it again.
     * @param {string} tabname
     * @param {string} id
     * @param {number} [inactivityTimeout] see requestProgress
     */
    function followJob(tabname, id, inactivityTimeout) {
        showSubmitButtons(tabname, false);
        followed[tabname] = id;
        localSet(`${tabname}_task_id`, id);
        const container = document.getElementById(`${tabname}_gallery_container`);
        const atEnd = () => {
            if (followed[tabname] !== id) return; // another job has been started meanwhile
            showSubmitButtons(tabname, true);
            localRemove(`${tabname}_task_id`);
            showRestoreProgressButton(tabname, false);
        };
        window.requestProgress(id, container, document.getElementById(`${tabname}_gallery`), atEnd, null, inactivityTimeout);
    }

    /** The tab whose next click adds a job to the queue and goes on showing what it shows. */
    let addsToQueue = null;

    /** Asks for what stands in the form of a tab without waiting for it. */
    function addToQueue(tabname) {
        addsToQueue = tabname;
        runButton(tabname, "generate").click();
    }

    /** Returns the id of a new job of a tab, and follows it unless it is only added to the queue. */
    function newJob(tabname) {
        const id = window.randomId();
        if (addsToQueue === tabname) {
            addsToQueue = null;
            document.dispatchEvent(new CustomEvent("jobadded", {detail: id}));
        } else {
            followJob(tabname, id);
        }
        return id;
    }

    function submit(...args) {
        const id = newJob("txt2img");
        const values = create_submit_args(args);
        values[0] = id;
        return values;
    }

    function submit_txt2img_upscale(...args) {
        const values = window.submit(...args);
        values[2] = window.selected_gallery_index();
        return values;
    }

    function submit_img2img(...args) {
        const id = newJob("img2img");
        const values = create_submit_args(args);
        values[0] = id;
        values[1] = get_tab_index("mode_img2img");
        return values;
    }

    function submit_extras(...args) {
        const id = window.randomId();
        showSubmitButtons("extras", false);
        followed.extras = id;
        const container = document.getElementById("extras_gallery_container");
        window.requestProgress(id, container, document.getElementById("extras_gallery"), () => showSubmitButtons("extras", true));
        const values = create_submit_args(args);
        values[0] = id;
        values[1] = get_tab_index("mode_extras");
        return values;
    }

    /** Follows the job that ran when the page was reloaded, and has its result fetched. */
    function restoreProgress(tabname) {
        showRestoreProgressButton(tabname, false);
        const id = localGet(`${tabname}_task_id`);
        if (!id) return null;
        followJob(tabname, id, 0);
        return id;
    }

    function restoreProgressTxt2img() {
        return restoreProgress("txt2img");
    }

    function restoreProgressImg2img() {
        return restoreProgress("img2img");
    }

    /** Finds the job again that ran when the page was left: by itself, or once the user asks for it. */
    function findJobAgain(tabname) {
        const id = localGet(`${tabname}_task_id`);
        if (!id) return;
        const offer = () => showRestoreProgressButton(tabname, true);
        if (!currentOpts.restore_progress_by_itself) {
            offer();
            return;
        }
        const restore = ({active, queued, completed}) => {
            if (localGet(`${tabname}_task_id`) !== id) return; // the user has started another one
            if (active || queued || completed) runButton(tabname, "restore_progress").click();
            else localRemove(`${tabname}_task_id`);
        };
        request("./internal/progress", {id_task: id, live_preview: false}, restore, offer);
    }

    for (const tabname of ["txt2img", "img2img"]) {
        const ids = ["restore_progress", "gallery", "gallery_container", "interrupt"].map((name) => `${tabname}_${name}`);
        onElements(ids, () => findJobAgain(tabname));
    }

    window.args_to_array = args_to_array;
    Object.assign(window, {
        create_submit_args, setSubmitButtonsVisibility, showSubmitButtons, showSubmitInterruptingPlaceholder,
        showRestoreProgressButton, followedJob, interruptJob, addToQueue, submit, submit_txt2img_upscale,
        submit_img2img, submit_extras, restoreProgressTxt2img, restoreProgressImg2img
    });
}
