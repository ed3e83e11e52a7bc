"""state: settings rows of how the page looks and behaves."""

from __future__ import annotations

from modules import shared_items
from modules.options import OptionHTML, OptionInfo, options_section
from modules.settings.widgets import choices, choices_from, rescan, slider

sections = [
    options_section(
        ("ui_prompt_editing", "Prompt editing", "ui"),
        {
            "keyedit_precision_attention": OptionInfo(
                0.1, "Step of Ctrl+Up/Down for (text:1.1)", "Slider", slider(0.01, 0.2, 0.001)
            ),
            "keyedit_precision_extra": OptionInfo(
                0.05, "Step of Ctrl+Up/Down for <network:0.9>", "Slider", slider(0.01, 0.2, 0.001)
            ),
            "keyedit_delimiters": OptionInfo(".,\\/!?%^*;:{}=`~() ", "Characters that end a word for Ctrl+Up/Down"),
            "keyedit_delimiters_whitespace": OptionInfo(
                ["Tab", "Carriage Return", "Line Feed"],
                "White space that ends a word for Ctrl+Up/Down",
                "CheckboxGroup",
                choices("Tab", "Carriage Return", "Line Feed"),
            ),
            "keyedit_move": OptionInfo(True, "Alt+Left/Right moves parts of the prompt"),
            "disable_token_counters": OptionInfo(False, "Hide the token counters"),
            "include_styles_into_token_counters": OptionInfo(True, "Count the tokens of styles too"),
        },
    ),
    options_section(
        ("ui_gallery", "Gallery", "ui"),
        {
            "return_grid": OptionInfo(True, "Show the grid among the results"),
            "do_not_show_images": OptionInfo(False, "Show no pictures of a job on the page"),
            "js_modal_lightbox": OptionInfo(True, "Show pictures over the whole page when they are clicked"),
            "js_modal_lightbox_initially_zoomed": OptionInfo(True, "Begin with the picture filling the page"),
            "js_modal_lightbox_gamepad": OptionInfo(False, "Turn over pictures with a gamepad"),
            "js_modal_lightbox_gamepad_repeat": OptionInfo(250, "Time between repeats of a held gamepad button").info(
                "milliseconds"
            ),
            "sd_webui_modal_lightbox_icon_opacity": OptionInfo(
                1, "Opacity of icons over the picture", "Slider", slider(0.0, 1, 0.01)
            ).needs_reload_ui(),
            "sd_webui_modal_lightbox_toolbar_opacity": OptionInfo(
                0.9, "Opacity of the toolbar over the picture", "Slider", slider(0.0, 1, 0.01)
            ).needs_reload_ui(),
            "gallery_height": OptionInfo("", "Height of the gallery")
            .info("as CSS writes it: 768px, 50vh")
            .needs_reload_ui(),
            "open_dir_button_choice": OptionInfo(
                "Subdirectory",
                "The folder button opens",
                "Radio",
                choices("Output Root", "Subdirectory", "Subdirectory (even temp dir)"),
            ),
        },
    ),
    options_section(
        ("ui_alternatives", "UI alternatives", "ui"),
        {
            "compact_prompt_box": OptionInfo(False, "Put the prompts into the Generation tab").needs_reload_ui(),
            "samplers_in_dropdown": OptionInfo(True, "Show samplers as a menu")
            .info("otherwise as buttons")
            .needs_reload_ui(),
            "dimensions_and_batch_together": OptionInfo(
                True, "Put the sliders of size and batch side by side"
            ).needs_reload_ui(),
            "sd_checkpoint_dropdown_use_short": OptionInfo(False, "Leave folders out of the names of checkpoints"),
            "hires_fix_show_sampler": OptionInfo(
                False, "Show checkpoint, sampler and schedule of hires fix"
            ).needs_reload_ui(),
            "hires_fix_show_prompts": OptionInfo(False, "Show prompts of hires fix").needs_reload_ui(),
            "txt2img_settings_accordion": OptionInfo(False, "Make the controls of txt2img foldable").needs_reload_ui(),
            "img2img_settings_accordion": OptionInfo(False, "Make the controls of img2img foldable").needs_reload_ui(),
            "interrupt_after_current": OptionInfo(True, "Interrupt waits for the picture being made").info(
                "a second click does not"
            ),
        },
    ),
    options_section(
        ("ui", "User interface", "ui"),
        {
            "localization": OptionInfo(
                "None",
                "Language",
                "Dropdown",
                choices_from("localizations", "None"),
                refresh=rescan("localizations"),
            ).needs_reload_ui(),
            "quicksettings_list": OptionInfo(
                ["sd_model_checkpoint"],
                "Settings at the top of the page",
                "DropdownMulti",
                choices_from("setting_keys"),
            )
            .js("info", "settingsHintsShowQuicksettings")
            .needs_reload_ui(),
            "ui_tab_order": OptionInfo(
                [], "Order of the tabs", "DropdownMulti", choices_from("tab_names")
            ).needs_reload_ui(),
            "hidden_tabs": OptionInfo([], "Tabs to hide", "DropdownMulti", choices_from("tab_names")).needs_reload_ui(),
            "ui_reorder_list": OptionInfo(
                [],
                "Order of the parts of txt2img and img2img",
                "DropdownMulti",
                choices_from(shared_items.ui_reorder_categories),
            ).needs_reload_ui(),
            "gradio_theme": OptionInfo("Default", "Theme", "DropdownEditable", choices_from("gradio_themes", "Default"))
            .info("a name of this list, or a theme of the hub as user/theme")
            .needs_reload_ui(),
            "gradio_themes_cache": OptionInfo(True, "Keep downloaded themes"),
            "show_progress_in_title": OptionInfo(True, "Show progress in the title of the page"),
            "restore_progress_by_itself": OptionInfo(True, "Show a running job again when the page is reloaded").info(
                "otherwise a button does"
            ),
            "send_seed": OptionInfo(True, "Send-to buttons take the seed along"),
            "send_size": OptionInfo(True, "Send-to buttons take the size along"),
            "enable_reloading_ui_scripts": OptionInfo(False, "Reload UI loads the program's page code anew").info(
                "for development"
            ),
        },
    ),
    options_section(
        ("infotext", "Infotext", "ui"),
        {
            "infotext_explanation": OptionHTML(
                "The infotext says how a picture was made. It is stored in the picture, shown below it, and can be put "
                "back into the page: paste it into the prompt and click the arrow button."
            ),
            "enable_pnginfo": OptionInfo(True, "Store the infotext in pictures"),
            "save_txt": OptionInfo(False, "Write the infotext to a text file beside every picture"),
            "add_model_name_to_info": OptionInfo(True, "Add the name of the checkpoint"),
            "add_model_hash_to_info": OptionInfo(True, "Add the hash of the checkpoint"),
            "add_vae_name_to_info": OptionInfo(True, "Add the name of the VAE"),
            "add_vae_hash_to_info": OptionInfo(True, "Add the hash of the VAE"),
            "add_user_name_to_info": OptionInfo(False, "Add the name of the user who is logged in"),
            "add_version_to_infotext": OptionInfo(True, "Add the version of the program"),
            "disable_weights_auto_swap": OptionInfo(True, "Keep the checkpoint when an infotext is pasted"),
            "infotext_skip_pasting": OptionInfo(
                [],
                "Values to leave alone when an infotext is pasted",
                "DropdownMulti",
                choices_from(shared_items.get_infotext_names),
            ),
            "infotext_styles": OptionInfo(
                "Apply if any",
                "Styles found in pasted prompts",
                "Radio",
                choices("Ignore", "Apply", "Discard", "Apply if any"),
            ).html(
                "<ul><li>Ignore: leave their text in the prompt</li>"
                "<li>Apply: choose the styles found, or none, and take their text out</li>"
                "<li>Discard: take their text out</li><li>Apply if any: as Apply, if there are any</li></ul>"
            ),
        },
    ),
    options_section(
        ("ui", "Live previews", "ui"),
        {
            "show_progressbar": OptionInfo(True, "Show the progress bar"),
            "live_previews_enable": OptionInfo(True, "Show previews while sampling"),
            "live_previews_image_format": OptionInfo(
                "png", "File format of previews", "Radio", choices("jpeg", "png", "webp")
            ),
            "show_progress_grid": OptionInfo(True, "Show all pictures of a batch in the preview"),
            "show_progress_every_n_steps": OptionInfo(10, "Steps between previews", "Slider", slider(-1, 32, 1)).info(
                "-1: only after each batch"
            ),
            "show_progress_type": OptionInfo(
                "Approx NN", "How previews are made", "Radio", choices("Full", "Approx NN", "Approx cheap", "TAESD")
            ).info("Full: the VAE, slow; TAESD: good and fast; Approx NN: fast; Approx cheap: instant"),
            "live_preview_allow_lowvram_full": OptionInfo(False, "Allow full previews with --lowvram and --medvram"),
            "live_preview_content": OptionInfo(
                "Prompt",
                "What previews show",
                "Radio",
                choices("Combined", "Prompt", "Negative prompt"),
            ),
            "live_preview_refresh_period": OptionInfo(1000, "Time between questions of the page for progress").info(
                "milliseconds"
            ),
            "live_preview_fast_interrupt": OptionInfo(False, "Decode an interrupted picture as previews are"),
            "js_live_preview_in_modal_lightbox": OptionInfo(False, "Show previews over the whole page too"),
            "prevent_screen_sleep_during_generation": OptionInfo(True, "Keep the screen on while a job runs"),
        },
    ),
    options_section(
        ("settings_in_ui", "Settings in UI", "ui"),
        {
            "settings_in_ui": OptionHTML(
                "Settings chosen here stand in txt2img and img2img. A value set there holds for the jobs "
                "started there, and does not change the setting."
            ),
            "extra_options_txt2img": OptionInfo(
                [], "Settings shown in txt2img", "DropdownMulti", choices_from("setting_keys")
            )
            .js("info", "settingsHintsShowQuicksettings")
            .needs_reload_ui(),
            "extra_options_img2img": OptionInfo(
                [], "Settings shown in img2img", "DropdownMulti", choices_from("setting_keys")
            )
            .js("info", "settingsHintsShowQuicksettings")
            .needs_reload_ui(),
            "extra_options_cols": OptionInfo(1, "Columns", "Slider", slider(1, 20, 1)).needs_reload_ui(),
            "extra_options_accordion": OptionInfo(False, "Make them foldable").needs_reload_ui(),
        },
    ),
]
