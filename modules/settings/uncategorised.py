"""state: settings rows of pages that belong to no category, and settings that stand on no page."""

from __future__ import annotations

from modules.options import OptionInfo, options_section
from modules.settings.widgets import choices, choices_from, rescan, slider

sections = [
    options_section(
        ("interrogate", "Interrogate"),
        {
            "interrogate_keep_models_in_memory": OptionInfo(False, "Keep interrogator models on GPU"),
            "interrogate_return_ranks": OptionInfo(False, "Include scores in interrogation text"),
            "interrogate_clip_num_beams": OptionInfo(1, "BLIP beam count", "Slider", slider(1, 16, 1)),
            "interrogate_clip_min_length": OptionInfo(24, "BLIP minimum length", "Slider", slider(1, 128, 1)),
            "interrogate_clip_max_length": OptionInfo(48, "BLIP maximum length", "Slider", slider(1, 256, 1)),
            "interrogate_clip_dict_limit": OptionInfo(1500, "Max lines per CLIP category file; 0 unlimited"),
            "interrogate_clip_skip_categories": OptionInfo(
                [],
                "CLIP category files to skip",
                "CheckboxGroup",
                choices_from("interrogate_categories"),
                refresh=rescan("interrogate_categories"),
            ),
            "interrogate_deepbooru_score_threshold": OptionInfo(
                0.5, "DeepBooru tag threshold", "Slider", slider(0, 1, 0.01)
            ),
            "deepbooru_sort_alpha": OptionInfo(True, "Sort tags alphabetically instead of by score"),
            "deepbooru_use_spaces": OptionInfo(True, "Replace underscores by spaces"),
            "deepbooru_escape": OptionInfo(True, "Backslash-escape brackets in tags"),
            "deepbooru_filter_tags": OptionInfo("", "Comma list of tags to drop"),
        },
    ),
    options_section(
        (None, "Hidden options"),
        {
            "disabled_extensions": OptionInfo([], "Extension directory names disabled"),
            "disable_all_extensions": OptionInfo(
                "none", "none, extra (non built-in), or all", "Radio", choices("none", "extra", "all")
            ),
            "restore_config_state_file": OptionInfo("", "Config state to restore at next start"),
            "sd_checkpoint_hash": OptionInfo("", "sha256 of current checkpoint (informational)"),
        },
    ),
    options_section(
        ("canvas_hotkey", "Canvas Hotkeys"),
        {
            "canvas_hotkey_zoom": OptionInfo(
                "Alt", "Modifier for wheel zoom", "Radio", choices("Shift", "Ctrl", "Alt")
            ),
            "canvas_hotkey_adjust": OptionInfo(
                "Ctrl", "Modifier for wheel brush size", "Radio", choices("Shift", "Ctrl", "Alt")
            ),
            "canvas_hotkey_shrink_brush": OptionInfo("Q", "Key: smaller brush"),
            "canvas_hotkey_grow_brush": OptionInfo("W", "Key: larger brush"),
            "canvas_hotkey_move": OptionInfo("F", "Key: pan canvas"),
            "canvas_hotkey_fullscreen": OptionInfo("S", "Key: fit to screen"),
            "canvas_hotkey_reset": OptionInfo("R", "Key: reset zoom and position"),
            "canvas_hotkey_overlap": OptionInfo("O", "Key: toggle overlap"),
            "canvas_show_tooltip": OptionInfo(True, "Show hotkey tooltip on canvas"),
            "canvas_auto_expand": OptionInfo(True, "Auto-fit oversized image"),
            "canvas_blur_prompt": OptionInfo(False, "Unfocus prompt when using canvas"),
            "canvas_disabled_functions": OptionInfo(
                ["Overlap"],
                "Canvas functions switched off",
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
            "hypertile_enable_unet": OptionInfo(False, "Hypertile in UNet", infotext="Hypertile U-Net"),
            "hypertile_enable_unet_secondpass": OptionInfo(
                False, "Hypertile in UNet only for hires pass", infotext="Hypertile U-Net second pass"
            ),
            "hypertile_max_depth_unet": OptionInfo(
                3, "Deepest UNet level affected", "Slider", slider(0, 3, 1), infotext="Hypertile U-Net max depth"
            ),
            "hypertile_max_tile_unet": OptionInfo(
                256, "Maximum UNet tile size", "Slider", slider(0, 512, 16), infotext="Hypertile U-Net max tile size"
            ),
            "hypertile_swap_size_unet": OptionInfo(
                3, "UNet tile-size variants", "Slider", slider(0, 64, 1), infotext="Hypertile U-Net swap size"
            ),
            "hypertile_enable_vae": OptionInfo(False, "Hypertile in VAE", infotext="Hypertile VAE"),
            "hypertile_max_depth_vae": OptionInfo(
                3, "Deepest VAE level affected", "Slider", slider(0, 3, 1), infotext="Hypertile VAE max depth"
            ),
            "hypertile_max_tile_vae": OptionInfo(
                128, "Maximum VAE tile size", "Slider", slider(0, 512, 16), infotext="Hypertile VAE max tile size"
            ),
            "hypertile_swap_size_vae": OptionInfo(
                3, "VAE tile-size variants", "Slider", slider(0, 64, 1), infotext="Hypertile VAE swap size"
            ),
        },
    ),
]
