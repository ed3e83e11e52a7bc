"""state: settings rows of models, sampling, networks and how pictures are made."""

from __future__ import annotations

from modules import shared_items
from modules.options import OptionInfo, options_section
from modules.settings.widgets import choices, choices_from, rescan, slider


def sampler_names() -> list[str]:
    return [sampler.name for sampler in shared_items.list_samplers()]


sections = [
    options_section(
        ("sd", "Stable Diffusion", "sd"),
        {
            "sd_model_checkpoint": OptionInfo(
                None,
                "Selected checkpoint (title or alias)",
                "Dropdown",
                choices_from("checkpoint_choices"),
                infotext="Model hash",
                refresh=shared_items.refresh_checkpoints,
            ),
            "sd_checkpoints_limit": OptionInfo(1, "How many checkpoints stay loaded", "Slider", slider(1, 10, 1)),
            "sd_checkpoints_keep_in_cpu": OptionInfo(True, "Idle loaded checkpoints live in RAM"),
            "sd_checkpoint_cache": OptionInfo(
                0, "State dicts cached in RAM (old mechanism)", "Slider", slider(0, 10, 1)
            ),
            "sd_unet": OptionInfo(
                "Automatic",
                "Alternative UNet: Automatic by name, None, or a label",
                "Dropdown",
                choices_from(shared_items.sd_unet_items),
                refresh=shared_items.refresh_unet_list,
            ),
            "enable_quantization": OptionInfo(False, "Quantize sigmas in k-diffusion denoiser").needs_reload_ui(),
            "emphasis": OptionInfo(
                "Original",
                "How prompt weights are applied",
                "Radio",
                choices("None", "Ignore", "Original", "No norm"),
                infotext="Emphasis",
            ),
            "enable_batch_seeds": OptionInfo(True, "Declared but not read"),
            "comma_padding_backtrack": OptionInfo(
                20, "Max tokens after last comma moved to next chunk", "Slider", slider(0, 74, 1)
            ),
            "sdxl_clip_l_skip": OptionInfo(False, "Apply clip skip to SDXL's CLIP-L"),
            "CLIP_stop_at_last_layers": OptionInfo(
                1, "Clip skip: which CLIP layer from the end", "Slider", slider(1, 12, 1), infotext="Clip skip"
            ),
            "upcast_attn": OptionInfo(False, "Compute attention in float32"),
            "randn_source": OptionInfo(
                "GPU",
                "Noise generator: GPU, CPU, or emulated NVIDIA",
                "Radio",
                choices("GPU", "CPU", "NV"),
                infotext="RNG",
            ),
            "tiling": OptionInfo(False, "Default tiling when request leaves it unset", infotext="Tiling"),
            "hires_fix_refiner_pass": OptionInfo(
                "second pass",
                "Which hires pass may use refiner",
                "Radio",
                choices("first pass", "second pass", "both passes"),
                infotext="Hires refiner",
            ),
            "enable_prompt_comments": OptionInfo(True, "Strip # comments from prompts"),
        },
    ),
    options_section(
        ("sdxl", "Stable Diffusion XL", "sd"),
        {
            "sdxl_crop_top": OptionInfo(0, "SDXL crop conditioning, top"),
            "sdxl_crop_left": OptionInfo(0, "SDXL crop conditioning, left"),
            "sdxl_refiner_low_aesthetic_score": OptionInfo(2.5, "SDXL refiner score for negative prompt", "Number"),
            "sdxl_refiner_high_aesthetic_score": OptionInfo(6.0, "SDXL refiner score for prompt", "Number"),
        },
    ),
    options_section(
        ("sd3", "Stable Diffusion 3", "sd"),
        {
            "sd3_enable_t5": OptionInfo(False, "Load SD3's T5 encoder (needs model reload)"),
        },
    ),
    options_section(
        ("vae", "VAE", "sd"),
        {
            "sd_vae_checkpoint_cache": OptionInfo(0, "VAE state dicts cached in RAM", "Slider", slider(0, 10, 1)),
            "sd_vae": OptionInfo(
                "Automatic",
                "Selected VAE: Automatic, None or file name",
                "Dropdown",
                choices_from(shared_items.sd_vae_items),
                infotext="VAE",
                refresh=shared_items.refresh_vae_list,
            ),
            "sd_vae_overrides_per_model_preferences": OptionInfo(
                True, "Explicit sd_vae beats per-model metadata and sibling files"
            ),
            "auto_vae_precision_bfloat16": OptionInfo(False, "On VAE NaN, switch VAE to bfloat16"),
            "auto_vae_precision": OptionInfo(True, "On VAE NaN, switch VAE to float32"),
            "sd_vae_encode_method": OptionInfo(
                "Full", "Encoder: full VAE or TAESD", "Radio", choices("Full", "TAESD"), infotext="VAE Encoder"
            ),
            "sd_vae_decode_method": OptionInfo(
                "Full", "Decoder: full VAE or TAESD", "Radio", choices("Full", "TAESD"), infotext="VAE Decoder"
            ),
        },
    ),
    options_section(
        ("img2img", "img2img", "sd"),
        {
            "inpainting_mask_weight": OptionInfo(
                1.0,
                "Inpaint-model masked-image conditioning strength",
                "Slider",
                slider(0.0, 1.0, 0.01),
                infotext="Conditional mask weight",
            ),
            "initial_noise_multiplier": OptionInfo(
                1.0,
                "Multiplier of img2img starting noise",
                "Slider",
                slider(0.0, 1.5, 0.001),
                infotext="Noise multiplier",
            ),
            "img2img_extra_noise": OptionInfo(
                0.0,
                "Additional noise fraction for img2img and hires",
                "Slider",
                slider(0.0, 1.0, 0.01),
                infotext="Extra noise",
            ),
            "img2img_color_correction": OptionInfo(False, "Match result histogram to input image"),
            "img2img_fix_steps": OptionInfo(False, "Run exactly the requested number of steps"),
            "img2img_background_color": OptionInfo(
                "#ffffff", "Color behind transparent img2img inputs", "FormColorPicker"
            ),
            "img2img_editor_height": OptionInfo(
                720, "Image editor height in pixels", "Slider", slider(80, 1600, 1)
            ).needs_reload_ui(),
            "img2img_sketch_default_brush_color": OptionInfo(
                "#ffffff", "Initial brush color of Sketch", "FormColorPicker"
            ).needs_reload_ui(),
            "img2img_inpaint_mask_brush_color": OptionInfo(
                "#ffffff", "Brush color of inpaint mask", "FormColorPicker"
            ).needs_reload_ui(),
            "img2img_inpaint_sketch_default_brush_color": OptionInfo(
                "#ffffff", "Initial brush color of Inpaint sketch", "FormColorPicker"
            ).needs_reload_ui(),
            "return_mask": OptionInfo(False, "Append mask to inpaint results"),
            "return_mask_composite": OptionInfo(False, "Append masked composite to inpaint results"),
            "img2img_batch_show_results_limit": OptionInfo(
                32, "Max batch results shown; 0 none, -1 all", "Slider", slider(-1, 1000, 1)
            ),
            "overlay_inpaint": OptionInfo(True, "Paste original pixels outside mask over result"),
        },
    ),
    options_section(
        ("optimizations", "Optimizations", "sd"),
        {
            "cross_attention_optimization": OptionInfo(
                "Automatic",
                "Attention implementation; Automatic or title",
                "Dropdown",
                choices_from(shared_items.cross_attention_optimizations),
            ),
            "s_min_uncond": OptionInfo(
                0.0, "Below this sigma skip negative prompt (NGMS)", "Slider", slider(0.0, 15.0, 0.01), infotext="NGMS"
            ),
            "s_min_uncond_all": OptionInfo(
                False, "NGMS skips every step instead of odd ones", infotext="NGMS all steps"
            ),
            "token_merging_ratio": OptionInfo(
                0.0, "ToMe ratio", "Slider", slider(0.0, 0.9, 0.1), infotext="Token merging ratio"
            ),
            "token_merging_ratio_img2img": OptionInfo(
                0.0, "ToMe ratio for img2img when non-zero", "Slider", slider(0.0, 0.9, 0.1)
            ),
            "token_merging_ratio_hr": OptionInfo(
                0.0,
                "ToMe ratio for hires pass when non-zero",
                "Slider",
                slider(0.0, 0.9, 0.1),
                infotext="Token merging ratio hr",
            ),
            "pad_cond_uncond": OptionInfo(
                False, "Pad shorter conditioning with empty-prompt chunks", infotext="Pad conds"
            ),
            "pad_cond_uncond_v0": OptionInfo(
                False, "Pad/truncate negative conditioning to positive length", infotext="Pad conds v0"
            ),
            "persistent_cond_cache": OptionInfo(True, "Keep conditioning cache between jobs"),
            "batch_cond_uncond": OptionInfo(True, "Evaluate cond and uncond in one batch"),
            "fp8_storage": OptionInfo(
                "Disable", "Store weights in FP8", "Radio", choices("Disable", "Enable for SDXL", "Enable")
            ),
            "cache_fp16_weight": OptionInfo(False, "Keep fp16 copies for Lora under FP8"),
        },
    ),
    options_section(
        ("compatibility", "Compatibility", "sd"),
        {
            "auto_backcompat": OptionInfo(True, "Enable compatibility keys from infotext Version"),
            "use_old_emphasis_implementation": OptionInfo(False, "Old single-chunk emphasis parser"),
            "use_old_karras_scheduler_sigmas": OptionInfo(False, "Use sigma range 0.1 to 10"),
            "no_dpmpp_sde_batch_determinism": OptionInfo(False, "No per-image Brownian noise for SDE samplers"),
            "use_old_hires_fix_width_height": OptionInfo(False, "Width/height mean final hires size"),
            "hires_fix_use_firstpass_conds": OptionInfo(False, "Compute hires conds with first-pass networks"),
            "use_old_scheduling": OptionInfo(
                False, "Old prompt-editing timing rules", infotext="Old prompt editing timelines"
            ),
            "use_downcasted_alpha_bar": OptionInfo(
                False, "Round alphas_cumprod through fp16", infotext="Downcast alphas_cumprod"
            ),
            "refiner_switch_by_sample_steps": OptionInfo(
                False, "Refiner switch by step ratio, not timestep", infotext="Refiner switch by sampling steps"
            ),
            "lora_functional": OptionInfo(False, "Apply Loras in forward instead of patching weights"),
        },
    ),
    options_section(
        ("extra_networks", "Extra Networks", "sd"),
        {
            "extra_networks_show_hidden_directories": OptionInfo(True, "List dot-directories as directory buttons"),
            "extra_networks_dir_button_function": OptionInfo(False, "Directory buttons start with a slash"),
            "extra_networks_hidden_models": OptionInfo(
                "When searched",
                "Show cards in dot-directories: always/searched/never",
                "Radio",
                choices("Always", "When searched", "Never"),
            ),
            "extra_networks_default_multiplier": OptionInfo(
                1.0, "Multiplier inserted by card click", "Slider", slider(0.0, 2.0, 0.01)
            ),
            "extra_networks_card_width": OptionInfo(0, "Card width px; 0 default"),
            "extra_networks_card_height": OptionInfo(0, "Card height px; 0 default"),
            "extra_networks_card_text_scale": OptionInfo(1.0, "Card font scale", "Slider", slider(0.0, 2.0, 0.01)),
            "extra_networks_card_show_desc": OptionInfo(True, "Show description on cards"),
            "extra_networks_card_description_is_html": OptionInfo(False, "Do not escape card description"),
            "extra_networks_card_order_field": OptionInfo(
                "Path", "Initial sort key", "Dropdown", choices("Path", "Name", "Date Created", "Date Modified")
            ).needs_reload_ui(),
            "extra_networks_card_order": OptionInfo(
                "Ascending", "Initial sort direction", "Dropdown", choices("Ascending", "Descending")
            ).needs_reload_ui(),
            "extra_networks_tree_view_style": OptionInfo(
                "Dirs", "Directory view: tree or flat buttons", "Radio", choices("Tree", "Dirs")
            ).needs_reload_ui(),
            "extra_networks_tree_view_default_enabled": OptionInfo(
                True, "Directory view visible initially"
            ).needs_reload_ui(),
            "extra_networks_tree_view_default_width": OptionInfo(180, "Tree width px").needs_reload_ui(),
            "extra_networks_add_text_separator": OptionInfo(" ", "Text inserted before a network tag"),
            "ui_extra_networks_tab_reorder": OptionInfo(
                "", "Comma list ordering the extra network tabs"
            ).needs_reload_ui(),
            "textual_inversion_print_at_load": OptionInfo(False, "Print loaded/skipped embeddings"),
            "textual_inversion_add_hashes_to_infotext": OptionInfo(True, "Write TI hashes to infotext"),
            "sd_hypernetwork": OptionInfo(
                "None",
                "Hypernetwork appended to every prompt",
                "Dropdown",
                choices_from("hypernetworks", "None"),
                refresh=shared_items.reload_hypernetworks,
            ),
            "sd_lora": OptionInfo(
                "None",
                "Lora appended to every prompt",
                "Dropdown",
                choices_from("loras", "None"),
                refresh=rescan("loras"),
            ),
            "lora_preferred_name": OptionInfo(
                "Alias from file",
                "Use alias or filename in inserted tags",
                "Radio",
                choices("Alias from file", "Filename"),
            ),
            "lora_add_hashes_to_infotext": OptionInfo(True, "Write Lora hashes to infotext"),
            "lora_bundled_ti_to_infotext": OptionInfo(True, "Bundled embeddings report Lora name as TI hash"),
            "lora_show_all": OptionInfo(False, "Do not hide incompatible Loras"),
            "lora_hide_unknown_for_versions": OptionInfo(
                [], "Model versions for which unknown Loras are hidden", "CheckboxGroup", choices("SD1", "SD2", "SDXL")
            ),
            "lora_in_memory_limit": OptionInfo(0, "Loras kept cached in RAM", component_args={"precision": 0}),
            "lora_not_found_warning_console": OptionInfo(False, "Print missing Lora names"),
            "lora_not_found_gradio_warning": OptionInfo(False, "Toast missing Lora names"),
        },
    ),
    options_section(
        ("sampler-params", "Sampler parameters", "sd"),
        {
            "hide_samplers": OptionInfo(
                [], "Samplers removed from UI lists", "CheckboxGroup", choices_from(sampler_names)
            ).needs_reload_ui(),
            "eta_ddim": OptionInfo(
                0.0, "Eta for DDIM-type samplers", "Slider", slider(0.0, 1.0, 0.01), infotext="Eta DDIM"
            ),
            "eta_ancestral": OptionInfo(
                1.0, "Eta for k-diffusion samplers", "Slider", slider(0.0, 1.0, 0.01), infotext="Eta"
            ),
            "ddim_discretize": OptionInfo(
                "uniform", "Declared; not used by current samplers", "Radio", choices("uniform", "quad")
            ),
            "s_churn": OptionInfo(
                0.0,
                "k-diffusion s_churn; non-zero overrides request value",
                "Slider",
                slider(0.0, 100.0, 0.01),
                infotext="Sigma churn",
            ),
            "s_tmin": OptionInfo(
                0.0,
                "k-diffusion s_tmin; non-zero overrides request value",
                "Slider",
                slider(0.0, 10.0, 0.01),
                infotext="Sigma tmin",
            ),
            "s_tmax": OptionInfo(
                0.0, "k-diffusion s_tmax; 0 means infinity", "Slider", slider(0.0, 999.0, 0.01), infotext="Sigma tmax"
            ),
            "s_noise": OptionInfo(
                1.0,
                "k-diffusion s_noise; non-1 overrides request value",
                "Slider",
                slider(0.0, 1.1, 0.001),
                infotext="Sigma noise",
            ),
            "sigma_min": OptionInfo(
                0.0, "Scheduler sigma_min override; 0 off", "Number", infotext="Schedule min sigma"
            ),
            "sigma_max": OptionInfo(
                0.0, "Scheduler sigma_max override; 0 off", "Number", infotext="Schedule max sigma"
            ),
            "rho": OptionInfo(0.0, "Scheduler rho override; 0 off", "Number", infotext="Schedule rho"),
            "eta_noise_seed_delta": OptionInfo(
                0, "Added to seed for noise after the first (ENSD)", component_args={"precision": 0}, infotext="ENSD"
            ),
            "always_discard_next_to_last_sigma": OptionInfo(
                False, "Drop penultimate sigma for every sampler", infotext="Discard penultimate sigma"
            ),
            "sgm_noise_multiplier": OptionInfo(
                False, "Initial noise scaled by sqrt(1+sigma^2)", infotext="SGM noise multiplier"
            ),
            "uni_pc_variant": OptionInfo(
                "bh1", "UniPC variant", "Radio", choices("bh1", "bh2", "vary_coeff"), infotext="UniPC variant"
            ),
            "uni_pc_skip_type": OptionInfo(
                "time_uniform",
                "UniPC time spacing",
                "Radio",
                choices("time_uniform", "time_quadratic", "logSNR"),
                infotext="UniPC skip type",
            ),
            "uni_pc_order": OptionInfo(3, "UniPC order", "Slider", slider(1, 50, 1), infotext="UniPC order"),
            "uni_pc_lower_order_final": OptionInfo(
                True, "UniPC lower order at end", infotext="UniPC lower order final"
            ),
            "sd_noise_schedule": OptionInfo(
                "Default",
                "Use zero-terminal-SNR alphas",
                "Radio",
                choices("Default", "Zero Terminal SNR"),
                infotext="Noise Schedule",
            ),
            "skip_early_cond": OptionInfo(
                0.0, "Fraction of early steps without CFG", "Slider", slider(0.0, 1.0, 0.01), infotext="Skip Early CFG"
            ),
            "beta_dist_alpha": OptionInfo(
                0.6, "Beta scheduler alpha", "Slider", slider(0.01, 1.0, 0.01), infotext="Beta scheduler alpha"
            ),
            "beta_dist_beta": OptionInfo(
                0.6, "Beta scheduler beta", "Slider", slider(0.01, 1.0, 0.01), infotext="Beta scheduler beta"
            ),
        },
    ),
]
