"use strict";
// Pictures and texts that are dropped or pasted: onto a prompt to read their parameters, onto a picture to replace it.
{
    const PICTURE_TYPES = ["image/png", "image/gif", "image/jpeg", "image/webp", "image/avif"];
    const IMAGE_INPUT = '[data-testid="image"]';
    const OWN_DROP_TARGETS = ".gradio-file, .gradio-imageeditor, .gradio-audio, .gradio-video, .gradio-gallery, textarea, input";

    /** Whether a list of files is one picture. */
    function isValidImageList(files) {
        return files?.length === 1 && PICTURE_TYPES.includes(files[0].type);
    }

    function eventHasFiles(e) {
        return Array.from(e.dataTransfer?.types ?? []).includes("Files");
    }

    function isURL(url) {
        try {
            return ["http:", "https:", "data:", "blob:"].includes(new URL(url).protocol);
        } catch {
            return false;
        }
    }

    function dragDropTargetIsPrompt(target) {
        if (target?.placeholder?.includes("Prompt")) return true;
        return (target?.parentNode?.parentNode?.className?.indexOf?.("prompt") ?? -1) > 0;
    }

    /** Chooses files in a file field, as if the user had. */
    function setFiles(input, files) {
        const transfer = new DataTransfer();
        for (const file of files) transfer.items.add(file);
        input.files = transfer.files;
        input.dispatchEvent(new Event("change"));
    }

    /**
     * Gives image files that a script has put into a file field their type. Those made of a name and contents have none,
     * and Gradio refuses what does not say that it is an image.
     */
    function typeImageFiles(event) {
        const input = event.target;
        if (event.isTrusted || input.type !== "file" || !input.accept.includes("image")) return;
        const files = Array.from(input.files);
        if (files.every((file) => file.type)) return;
        const transfer = new DataTransfer();
        for (const file of files) {
            const ending = file.name.split(".").pop().toLowerCase().replace("jpg", "jpeg");
            const type = PICTURE_TYPES.find((name) => name.endsWith(`/${ending}`)) ?? "image/png";
            transfer.items.add(file.type ? file : new File([file], file.name, {type}));
        }
        input.files = transfer.files;
    }

    /** Puts a picture into an image input in place of the one it shows. */
    function dropReplaceImage(imgWrap, files) {
        if (!isValidImageList(files)) return;
        const input = imgWrap.querySelector('input[type="file"]');
        if (input) setFiles(input, files);
    }

    /** The hidden field of a prompt: what is chosen there has its parameters read into the prompt. */
    function promptFileInput() {
        const tab = get_uiCurrentTabContent()?.id === "tab_img2img" ? "img2img" : "txt2img";
        return gradioApp().querySelector(`#${tab}_prompt_image input[type="file"]`);
    }

    function droppedURL(data) {
        const url = data.getData("text/uri-list") || data.getData("text/plain");
        return isURL(url) ? url : null;
    }

    async function readURL(url) {
        const response = await fetch(url);
        if (!response.ok) {
            console.error(`Could not fetch ${url}: status ${response.status}`);
            return;
        }
        const content = await response.blob();
        setFiles(promptFileInput(), [new File([content], "image.png", {type: content.type})]);
    }

    /** Reads what was dropped onto a prompt; tells whether it is anything to read. */
    function dropOnPrompt(data) {
        if (data.files.length) {
            setFiles(promptFileInput(), [data.files[0]]);
            return true;
        }
        const url = droppedURL(data);
        if (url) readURL(url).catch((e) => console.error(`Could not fetch ${url}: ${e}`));
        return Boolean(url);
    }

    /** The image inputs that are shown, those scrolled into view first. */
    function visibleImageInputs() {
        const inputs = Array.from(gradioApp().querySelectorAll(IMAGE_INPUT)).filter(uiElementIsVisible);
        return [...inputs.filter(uiElementInSight), ...inputs.filter((input) => !uiElementInSight(input))];
    }

    /** A picture that was dropped beside everything: on a generation tab its parameters are read, else it is shown. */
    function dropOnTab(data) {
        if (!isValidImageList(data.files)) return false;
        const tab = get_uiCurrentTabContent()?.id;
        if (tab === "tab_txt2img" || tab === "tab_img2img") return dropOnPrompt(data);
        const [input] = visibleImageInputs();
        if (input) dropReplaceImage(input, data.files);
        return Boolean(input);
    }

    /** Does with a drop what its place asks for; tells whether it was dealt with. */
    function drop(event) {
        const target = event.composedPath()[0];
        const data = event.dataTransfer;
        if (dragDropTargetIsPrompt(target)) return dropOnPrompt(data);
        const imageInput = target.closest?.(IMAGE_INPUT);
        if (imageInput && isValidImageList(data.files)) {
            dropReplaceImage(imageInput, data.files);
            return true;
        }
        return !imageInput && !target.closest?.(OWN_DROP_TARGETS) && dropOnTab(data);
    }

    function pastePicture(event) {
        const files = event.clipboardData?.files;
        if (!isValidImageList(files)) return;
        const inputs = visibleImageInputs();
        const input = inputs.find((candidate) => !candidate.querySelector("img")) ?? inputs.at(-1);
        if (!input) return;
        event.preventDefault();
        dropReplaceImage(input, files);
    }

    document.addEventListener("dragover", (event) => {
        const target = event.composedPath()[0];
        if (!eventHasFiles(event) && !dragDropTargetIsPrompt(target)) return;
        if (eventHasFiles(event) && target.closest?.(".gradio-file, .gradio-imageeditor")) return;
        if (eventHasFiles(event)) event.preventDefault();
        event.dataTransfer.dropEffect = "copy";
    });
    document.addEventListener("drop", (event) => {
        if (!drop(event)) return;
        event.preventDefault();
        event.stopPropagation();
    }, true);
    document.addEventListener("change", typeImageFiles, true);
    window.addEventListener("paste", pastePicture);

    Object.assign(window, {isValidImageList, dropReplaceImage, eventHasFiles, isURL, dragDropTargetIsPrompt});
}
