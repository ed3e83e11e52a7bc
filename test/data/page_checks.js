"use strict";
// What scripts of extensions expect of the names they use most: name -> a function that returns whether it does that.
{
    /** Whether something comes true within 20 seconds. */
    async function until(isTrue) {
        for (let i = 0; i < 400; i += 1) {
            if (isTrue()) return true;
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
        return false;
    }

    const byId = (id) => document.getElementById(id);
    const isShown = (tab) => until(() => get_uiCurrentTabContent().id === `tab_${tab}`);
    const showsMode = (mode) => until(() => get_tab_index("mode_img2img") === mode);
    const calls = () => window.own_tab_calls;

    window.pageChecks = {
        gradioApp: () => gradioApp().getElementById("txt2img_prompt") === gradioApp().querySelector("#txt2img_prompt"),
        onUiLoaded: () => calls().filter((call) => call === "loaded").length === 1,
        onUiUpdate: () => calls().includes("update") && !calls().includes("no records"),
        onAfterUiUpdate: () => until(() => calls().includes("after update")),
        onUiTabChange() {
            switch_to_img2img();
            return until(() => calls().includes("tab_img2img"));
        },
        get_uiCurrentTabContent: () => get_uiCurrentTabContent().matches("#tabs > .tabitem[style='display: block;']"),
        switch_to_txt2img() {
            switch_to_txt2img();
            return isShown("txt2img");
        },
        async switch_to_img2img() {
            switch_to_img2img();
            return await isShown("img2img") && await showsMode(0);
        },
        async switch_to_img2img_tab() {
            switch_to_img2img_tab(2);
            return await isShown("img2img") && await showsMode(2);
        },
        updateInput() {
            const field = document.createElement("input");
            document.body.append(field);
            let heard = null;
            document.body.addEventListener("input", ({target}) => (heard = target), {once: true});
            updateInput(field);
            field.remove();
            return heard === field;
        },
        opts: () => opts.own_number === 3 && opts.samples_format === "png",
        async selected_gallery_index() {
            switch_to_txt2img();
            await isShown("txt2img");
            const thumbnails = () => [...document.querySelectorAll("#txt2img_gallery .thumbnail-small")];
            if (!await until(() => thumbnails().length > 1)) return false;
            thumbnails()[1].click();
            return until(() => selected_gallery_index() === 1);
        },
        create_submit_args: () => create_submit_args([1, "a", [2], true]).join() === "1,a,2,true",
        args_to_array: () => Array.isArray(args_to_array({length: 2, 0: "a", 1: "b"})),
        randomId: () => /^task\([a-z0-9]+\)$/.test(randomId()),
        requestProgress() {
            const [container, gallery] = ["txt2img_gallery_container", "txt2img_gallery"].map(byId);
            return new Promise((resolve) => requestProgress("task(none)", container, gallery, () => resolve(true), null, 0.1));
        },
        inputAccordionChecked() {
            const accordion = byId("script_txt2img_always_on_enabled");
            inputAccordionChecked(accordion.id, true);
            const isOpen = () => accordion.querySelector(".label-wrap").classList.contains("open");
            return until(() => isOpen() && document.querySelector(`#${accordion.id}-checkbox input`).checked);
        },
        async titles() {
            window.titles = {...titles, Sorbet: "cold"};
            const button = document.createElement("button");
            button.textContent = "Sorbet";
            byId("tab_txt2img").append(button);
            const hasTooltip = await until(() => button.title === "cold");
            button.remove();
            return hasTooltip;
        },
        getTranslation: () => getTranslation("no such text") === undefined,
        showSubmitButtons() {
            const display = () => byId("txt2img_interrupt").style.display;
            showSubmitButtons("txt2img", false);
            const during = display();
            showSubmitButtons("txt2img", true);
            return during === "block" && display() === "none";
        },
        async activePromptTextarea() {
            switch_to_txt2img();
            await isShown("txt2img");
            const field = document.querySelector("#txt2img_neg_prompt textarea");
            field.focus();
            return until(() => activePromptTextarea.txt2img === field);
        },
        gradio_config: () => gradio_config.components.some(({props}) => props.elem_id === "txt2img_prompt"),
        selectCheckpoint() {
            selectCheckpoint(opts.sd_model_checkpoint);
            return until(() => window.desiredCheckpointName === null);
        },
        async submit_img2img() {
            switch_to_img2img_tab(0);
            await showsMode(0);
            const [id, mode, value] = submit_img2img("", 9, "x");
            showSubmitButtons("img2img", true);
            localRemove("img2img_task_id");
            return id.startsWith("task(") && mode === 0 && value === "x";
        },
    };
}
