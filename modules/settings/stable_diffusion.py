"""state: settings rows of models, sampling, networks and how images are made."""

from __future__ import annotations

from modules import shared_items
from modules.options import OptionHTML, OptionInfo, options_section
from modules.settings.widgets import choices, choices_from, rescan, slider


def sampler_names() -> list[str]:
    """Returns the names of all samplers."""
    return [sampler.name for sampler in shared_items.list_samplers()]


sections = [
    options_section(
        ("sd", "Stable Diffusion", "sd"),
        {
            "sd_model_checkpoint": OptionInfo(
                None,
                "Stable Diffusion checkpoint",
                "Dropdown",
                choices_from("checkpoint_choices"),
                infotext="Model hash",
                refresh=shared_items.refresh_checkpoints,
            ),
            "forge_additional_modules": OptionInfo(
                [],
                "VAE and text encoders",
                "DropdownMulti",
                choices_from("sd_modules"),
                infotext="Module 1",
                refresh=rescan("sd_modules"),
            ).info("files used in place of the checkpoint's own; empty: its own"),
            "sd_checkpoints_limit": OptionInfo(1, "Checkpoints kept loaded", "Slider", slider(1, 10, 1)),
            "sd_checkpoints_keep_in_cpu": OptionInfo(
                True, "Keep only one checkpoint on the device, the others in main memory"
            ),
            "sd_checkpoint_cache": OptionInfo(
                0, "Checkpoint files kept in main memory", "Slider", slider(0, 10, 1)
            ).info("weights only; better keep checkpoints loaded"),
            "sd_unet": OptionInfo(
                "Automatic",
                "U-Net",
                "Dropdown",
                choices_from(shared_items.sd_unet_items),
                refresh=shared_items.refresh_unet_list,
            ).info("Automatic: the one named like the checkpoint, None: the checkpoint's own"),
            "enable_quantization": OptionInfo(
                False, "Round noise levels of k-diffusion samplers to those the model was trained at"
            )
            .info("sharper, and other, pictures")
            .needs_reload_ui(),
            "emphasis": OptionInfo(
                "Original",
                "Emphasis",
                "Radio",
                choices_from("emphasis_modes"),
                infotext="Emphasis",
            ).html(
                "<ul><li>None: brackets are ordinary text</li><li>Ignore: brackets are read, weights are not</li>"
                "<li>Original: weights multiply the encoded words</li>"
                "<li>No norm: the same without evening out the mean, which SDXL takes better</li></ul>"
            ),
            "enable_batch_seeds": OptionInfo(True, "Make pictures of a batch as if each were alone").info(
                "has no effect, they always are"
            ),
            "comma_padding_backtrack": OptionInfo(
                20, "Move words after a comma to the next 75 tokens, up to this many tokens", "Slider", slider(0, 74, 1)
            ),
            "sdxl_clip_l_skip": OptionInfo(False, "Apply clip skip to the smaller text encoder of SDXL"),
            "CLIP_stop_at_last_layers": OptionInfo(
                1, "Clip skip", "Slider", slider(1, 12, 1), infotext="Clip skip"
            ).info("layer of the text encoder that is used, counted from the end"),
            "upcast_attn": OptionInfo(False, "Compute attention in float32"),
            "randn_source": OptionInfo(
                "GPU",
                "Source of random numbers",
                "Radio",
                choices("GPU", "CPU", "NV"),
                infotext="RNG",
            ).info("CPU: equal on all computers, NV: equal to NVIDIA GPUs everywhere"),
            "tiling": OptionInfo(False, "Tiling: make pictures that can be repeated side by side", infotext="Tiling"),
            "hires_fix_refiner_pass": OptionInfo(
                "second pass",
                "Pass of hires fix that may use the refiner",
                "Radio",
                choices("first pass", "second pass", "both passes"),
                infotext="Hires refiner",
            ),
            "enable_prompt_comments": OptionInfo(True, "Leave comments out of prompts").info(
                "from # to the end of the line"
            ),
        },
    ),
    options_section(
        ("sdxl", "Stable Diffusion XL", "sd"),
        {
            "sdxl_crop_top": OptionInfo(0, "Crop, top").info("what SDXL is told about the picture it imitates"),
            "sdxl_crop_left": OptionInfo(0, "Crop, left"),
            "sdxl_refiner_low_aesthetic_score": OptionInfo(
                2.5, "Aesthetic score of the negative prompt", "Number"
            ).info("refiner"),
            "sdxl_refiner_high_aesthetic_score": OptionInfo(6.0, "Aesthetic score of the prompt", "Number").info(
                "refiner"
            ),
        },
    ),
    options_section(
        ("sd3", "Stable Diffusion 3", "sd"),
        {
            "sd3_enable_t5": OptionInfo(False, "Load the T5 text encoder").info(
                "better understanding, several GB more; load the checkpoint again after a change"
            ),
        },
    ),
    options_section(
        ("vae", "VAE", "sd"),
        {
            "sd_vae_explanation": OptionHTML(
                "The VAE (variational autoencoder) turns pictures into latents, which the model works on, and back. "
                "img2img and inpainting use both directions, txt2img only the way back."
            ),
            "sd_vae_checkpoint_cache": OptionInfo(0, "VAE files kept in main memory", "Slider", slider(0, 10, 1)),
            "sd_vae": OptionInfo(
                "Automatic",
                "VAE",
                "Dropdown",
                choices_from(shared_items.sd_vae_items),
                infotext="VAE",
                refresh=shared_items.refresh_vae_list,
            ).info("Automatic: the one named like the checkpoint, None: the checkpoint's own"),
            "sd_vae_overrides_per_model_preferences": OptionInfo(
                True, "The VAE chosen here goes before the one a checkpoint asks for"
            ),
            "auto_vae_precision_bfloat16": OptionInfo(False, "Switch the VAE to bfloat16 when it gives NaN").info(
                "goes before float32"
            ),
            "auto_vae_precision": OptionInfo(True, "Switch the VAE to float32 when it gives NaN"),
            "sd_vae_encode_method": OptionInfo(
                "Full", "Encoder", "Radio", choices("Full", "TAESD"), infotext="VAE Encoder"
            ).info("TAESD: small and fast"),
            "sd_vae_decode_method": OptionInfo(
                "Full", "Decoder", "Radio", choices("Full", "TAESD"), infotext="VAE Decoder"
            ).info("TAESD: small and fast"),
        },
    ),
    options_section(
        ("img2img", "img2img", "sd"),
        {
            "inpainting_mask_weight": OptionInfo(
                1.0,
                "How strongly inpainting models see the masked picture",
                "Slider",
                slider(0.0, 1.0, 0.01),
                infotext="Conditional mask weight",
            ),
            "initial_noise_multiplier": OptionInfo(
                1.0,
                "Multiplier of the noise img2img begins with",
                "Slider",
                slider(0.0, 1.5, 0.001),
                infotext="Noise multiplier",
            ),
            "img2img_extra_noise": OptionInfo(
                0.0,
                "Extra noise for img2img and the hires pass",
                "Slider",
                slider(0.0, 1.0, 0.01),
                infotext="Extra noise",
            ),
            "img2img_color_correction": OptionInfo(False, "Give the result of img2img the colours of its source"),
            "img2img_fix_steps": OptionInfo(False, "Do exactly as many steps as asked for").info(
                "otherwise fewer at a lower denoising strength"
            ),
            "img2img_background_color": OptionInfo(
                "#ffffff", "Colour behind transparent parts of a source", "FormColorPicker"
            ),
            "img2img_editor_height": OptionInfo(720, "Height of the picture editor", "Slider", slider(80, 1600, 1))
            .info("pixels")
            .needs_reload_ui(),
            "img2img_sketch_default_brush_color": OptionInfo(
                "#ffffff", "First colour of the brush in Sketch", "FormColorPicker"
            ).needs_reload_ui(),
            "img2img_inpaint_mask_brush_color": OptionInfo(
                "#ffffff", "Colour of the brush that draws masks", "FormColorPicker"
            ).needs_reload_ui(),
            "img2img_inpaint_sketch_default_brush_color": OptionInfo(
                "#ffffff", "First colour of the brush in Inpaint sketch", "FormColorPicker"
            ).needs_reload_ui(),
            "return_mask": OptionInfo(False, "Show the mask among the results"),
            "return_mask_composite": OptionInfo(False, "Show what was painted, cut out by the mask, among the results"),
            "img2img_batch_show_results_limit": OptionInfo(
                32, "Most pictures a batch shows", "Slider", slider(-1, 1000, 1)
            ).info("-1: all, 0: none"),
            "overlay_inpaint": OptionInfo(True, "Lay the original over the result outside the mask"),
        },
    ),
    options_section(
        ("optimizations", "Optimizations", "sd"),
        {
            "cross_attention_optimization": OptionInfo(
                "Automatic",
                "Attention",
                "Dropdown",
                choices_from(shared_items.cross_attention_optimizations),
            ),
            "s_min_uncond": OptionInfo(
                0.0,
                "Leave the negative prompt out below this noise level",
                "Slider",
                slider(0.0, 15.0, 0.01),
                infotext="NGMS",
            ).info("faster; 0: never"),
            "s_min_uncond_all": OptionInfo(
                False, "Leave it out in every step below that level", infotext="NGMS all steps"
            ).info("otherwise in every other step"),
            "token_merging_ratio": OptionInfo(
                0.0, "Token merging ratio", "Slider", slider(0.0, 0.9, 0.1), infotext="Token merging ratio"
            ).info("faster, loses detail; 0: off"),
            "token_merging_ratio_img2img": OptionInfo(
                0.0, "Token merging ratio of img2img", "Slider", slider(0.0, 0.9, 0.1)
            ).info("0: as above"),
            "token_merging_ratio_hr": OptionInfo(
                0.0,
                "Token merging ratio of the hires pass",
                "Slider",
                slider(0.0, 0.9, 0.1),
                infotext="Token merging ratio hr",
            ).info("0: as above"),
            "step_cache_interval": OptionInfo(
                1,
                "Compute the inner layers of U-Net or transformer in every n-th step",
                "Slider",
                slider(1, 10, 1),
                infotext="Step cache",
            ).info("faster, loses detail; 1: in each step"),
            "pad_cond_uncond": OptionInfo(
                False, "Pad prompt and negative prompt to the same length", infotext="Pad conds"
            ).info("faster when their lengths differ, changes pictures a little"),
            "pad_cond_uncond_v0": OptionInfo(
                False, "Pad or cut the negative prompt to the length of the prompt", infotext="Pad conds v0"
            ).info("how older versions padded"),
            "persistent_cond_cache": OptionInfo(True, "Keep encoded prompts for the next job"),
            "batch_cond_uncond": OptionInfo(True, "Compute prompt and negative prompt in one batch").info(
                "faster, needs more memory"
            ),
            "fp8_storage": OptionInfo(
                "Disable", "Keep weights in FP8", "Radio", choices("Disable", "Enable for SDXL", "Enable")
            ).info("half the memory"),
            "cache_fp16_weight": OptionInfo(False, "Keep FP16 copies of weights in FP8 for Lora").info(
                "more exact, needs more main memory"
            ),
            "offload_automatically": OptionInfo(
                True, "Keep parts of a model in main memory where all of it would not fit the device"
            ).info("as --medvram or --lowvram, found when it is loaded"),
        },
    ),
    options_section(
        ("compatibility", "Compatibility", "sd"),
        {
            "auto_backcompat": OptionInfo(True, "Turn on what an infotext of an older version needs when it is pasted"),
            "use_old_emphasis_implementation": OptionInfo(False, "Old emphasis"),
            "use_old_karras_scheduler_sigmas": OptionInfo(False, "Karras schedule between 0.1 and 10"),
            "no_dpmpp_sde_batch_determinism": OptionInfo(False, "SDE samplers draw the noise of a batch as one").info(
                "its pictures then depend on each other"
            ),
            "use_old_hires_fix_width_height": OptionInfo(
                False, "Width and height of hires fix are those of the result"
            ),
            "hires_fix_use_firstpass_conds": OptionInfo(
                False, "Encode the prompts of the hires pass with the extra networks of the first pass"
            ),
            "use_old_scheduling": OptionInfo(
                False, "Old timing of prompt editing", infotext="Old prompt editing timelines"
            ).info("[red:green:1.5] and the like in the hires pass"),
            "use_downcasted_alpha_bar": OptionInfo(
                False, "Round the noise schedule to float16 as older versions did", infotext="Downcast alphas_cumprod"
            ),
            "refiner_switch_by_sample_steps": OptionInfo(
                False, "Switch to the refiner by steps", infotext="Refiner switch by sampling steps"
            ).info("otherwise by noise level"),
            "lora_functional": OptionInfo(False, "Apply Loras while computing, without changing weights").info(
                "slower, as older versions did"
            ),
        },
    ),
    options_section(
        ("extra_networks", "Extra Networks", "sd"),
        {
            "extra_networks_show_hidden_directories": OptionInfo(True, "Show hidden folders"),
            "extra_networks_dir_button_function": OptionInfo(
                False, "Begin the names on folder buttons with a slash"
            ).info("they then find only what is directly inside"),
            "extra_networks_hidden_models": OptionInfo(
                "When searched",
                "Show cards of hidden folders",
                "Radio",
                choices("Always", "When searched", "Never"),
            ),
            "extra_networks_default_multiplier": OptionInfo(
                1.0, "Multiplier in the tag a card inserts", "Slider", slider(0.0, 2.0, 0.01)
            ),
            "extra_networks_card_width": OptionInfo(0, "Width of cards").info("pixels; 0: as the style says"),
            "extra_networks_card_height": OptionInfo(0, "Height of cards").info("pixels; 0: as the style says"),
            "extra_networks_card_text_scale": OptionInfo(
                1.0, "Size of text on cards", "Slider", slider(0.0, 2.0, 0.01)
            ),
            "extra_networks_card_show_desc": OptionInfo(True, "Show descriptions on cards"),
            "extra_networks_card_description_is_html": OptionInfo(False, "Descriptions are HTML"),
            "extra_networks_card_order_field": OptionInfo(
                "Path", "Sort cards by", "Dropdown", choices("Path", "Name", "Date Created", "Date Modified")
            ).needs_reload_ui(),
            "extra_networks_card_order": OptionInfo(
                "Ascending", "Direction of sorting", "Dropdown", choices("Ascending", "Descending")
            ).needs_reload_ui(),
            "extra_networks_tree_view_style": OptionInfo(
                "Dirs", "View of folders", "Radio", choices("Tree", "Dirs")
            ).needs_reload_ui(),
            "extra_networks_tree_view_default_enabled": OptionInfo(True, "Show folders at the start").needs_reload_ui(),
            "extra_networks_tree_view_default_width": OptionInfo(180, "Width of the tree of folders")
            .info("pixels")
            .needs_reload_ui(),
            "extra_networks_add_text_separator": OptionInfo(" ", "Text before a tag that a card inserts"),
            "ui_extra_networks_tab_reorder": OptionInfo("", "Order of the tabs of extra networks")
            .info("separated by commas")
            .needs_reload_ui(),
            "textual_inversion_print_at_load": OptionInfo(False, "Print loaded and skipped embeddings to the console"),
            "textual_inversion_add_hashes_to_infotext": OptionInfo(True, "Write hashes of embeddings to the infotext"),
            "sd_hypernetwork": OptionInfo(
                "None",
                "Hypernetwork added to every prompt",
                "Dropdown",
                choices_from("hypernetworks", "None"),
                refresh=shared_items.reload_hypernetworks,
            ),
            "sd_lora": OptionInfo(
                "None",
                "Lora added to every prompt",
                "Dropdown",
                choices_from("loras", "None"),
                refresh=rescan("loras"),
            ),
            "lora_preferred_name": OptionInfo(
                "Alias from file",
                "Name in the tag a card inserts",
                "Radio",
                choices("Alias from file", "Filename"),
            ),
            "lora_add_hashes_to_infotext": OptionInfo(True, "Write hashes of Loras to the infotext"),
            "lora_bundled_ti_to_infotext": OptionInfo(
                True, "Write the name of a Lora as the hash of embeddings inside it"
            ),
            "lora_show_all": OptionInfo(False, "Show Loras that do not fit the checkpoint"),
            "lora_hide_unknown_for_versions": OptionInfo(
                [],
                "Hide Loras of unknown kind for checkpoints of these versions",
                "CheckboxGroup",
                choices("SD1", "SD2", "SDXL"),
            ),
            "lora_in_memory_limit": OptionInfo(0, "Loras kept in main memory", component_args={"precision": 0}),
            "lora_not_found_warning_console": OptionInfo(False, "Name Loras that are missing in the console"),
            "lora_not_found_gradio_warning": OptionInfo(False, "Name Loras that are missing on the page"),
        },
    ),
    options_section(
        ("sampler-params", "Sampler parameters", "sd"),
        {
            "hide_samplers": OptionInfo(
                [], "Samplers to hide", "CheckboxGroup", choices_from(sampler_names)
            ).needs_reload_ui(),
            "eta_ddim": OptionInfo(0.0, "Eta of DDIM", "Slider", slider(0.0, 1.0, 0.01), infotext="Eta DDIM").info(
                "noise added in each step; 0: none"
            ),
            "eta_ancestral": OptionInfo(
                1.0, "Eta of ancestral and SDE samplers", "Slider", slider(0.0, 1.0, 0.01), infotext="Eta"
            ).info("noise added in each step"),
            "ddim_discretize": OptionInfo("uniform", "Spacing of DDIM steps", "Radio", choices("uniform", "quad")).info(
                "has no effect"
            ),
            "s_churn": OptionInfo(
                0.0,
                "Sigma churn",
                "Slider",
                slider(0.0, 100.0, 0.01),
                infotext="Sigma churn",
            ).info("noise added and removed in each step"),
            "s_tmin": OptionInfo(
                0.0,
                "Sigma tmin",
                "Slider",
                slider(0.0, 10.0, 0.01),
                infotext="Sigma tmin",
            ).info("lowest noise level of sigma churn"),
            "s_tmax": OptionInfo(0.0, "Sigma tmax", "Slider", slider(0.0, 999.0, 0.01), infotext="Sigma tmax").info(
                "highest noise level of sigma churn; 0: no limit"
            ),
            "s_noise": OptionInfo(
                1.0,
                "Sigma noise",
                "Slider",
                slider(0.0, 1.1, 0.001),
                infotext="Sigma noise",
            ).info("strength of added noise"),
            "sigma_min": OptionInfo(
                0.0, "Lowest noise level of schedules", "Number", infotext="Schedule min sigma"
            ).info("0: as the model has it"),
            "sigma_max": OptionInfo(
                0.0, "Highest noise level of schedules", "Number", infotext="Schedule max sigma"
            ).info("0: as the model has it"),
            "rho": OptionInfo(0.0, "Rho of schedules", "Number", infotext="Schedule rho").info(
                "0: as the schedule has it; higher: more steps at low noise"
            ),
            "eta_noise_seed_delta": OptionInfo(
                0, "Eta noise seed delta", component_args={"precision": 0}, infotext="ENSD"
            ).info("added to the seed of all noise after the first"),
            "always_discard_next_to_last_sigma": OptionInfo(
                False, "Leave the last but one noise level out", infotext="Discard penultimate sigma"
            ),
            "sgm_noise_multiplier": OptionInfo(
                False, "Scale the first noise as SGM does", infotext="SGM noise multiplier"
            ),
            "uni_pc_variant": OptionInfo(
                "bh1", "UniPC variant", "Radio", choices("bh1", "bh2", "vary_coeff"), infotext="UniPC variant"
            ),
            "uni_pc_skip_type": OptionInfo(
                "time_uniform",
                "UniPC spacing of steps",
                "Radio",
                choices("time_uniform", "time_quadratic", "logSNR"),
                infotext="UniPC skip type",
            ),
            "uni_pc_order": OptionInfo(3, "UniPC order", "Slider", slider(1, 50, 1), infotext="UniPC order").info(
                "not above the number of steps"
            ),
            "uni_pc_lower_order_final": OptionInfo(
                True, "UniPC lowers the order in the last steps", infotext="UniPC lower order final"
            ),
            "sd_noise_schedule": OptionInfo(
                "Default",
                "Noise schedule",
                "Radio",
                choices("Default", "Zero Terminal SNR"),
                infotext="Noise Schedule",
            ).info("Zero Terminal SNR: for models trained so"),
            "skip_early_cond": OptionInfo(
                0.0,
                "Leave the negative prompt out at the beginning",
                "Slider",
                slider(0.0, 1.0, 0.01),
                infotext="Skip Early CFG",
            ).info("share of the steps"),
            "beta_dist_alpha": OptionInfo(
                0.6, "Alpha of the beta schedule", "Slider", slider(0.01, 1.0, 0.01), infotext="Beta scheduler alpha"
            ).info("lower: more steps at high noise"),
            "beta_dist_beta": OptionInfo(
                0.6, "Beta of the beta schedule", "Slider", slider(0.01, 1.0, 0.01), infotext="Beta scheduler beta"
            ).info("lower: more steps at low noise"),
        },
    ),
]
