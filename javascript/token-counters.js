"use strict";
// The token counters of the prompts: counted by the server a moment after the last key press.
{
    const WAIT_MS = 800;

    /** Prompt element id -> function that counts it, and those for extensions' prompts. */
    const promptTokenCountUpdateFunctions = {};

    const counters = ["txt2img", "img2img"].flatMap((tab) => [
        {prompt: `${tab}_prompt`, counter: `${tab}_token_counter`, button: `${tab}_token_button`},
        {prompt: `${tab}_neg_prompt`, counter: `${tab}_negative_token_counter`, button: `${tab}_negative_token_button`},
    ]);

    function update_token_counter(button_id) {
        promptTokenCountUpdateFunctions[button_id]?.();
    }

    function update_txt2img_tokens(...args) {
        update_token_counter("txt2img_token_button");
        update_token_counter("txt2img_negative_token_button");
        return args.length === 2 ? args[0] : args;
    }

    function update_img2img_tokens(...args) {
        update_token_counter("img2img_token_button");
        update_token_counter("img2img_negative_token_button");
        return args.length === 2 ? args[0] : args;
    }

    function recalculatePromptTokens(name) {
        promptTokenCountUpdateFunctions[name]?.();
    }

    function recalculate_prompts_txt2img(...args) {
        recalculatePromptTokens("txt2img_prompt");
        recalculatePromptTokens("txt2img_neg_prompt");
        return args;
    }

    function recalculate_prompts_img2img(...args) {
        recalculatePromptTokens("img2img_prompt");
        recalculatePromptTokens("img2img_neg_prompt");
        return args;
    }

    /** Moves a counter to its prompt and has it count, also what is in the prompt already. */
    function setupTokenCounting(id, id_counter, id_button) {
        const prompt = document.getElementById(id);
        const counter = document.getElementById(id_counter);
        const textarea = prompt?.querySelector("textarea");
        if (!textarea || !counter || counter.parentElement === prompt.parentElement) return;
        prompt.parentElement.insertBefore(counter, prompt);
        prompt.parentElement.style.position = "relative";
        const count = () => {
            if (counter.classList.contains("token-counter-visible")) document.getElementById(id_button)?.click();
        };
        const update = onEdit(id, textarea, WAIT_MS, count);
        promptTokenCountUpdateFunctions[id] = promptTokenCountUpdateFunctions[id_button] = update;
        if (textarea.value) updateInput(textarea); // a text that the browser put back, Gradio has not heard of
    }

    function toggleTokenCountingVisibility(id, id_counter) {
        const counter = document.getElementById(id_counter);
        counter?.style.setProperty("display", currentOpts.disable_token_counters ? "none" : "block", "important");
        counter?.classList.toggle("token-counter-visible", !currentOpts.disable_token_counters);
    }

    function runCodeForTokenCounters(fun) {
        for (const {prompt, counter, button} of counters) fun(prompt, counter, button);
    }

    runCodeForTokenCounters((...ids) => onElements(ids, () => {
        toggleTokenCountingVisibility(...ids);
        setupTokenCounting(...ids);
    }));
    onOptionsChanged(() => runCodeForTokenCounters(toggleTokenCountingVisibility));

    Object.assign(window, {
        promptTokenCountUpdateFunctions, update_txt2img_tokens, update_img2img_tokens, update_token_counter,
        recalculatePromptTokens, recalculate_prompts_txt2img, recalculate_prompts_img2img, setupTokenCounting,
        toggleTokenCountingVisibility, runCodeForTokenCounters
    });
    // The buttons that paste into the inpaint mode name this one.
    window.recalculate_prompts_inpaint = recalculate_prompts_img2img;
}
