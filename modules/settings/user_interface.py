"""state: settings rows of how the page looks and behaves."""

from __future__ import annotations

from modules import shared_items
from modules.options import OptionInfo, options_section
from modules.settings.widgets import choices, choices_from, rescan, slider

sections = [
    options_section(
        ("ui_prompt_editing", "Prompt editing", "ui"),
        {
            "keyedit_precision_attention": OptionInfo(
                0.1, "Ctrl+Up/Down step for (text:1.1)", "Slider", slider(0.01, 0.2, 0.001)
            ),
            "keyedit_precision_extra": OptionInfo(
                0.05, "Ctrl+Up/Down step for <net:0.9>", "Slider", slider(0.01, 0.2, 0.001)
            ),
            "keyedit_delimiters": OptionInfo(".,\\/!?%^*;:{}=`~() ", "Word boundary characters for Ctrl+Up/Down"),
            "keyedit_delimiters_whitespace": OptionInfo(
                ["Tab", "Carriage Return", "Line Feed"],
                "Whitespace word boundaries for Ctrl+Up/Down",
                "CheckboxGroup",
                choices("Tab", "Carriage Return", "Line Feed"),
            ),
            "keyedit_move": OptionInfo(True, "Alt+Left/Right moves comma items"),
            "disable_token_counters": OptionInfo(False, "Hide token counters"),
            "include_styles_into_token_counters": OptionInfo(True, "Count style text too"),
        },
    ),
    options_section(
        ("ui_gallery", "Gallery", "ui"),
        {
            "return_grid": OptionInfo(True, "Put grid first in results"),
            "do_not_show_images": OptionInfo(False, "Return no images to the gallery"),
            "js_modal_lightbox": OptionInfo(True, "Enable full-page viewer"),
            "js_modal_lightbox_initially_zoomed": OptionInfo(True, "Viewer starts zoomed"),
            "js_modal_lightbox_gamepad": OptionInfo(False, "Viewer gamepad navigation"),
            "js_modal_lightbox_gamepad_repeat": OptionInfo(250, "Gamepad repeat ms"),
            "sd_webui_modal_lightbox_icon_opacity": OptionInfo(
                1, "Viewer icon opacity", "Slider", slider(0.0, 1, 0.01)
            ).needs_reload_ui(),
            "sd_webui_modal_lightbox_toolbar_opacity": OptionInfo(
                0.9, "Viewer toolbar opacity", "Slider", slider(0.0, 1, 0.01)
            ).needs_reload_ui(),
            "gallery_height": OptionInfo("", "Gallery CSS height").needs_reload_ui(),
            "open_dir_button_choice": OptionInfo(
                "Subdirectory",
                "Folder button target",
                "Radio",
                choices("Output Root", "Subdirectory", "Subdirectory (even temp dir)"),
            ),
        },
    ),
    options_section(
        ("ui_alternatives", "UI alternatives", "ui"),
        {
            "compact_prompt_box": OptionInfo(False, "Prompts inside Generation tab").needs_reload_ui(),
            "samplers_in_dropdown": OptionInfo(True, "Sampler as dropdown instead of radio").needs_reload_ui(),
            "dimensions_and_batch_together": OptionInfo(True, "Batch sliders beside size sliders").needs_reload_ui(),
            "sd_checkpoint_dropdown_use_short": OptionInfo(False, "Checkpoint list without directories"),
            "hires_fix_show_sampler": OptionInfo(False, "Show hires checkpoint/sampler row").needs_reload_ui(),
            "hires_fix_show_prompts": OptionInfo(False, "Show hires prompt row").needs_reload_ui(),
            "txt2img_settings_accordion": OptionInfo(False, "Wrap txt2img settings in accordion").needs_reload_ui(),
            "img2img_settings_accordion": OptionInfo(False, "Wrap img2img settings in accordion").needs_reload_ui(),
            "interrupt_after_current": OptionInfo(True, "First Interrupt click waits for current image"),
        },
    ),
    options_section(
        ("ui", "User interface", "ui"),
        {
            "localization": OptionInfo(
                "None",
                "Localization file name",
                "Dropdown",
                choices_from("localizations", "None"),
                refresh=rescan("localizations"),
            ).needs_reload_ui(),
            "quicksettings_list": OptionInfo(
                ["sd_model_checkpoint"], "Settings shown at page top", "DropdownMulti", choices_from("setting_keys")
            ).needs_reload_ui(),
            "ui_tab_order": OptionInfo(
                [], "Tab order by label", "DropdownMulti", choices_from("tab_names")
            ).needs_reload_ui(),
            "hidden_tabs": OptionInfo(
                [], "Tabs not rendered, by label", "DropdownMulti", choices_from("tab_names")
            ).needs_reload_ui(),
            "ui_reorder_list": OptionInfo(
                [], "Order of UI categories", "DropdownMulti", choices_from(shared_items.ui_reorder_categories)
            ).needs_reload_ui(),
            "gradio_theme": OptionInfo(
                "Default", "Gradio theme name", "DropdownEditable", choices_from("gradio_themes", "Default")
            ).needs_reload_ui(),
            "gradio_themes_cache": OptionInfo(True, "Cache downloaded themes in tmp/gradio_themes"),
            "show_progress_in_title": OptionInfo(True, "Progress in page title"),
            "send_seed": OptionInfo(True, "Send-to also sends seed"),
            "send_size": OptionInfo(True, "Send-to also sends image size"),
            "enable_reloading_ui_scripts": OptionInfo(False, "Reload modules.ui* on Reload UI"),
        },
    ),
    options_section(
        ("infotext", "Infotext", "ui"),
        {
            "enable_pnginfo": OptionInfo(True, "Embed infotext in saved/returned images"),
            "save_txt": OptionInfo(False, "Write infotext .txt beside each image"),
            "add_model_name_to_info": OptionInfo(True, "Infotext: Model"),
            "add_model_hash_to_info": OptionInfo(True, "Infotext: Model hash"),
            "add_vae_name_to_info": OptionInfo(True, "Infotext: VAE"),
            "add_vae_hash_to_info": OptionInfo(True, "Infotext: VAE hash"),
            "add_user_name_to_info": OptionInfo(False, "Infotext: User (logged-in UI users)"),
            "add_version_to_infotext": OptionInfo(True, "Infotext: Version"),
            "disable_weights_auto_swap": OptionInfo(True, "Ignore checkpoint in pasted infotext"),
            "infotext_skip_pasting": OptionInfo(
                [], "Infotext keys dropped when parsing", "DropdownMulti", choices_from(shared_items.get_infotext_names)
            ),
            "infotext_styles": OptionInfo(
                "Apply if any",
                "Recognise styles in pasted prompt",
                "Radio",
                choices("Ignore", "Apply", "Discard", "Apply if any"),
            ),
        },
    ),
    options_section(
        ("ui", "Live previews", "ui"),
        {
            "show_progressbar": OptionInfo(True, "Show progress bar in UI"),
            "live_previews_enable": OptionInfo(True, "Enable live previews"),
            "live_previews_image_format": OptionInfo(
                "png", "Encoding of live previews", "Radio", choices("jpeg", "png", "webp")
            ),
            "show_progress_grid": OptionInfo(True, "Preview whole batch as grid"),
            "show_progress_every_n_steps": OptionInfo(
                10, "Preview interval in steps; -1 per batch", "Slider", slider(-1, 32, 1)
            ),
            "show_progress_type": OptionInfo(
                "Approx NN", "Preview decoder", "Radio", choices("Full", "Approx NN", "Approx cheap", "TAESD")
            ),
            "live_preview_allow_lowvram_full": OptionInfo(False, "Allow Full preview with lowvram/medvram"),
            "live_preview_content": OptionInfo(
                "Prompt",
                "Preview combined, cond or uncond prediction",
                "Radio",
                choices("Combined", "Prompt", "Negative prompt"),
            ),
            "live_preview_refresh_period": OptionInfo(1000, "Browser poll interval ms"),
            "live_preview_fast_interrupt": OptionInfo(False, "Decode interrupted result with preview method"),
            "js_live_preview_in_modal_lightbox": OptionInfo(False, "Show preview in full-page viewer"),
            "prevent_screen_sleep_during_generation": OptionInfo(True, "Hold browser wake lock while generating"),
        },
    ),
    options_section(
        ("settings_in_ui", "Settings in UI", "ui"),
        {
            "extra_options_txt2img": OptionInfo(
                [], "Settings shown inside txt2img", "DropdownMulti", choices_from("setting_keys")
            ).needs_reload_ui(),
            "extra_options_img2img": OptionInfo(
                [], "Settings shown inside img2img", "DropdownMulti", choices_from("setting_keys")
            ).needs_reload_ui(),
            "extra_options_cols": OptionInfo(
                1, "Columns for those settings", "Slider", slider(1, 20, 1)
            ).needs_reload_ui(),
            "extra_options_accordion": OptionInfo(False, "Wrap those settings in accordion").needs_reload_ui(),
        },
    ),
]
