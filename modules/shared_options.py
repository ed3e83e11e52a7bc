"""state: gathers the definitions of all settings; which name output folders, which --hide-ui-dir-config locks."""

from __future__ import annotations

from modules.options import OptionInfo, categories
from modules.settings import all_options
from modules.settings import categories as settings_categories

for category_id, label in settings_categories.items():
    categories.register_category(category_id, label)

options_templates: dict[str, OptionInfo] = all_options()

OUTPUT_FOLDERS = (
    "outdir_samples",
    "outdir_txt2img_samples",
    "outdir_img2img_samples",
    "outdir_extras_samples",
    "outdir_grids",
    "outdir_txt2img_grids",
    "outdir_img2img_grids",
    "outdir_save",
    "outdir_init_images",
)
"""Settings that say where images are saved."""

restricted_opts = {
    "samples_filename_pattern",
    "directories_filename_pattern",
    *OUTPUT_FOLDERS,
    "temp_dir",
    "clean_temp_dir_at_start",
}
