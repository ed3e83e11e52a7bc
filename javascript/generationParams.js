"use strict";
// Shows the infotext of the picture that is selected in the results of a tab.
{
    function showInfotext(tab_name) {
        document.getElementById(`${tab_name}_generation_info_button`)?.click();
    }

    /** Has the infotext follow the gallery of a tab; returns the gallery. */
    function attachGalleryListeners(tab_name) {
        const gallery = document.getElementById(`${tab_name}_gallery`);
        gallery?.addEventListener("click", () => setTimeout(() => showInfotext(tab_name)));
        gallery?.addEventListener("keydown", (event) => {
            if (event.key === "ArrowLeft" || event.key === "ArrowRight") setTimeout(() => showInfotext(tab_name));
        });
        return gallery;
    }

    window.txt2img_gallery = undefined;
    window.img2img_gallery = undefined;
    Object.assign(window, {attachGalleryListeners});

    for (const tab of ["txt2img", "img2img"]) {
        onElements([`${tab}_gallery`], () => {
            window[`${tab}_gallery`] = attachGalleryListeners(tab);
        });
    }
}
