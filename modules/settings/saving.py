"""state: settings rows of which pictures are saved, where, and in what form."""

from __future__ import annotations

import os

from modules import util
from modules.options import OptionInfo, options_section
from modules.paths_internal import data_path
from modules.settings.widgets import choices, hide_dirs, slider


def in_data_dir(*parts: str) -> str:
    """Default of a folder under the data directory: relative where the program runs in it, so that it can be moved."""
    return util.truncate_path(os.path.join(data_path, *parts))


sections = [
    options_section(
        ("saving-images", "Saving images/grids", "saving"),
        {
            "samples_save": OptionInfo(True, "Write every generated image to disk"),
            "samples_format": OptionInfo("png", "Extension for saved images; also format of API base64 output"),
            "samples_filename_pattern": OptionInfo(
                "", "Filename pattern; empty means seed-based default", component_args=hide_dirs
            ),
            "save_images_add_number": OptionInfo(
                True, "Prefix filenames with a sequence number", component_args=hide_dirs
            ),
            "save_images_replace_action": OptionInfo(
                "Replace",
                "Overwrite existing file, or append -N",
                "Radio",
                choices("Replace", "Add number suffix", **hide_dirs),
            ),
            "grid_save": OptionInfo(True, "Write image grids to disk"),
            "grid_format": OptionInfo("png", "Extension for saved grids"),
            "grid_extended_filename": OptionInfo(False, "Use filename pattern for grids too"),
            "grid_only_if_multiple": OptionInfo(True, "Skip grid when fewer than two images"),
            "grid_prevent_empty_spots": OptionInfo(False, "Auto row count must divide image count"),
            "grid_zip_filename_pattern": OptionInfo(
                "", "Filename pattern of the zip made by Save-zip", component_args=hide_dirs
            ),
            "n_rows": OptionInfo(-1, "Grid rows: -1 auto, 0 equals batch size", "Slider", slider(-1, 16, 1)),
            "font": OptionInfo("", "Truetype font path for grid text; empty uses bundled Roboto"),
            "grid_text_active_color": OptionInfo("#000000", "Grid label color", "FormColorPicker"),
            "grid_text_inactive_color": OptionInfo(
                "#999999", "Grid label color for inactive labels", "FormColorPicker"
            ),
            "grid_background_color": OptionInfo("#ffffff", "Grid canvas color", "FormColorPicker"),
            "save_images_before_face_restoration": OptionInfo(False, "Also save image before face restoration"),
            "save_images_before_highres_fix": OptionInfo(False, "Also save first-pass image before hires pass"),
            "save_images_before_color_correction": OptionInfo(
                False, "Also save img2img result before color correction"
            ),
            "save_mask": OptionInfo(False, "Also save inpaint mask image"),
            "save_mask_composite": OptionInfo(False, "Also save inpaint result cut out by mask"),
            "jpeg_quality": OptionInfo(
                80, "Quality passed to every PIL save (jpg, webp, avif)", "Slider", slider(1, 100, 1)
            ),
            "webp_lossless": OptionInfo(False, "Lossless webp"),
            "export_for_4chan": OptionInfo(True, "Write extra JPG when file or dimensions exceed limits"),
            "img_downscale_threshold": OptionInfo(4.0, "File size limit in MB for extra JPG", "Number"),
            "target_side_length": OptionInfo(4000, "Side length limit for extra JPG and its target size"),
            "img_max_size_mp": OptionInfo(200, "Largest XYZ grid allowed, megapixels"),
            "use_original_name_batch": OptionInfo(True, "Extras outputs keep source file name"),
            "use_upscaler_name_as_suffix": OptionInfo(False, "Declared but not read"),
            "save_selected_only": OptionInfo(True, "Save button stores only selected image"),
            "save_write_log_csv": OptionInfo(True, "Save button appends a row to log.csv"),
            "save_init_img": OptionInfo(False, "Save img2img inputs under their MD5 name"),
            "temp_dir": OptionInfo("", "Directory for gradio temp images; empty means default"),
            "clean_temp_dir_at_start": OptionInfo(False, "Delete PNGs in temp_dir at UI start"),
            "save_incomplete_images": OptionInfo(False, "Save images even when interrupted or skipped"),
            "notification_audio": OptionInfo(True, "Play notification.mp3 when results appear").needs_reload_ui(),
            "notification_volume": OptionInfo(100, "Notification volume percent", "Slider", slider(0, 100, 1)),
        },
    ),
    options_section(
        ("saving-paths", "Paths for saving", "saving"),
        {
            "outdir_samples": OptionInfo(
                "", "Single output dir overriding the three below when non-empty", component_args=hide_dirs
            ),
            "outdir_txt2img_samples": OptionInfo(
                in_data_dir("outputs", "txt2img-images"), "txt2img image directory", component_args=hide_dirs
            ),
            "outdir_img2img_samples": OptionInfo(
                in_data_dir("outputs", "img2img-images"), "img2img image directory", component_args=hide_dirs
            ),
            "outdir_extras_samples": OptionInfo(
                in_data_dir("outputs", "extras-images"), "Extras image directory", component_args=hide_dirs
            ),
            "outdir_grids": OptionInfo(
                "", "Single grid dir overriding the two below when non-empty", component_args=hide_dirs
            ),
            "outdir_txt2img_grids": OptionInfo(
                in_data_dir("outputs", "txt2img-grids"), "txt2img grid directory", component_args=hide_dirs
            ),
            "outdir_img2img_grids": OptionInfo(
                in_data_dir("outputs", "img2img-grids"), "img2img grid directory", component_args=hide_dirs
            ),
            "outdir_save": OptionInfo(
                in_data_dir("log", "images"), "Directory used by Save and Save-zip buttons", component_args=hide_dirs
            ),
            "outdir_init_images": OptionInfo(
                in_data_dir("outputs", "init-images"), "Directory for saved init images", component_args=hide_dirs
            ),
        },
    ),
    options_section(
        ("saving-to-dirs", "Saving to a directory", "saving"),
        {
            "save_to_dirs": OptionInfo(True, "Put images into pattern subdirectories"),
            "grid_save_to_dirs": OptionInfo(True, "Put grids into pattern subdirectories"),
            "use_save_to_dirs_for_ui": OptionInfo(False, "Save button also uses subdirectories"),
            "directories_filename_pattern": OptionInfo("[date]", "Subdirectory name pattern", component_args=hide_dirs),
            "directories_max_prompt_words": OptionInfo(
                8, "Word cap for the prompt_words token", "Slider", slider(1, 20, 1, **hide_dirs)
            ),
        },
    ),
]
