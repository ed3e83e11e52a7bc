// What scripts of tabs do: wait for the page, hear of its changes, ask the server, send to other tabs.
window.own_tab_calls = [];

/** Asks the server through a hidden field and button; the answer comes in another field. */
async function own_tab_ask(text) {
    const answer = gradioApp().querySelector("#own_tab_answer textarea");
    const heard = gradioApp().querySelector("#own_tab_heard textarea");
    heard.value = text;
    heard.dispatchEvent(new Event("input"));
    gradioApp().getElementById("own_tab_ask").click();
    while (!answer.value.startsWith(text)) await new Promise((resolve) => setTimeout(resolve, 50));
    return answer.value;
}

function own_tab_send(text) {
    const prompt = gradioApp().querySelector("#txt2img_prompt textarea");
    prompt.value = text;
    updateInput(prompt);
    switch_to_txt2img();
    return [];
}

onUiLoaded(() => {
    gradioApp().querySelector("#own_tab_box").classList.add("seen");
    window.own_tab_calls.push("loaded");
    window.own_tab_between_columns = document.getElementById("txt2img_results").previousElementSibling.className;
});
document.addEventListener("DOMContentLoaded", () => {
    // Another way to wait for the page: until the settings are there.
    new MutationObserver((_, observer) => {
        if (window.opts?.own_number === undefined) return;
        observer.disconnect();
        window.own_tab_switches = gradioApp().querySelectorAll("#txt2img_res_switch_btn, #img2img_res_switch_btn").length;
    }).observe(gradioApp(), {childList: true, subtree: true});
});
onUiUpdate((records) => window.own_tab_calls.push(records[0] instanceof MutationRecord ? "update" : "no records"));
onAfterUiUpdate(() => window.own_tab_calls.push("after update"));
onUiTabChange(() => window.own_tab_calls.push(get_uiCurrentTabContent().id));
onOptionsChanged(() => window.own_tab_calls.push(`options ${opts.own_number}`));

Object.assign(window, {own_tab_ask, own_tab_send});
