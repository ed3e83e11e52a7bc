"""state: settings rows of which images are saved, where, and in what form."""

from __future__ import annotations

import os

from modules import util
from modules.options import OptionInfo, options_section
from modules.paths_internal import data_path
from modules.settings.widgets import choices, hide_dirs, slider


def in_data_dir(*parts: str) -> str:
    """Returns the default of a folder under the data directory: relative where the program runs in it, so that it can
    be moved.
    """
    return util.truncate_path(os.path.join(data_path, *parts))


sections = [
    options_section(
        ("saving-images", "Saving images/grids", "saving"),
        {
            "samples_save": OptionInfo(True, "Save every picture"),
            "samples_format": OptionInfo("png", "File format of pictures").info(
                "png, jpg, webp or avif; also the format of the API's pictures"
            ),
            "samples_filename_pattern": OptionInfo("", "Pattern of file names", component_args=hide_dirs).info(
                "empty: [seed], and without subfolders [seed]-[prompt_spaces]"
            ),
            "save_images_add_number": OptionInfo(
                True, "Begin file names with a running number", component_args=hide_dirs
            ),
            "save_images_replace_action": OptionInfo(
                "Replace",
                "If a file of the same name exists",
                "Radio",
                choices("Replace", "Add number suffix", **hide_dirs),
            ),
            "grid_save": OptionInfo(True, "Save every grid"),
            "grid_format": OptionInfo("png", "File format of grids"),
            "grid_extended_filename": OptionInfo(False, "Name grids by the pattern of pictures too"),
            "grid_only_if_multiple": OptionInfo(True, "Make no grid of a single picture"),
            "grid_prevent_empty_spots": OptionInfo(False, "Choose the rows of a grid so that no place stays empty"),
            "grid_zip_filename_pattern": OptionInfo("", "Pattern of names of zip archives", component_args=hide_dirs),
            "n_rows": OptionInfo(-1, "Rows of a grid", "Slider", slider(-1, 16, 1)).info(
                "-1: as square as possible, 0: the batch size"
            ),
            "font": OptionInfo("", "Font file for text in grids").info("empty: the one that comes with the program"),
            "grid_text_active_color": OptionInfo("#000000", "Colour of text in grids", "FormColorPicker"),
            "grid_text_inactive_color": OptionInfo(
                "#999999", "Colour of text in grids that stands for what is switched off", "FormColorPicker"
            ),
            "grid_background_color": OptionInfo("#ffffff", "Background of grids", "FormColorPicker"),
            "save_images_before_face_restoration": OptionInfo(False, "Also save the picture before face restoration"),
            "save_images_before_highres_fix": OptionInfo(
                False, "Also save the picture of the first pass before the hires pass"
            ),
            "save_images_before_color_correction": OptionInfo(
                False, "Also save the img2img result before colour correction"
            ),
            "save_mask": OptionInfo(False, "Also save the mask of inpainting"),
            "save_mask_composite": OptionInfo(False, "Also save what inpainting painted, cut out by the mask"),
            "jpeg_quality": OptionInfo(80, "Quality of JPEG, WebP and AVIF files", "Slider", slider(1, 100, 1)),
            "webp_lossless": OptionInfo(False, "Save WebP without loss"),
            "export_for_4chan": OptionInfo(True, "Save a JPEG copy of pictures that are too large"),
            "img_downscale_threshold": OptionInfo(
                4.0, "File size above which a picture gets a JPEG copy", "Number"
            ).info("MB"),
            "target_side_length": OptionInfo(
                4000, "Side length above which a picture gets a JPEG copy, shrunk to it"
            ).info("pixels"),
            "img_max_size_mp": OptionInfo(200, "Largest grid of the X/Y/Z plot").info("megapixels"),
            "use_original_name_batch": OptionInfo(True, "Keep the file name of the source in Extras"),
            "use_upscaler_name_as_suffix": OptionInfo(False, "Append the upscaler's name to file names in Extras").info(
                "has no effect"
            ),
            "save_selected_only": OptionInfo(True, "The Save button saves only the selected picture"),
            "save_write_log_csv": OptionInfo(True, "The Save button adds a line to log.csv"),
            "save_init_img": OptionInfo(False, "Save the source pictures of img2img"),
            "temp_dir": OptionInfo("", "Folder of temporary pictures").info("empty: that of the system"),
            "clean_temp_dir_at_start": OptionInfo(False, "Empty the folder of temporary pictures at the start"),
            "save_incomplete_images": OptionInfo(False, "Save pictures of jobs that were interrupted or skipped"),
            "notification_audio": OptionInfo(True, "Play a sound when a job is done")
            .info("notification.mp3 in the folder of the program")
            .needs_reload_ui(),
            "notification_volume": OptionInfo(100, "Volume of the sound", "Slider", slider(0, 100, 1)).info("%"),
        },
    ),
    options_section(
        ("saving-paths", "Paths for saving", "saving"),
        {
            "outdir_samples": OptionInfo("", "Folder of all pictures", component_args=hide_dirs).info(
                "empty: the three folders below"
            ),
            "outdir_txt2img_samples": OptionInfo(
                in_data_dir("outputs", "txt2img-images"), "Folder of txt2img pictures", component_args=hide_dirs
            ),
            "outdir_img2img_samples": OptionInfo(
                in_data_dir("outputs", "img2img-images"), "Folder of img2img pictures", component_args=hide_dirs
            ),
            "outdir_extras_samples": OptionInfo(
                in_data_dir("outputs", "extras-images"), "Folder of Extras pictures", component_args=hide_dirs
            ),
            "outdir_grids": OptionInfo("", "Folder of all grids", component_args=hide_dirs).info(
                "empty: the two folders below"
            ),
            "outdir_txt2img_grids": OptionInfo(
                in_data_dir("outputs", "txt2img-grids"), "Folder of txt2img grids", component_args=hide_dirs
            ),
            "outdir_img2img_grids": OptionInfo(
                in_data_dir("outputs", "img2img-grids"), "Folder of img2img grids", component_args=hide_dirs
            ),
            "outdir_save": OptionInfo(
                in_data_dir("log", "images"), "Folder of pictures saved with the Save button", component_args=hide_dirs
            ),
            "outdir_init_images": OptionInfo(
                in_data_dir("outputs", "init-images"), "Folder of source pictures of img2img", component_args=hide_dirs
            ),
        },
    ),
    options_section(
        ("saving-to-dirs", "Saving to a directory", "saving"),
        {
            "save_to_dirs": OptionInfo(True, "Put pictures into subfolders"),
            "grid_save_to_dirs": OptionInfo(True, "Put grids into subfolders"),
            "use_save_to_dirs_for_ui": OptionInfo(False, "Put pictures saved with the Save button into subfolders"),
            "directories_filename_pattern": OptionInfo(
                "[date]", "Pattern of names of subfolders", component_args=hide_dirs
            ),
            "directories_max_prompt_words": OptionInfo(
                8, "Most words that [prompt_words] stands for", "Slider", slider(1, 20, 1, **hide_dirs)
            ),
        },
    ),
]
