"""state: settings rows of pages that belong to no category, and settings that stand on no page."""

from __future__ import annotations

from modules.options import OptionHTML, OptionInfo, options_section
from modules.settings.widgets import choices, choices_from, rescan, slider

sections = [
    options_section(
        ("interrogate", "Interrogate"),
        {
            "interrogate_keep_models_in_memory": OptionInfo(False, "Keep the models on the device"),
            "interrogate_return_ranks": OptionInfo(False, "Add the score of each result"),
            "interrogate_clip_num_beams": OptionInfo(1, "Beams of the caption search", "Slider", slider(1, 16, 1)),
            "interrogate_clip_min_length": OptionInfo(24, "Shortest caption", "Slider", slider(1, 128, 1)).info(
                "tokens"
            ),
            "interrogate_clip_max_length": OptionInfo(48, "Longest caption", "Slider", slider(1, 256, 1)).info(
                "tokens"
            ),
            "interrogate_clip_dict_limit": OptionInfo(1500, "Most lines read from a category file").info("0: all"),
            "interrogate_clip_skip_categories": OptionInfo(
                [],
                "Category files to leave out",
                "CheckboxGroup",
                choices_from("interrogate_categories"),
                refresh=rescan("interrogate_categories"),
            ),
            "interrogate_deepbooru_score_threshold": OptionInfo(
                0.5, "Lowest score of a DeepBooru tag", "Slider", slider(0, 1, 0.01)
            ),
            "deepbooru_sort_alpha": OptionInfo(True, "Sort DeepBooru tags by name").info("otherwise by score"),
            "deepbooru_use_spaces": OptionInfo(True, "Write DeepBooru tags with spaces instead of underscores"),
            "deepbooru_escape": OptionInfo(True, "Write backslashes before brackets of DeepBooru tags"),
            "deepbooru_filter_tags": OptionInfo("", "DeepBooru tags to leave out").info("separated by commas"),
        },
    ),
    options_section(
        (None, "Hidden options"),
        {
            "disabled_extensions": OptionInfo([], "Disabled extensions"),
            "disable_all_extensions": OptionInfo(
                "none", "Extensions to disable", "Radio", choices("none", "extra", "all")
            ),
            "restore_config_state_file": OptionInfo("", "State to restore at the next start"),
            "sd_checkpoint_hash": OptionInfo("", "sha256 of the current checkpoint"),
        },
    ),
    options_section(
        ("canvas_hotkey", "Canvas Hotkeys"),
        {
            "canvas_hotkey_zoom": OptionInfo(
                "Alt", "Key to zoom with the wheel", "Radio", choices("Shift", "Ctrl", "Alt")
            ),
            "canvas_hotkey_adjust": OptionInfo(
                "Ctrl", "Key to change the brush with the wheel", "Radio", choices("Shift", "Ctrl", "Alt")
            ),
            "canvas_hotkey_shrink_brush": OptionInfo("Q", "Key for a smaller brush"),
            "canvas_hotkey_grow_brush": OptionInfo("W", "Key for a larger brush"),
            "canvas_hotkey_move": OptionInfo("F", "Key to move the canvas"),
            "canvas_hotkey_fullscreen": OptionInfo("S", "Key to fill the screen"),
            "canvas_hotkey_reset": OptionInfo("R", "Key to undo zoom and move"),
            "canvas_hotkey_overlap": OptionInfo("O", "Key to lay the canvas over the page"),
            "canvas_show_tooltip": OptionInfo(True, "Show the keys beside the canvas"),
            "canvas_auto_expand": OptionInfo(True, "Make large pictures fit"),
            "canvas_blur_prompt": OptionInfo(False, "Leave the prompt when the canvas is used"),
            "canvas_disabled_functions": OptionInfo(
                ["Overlap"],
                "Functions to switch off",
                "CheckboxGroup",
                choices(
                    "Zoom",
                    "Adjust brush size",
                    "Hotkey enlarge brush",
                    "Hotkey shrink brush",
                    "Moving canvas",
                    "Fullscreen",
                    "Reset Zoom",
                    "Overlap",
                ),
            ),
        },
    ),
    options_section(
        ("hypertile", "Hypertile"),
        {
            "hypertile_explanation": OptionHTML(
                "Hypertile cuts what attention looks at into tiles. Large pictures are made faster, and look a little "
                "different."
            ),
            "hypertile_enable_unet": OptionInfo(False, "Tile the U-Net", infotext="Hypertile U-Net"),
            "hypertile_enable_unet_secondpass": OptionInfo(
                False, "Tile the U-Net in the hires pass", infotext="Hypertile U-Net second pass"
            ),
            "hypertile_max_depth_unet": OptionInfo(
                3,
                "Deepest level of the U-Net that is tiled",
                "Slider",
                slider(0, 3, 1),
                infotext="Hypertile U-Net max depth",
            ),
            "hypertile_max_tile_unet": OptionInfo(
                256, "Largest tile in the U-Net", "Slider", slider(0, 512, 16), infotext="Hypertile U-Net max tile size"
            ).info("pixels"),
            "hypertile_swap_size_unet": OptionInfo(
                3,
                "Tile sizes to alternate between in the U-Net",
                "Slider",
                slider(0, 64, 1),
                infotext="Hypertile U-Net swap size",
            ),
            "hypertile_enable_vae": OptionInfo(False, "Tile the VAE", infotext="Hypertile VAE"),
            "hypertile_max_depth_vae": OptionInfo(
                3,
                "Deepest level of the VAE that is tiled",
                "Slider",
                slider(0, 3, 1),
                infotext="Hypertile VAE max depth",
            ),
            "hypertile_max_tile_vae": OptionInfo(
                128, "Largest tile in the VAE", "Slider", slider(0, 512, 16), infotext="Hypertile VAE max tile size"
            ).info("pixels"),
            "hypertile_swap_size_vae": OptionInfo(
                3,
                "Tile sizes to alternate between in the VAE",
                "Slider",
                slider(0, 64, 1),
                infotext="Hypertile VAE swap size",
            ),
        },
    ),
]
