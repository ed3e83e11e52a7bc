"use strict";
// Greys out the sliders of Hires. fix that do not count for the size.
{
    function setInactive(id, isInactive) {
        gradioApp().getElementById(id)?.classList.toggle("inactive", Boolean(isInactive));
    }

    /** Called with the values of the controls; gives them back unchanged. */
    function onCalcResolutionHires(enable, width, height, hr_scale, hr_resize_x, hr_resize_y) {
        const isOld = currentOpts.use_old_hires_fix_width_height;
        setInactive("txt2img_hr_scale", isOld || hr_resize_x > 0 || hr_resize_y > 0);
        setInactive("txt2img_hr_resize_x", isOld || hr_resize_x === 0);
        setInactive("txt2img_hr_resize_y", isOld || hr_resize_y === 0);
        const row = gradioApp().getElementById("txt2img_hires_fix_row2");
        if (row) row.style.display = isOld ? "none" : "";
        return [enable, width, height, hr_scale, hr_resize_x, hr_resize_y];
    }

    onElements(["txt2img_hr_scale", "txt2img_hr_resize_x", "txt2img_hr_resize_y", "txt2img_hires_fix_row2"], () => {
        onCalcResolutionHires(false, 0, 0, 2, 0, 0);
    });

    Object.assign(window, {onCalcResolutionHires});
}
