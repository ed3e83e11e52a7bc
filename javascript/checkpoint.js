"use strict";
// The checkpoint in the footer follows the model that the server has loaded, also one that is loaded after the page.
{
    const WAIT_MS = 1000;

    let timer = null;
    let wasMissing = false;

    function showCheckpoint() {
        const link = document.getElementById("sd_checkpoint_hash");
        const hash = currentOpts.sd_checkpoint_hash ?? "";
        if (!link) return;
        link.textContent = hash.slice(0, 10) || "N/A";
        link.title = hash;
        if (hash) link.href = `https://google.com/search?q=${hash}`;
        else link.removeAttribute("href");
    }

    function takeCheckpoint({hash}) {
        if (!hash) {
            wasMissing = true;
            timer = setTimeout(askForCheckpoint, WAIT_MS);
            return;
        }
        currentOpts.sd_checkpoint_hash = hash;
        showCheckpoint();
        if (!wasMissing) return;
        wasMissing = false;
        recalculate_prompts_txt2img(); // what was typed while there was no text encoder has not been counted
        recalculate_prompts_img2img();
    }

    /** Asks the server for the loaded checkpoint, until there is one. */
    function askForCheckpoint() {
        clearTimeout(timer);
        requestGet("./internal/checkpoint", {}, takeCheckpoint, () => {});
    }

    onOptionsChanged(showCheckpoint);
    onElements(["sd_checkpoint_hash"], () => {
        showCheckpoint();
        askForCheckpoint();
    });
    document.addEventListener("visibilitychange", () => document.hidden || askForCheckpoint());

    Object.assign(window, {askForCheckpoint});
}
