"""state: settings rows of upscalers, face restoration and the Extras tab."""

from __future__ import annotations

from modules import shared_items
from modules.options import OptionInfo, options_section
from modules.settings.widgets import choices, choices_from, slider


def postprocessing_script_names() -> list[str]:
    return [script.name for script in shared_items.postprocessing_scripts()]


sections = [
    options_section(
        ("upscaling", "Upscaling", "postprocessing"),
        {
            "ESRGAN_tile": OptionInfo(
                192, "Tile size for ESRGAN-family upscalers; 0 disables", "Slider", slider(0, 512, 16)
            ),
            "ESRGAN_tile_overlap": OptionInfo(8, "Tile overlap in pixels", "Slider", slider(0, 48, 1)),
            "realesrgan_enabled_models": OptionInfo(
                ["R-ESRGAN 4x+", "R-ESRGAN 4x+ Anime6B"],
                "RealESRGAN models offered as upscalers",
                "CheckboxGroup",
                choices_from(shared_items.realesrgan_models_names),
            ),
            "dat_enabled_models": OptionInfo(
                ["DAT x2", "DAT x3", "DAT x4"],
                "DAT models offered as upscalers",
                "CheckboxGroup",
                choices_from(shared_items.dat_models_names),
            ),
            "DAT_tile": OptionInfo(192, "Tile size for DAT; 0 disables", "Slider", slider(0, 512, 16)),
            "DAT_tile_overlap": OptionInfo(8, "Tile overlap in pixels for DAT", "Slider", slider(0, 48, 1)),
            "upscaler_for_img2img": OptionInfo(
                None, "Upscaler used when img2img input must be enlarged", "Dropdown", choices_from("upscalers")
            ),
            "set_scale_by_when_changing_upscaler": OptionInfo(False, "Set extras scale from digit in upscaler name"),
            "ldsr_steps": OptionInfo(100, "LDSR sampling steps", "Slider", slider(1, 200, 1)),
            "ldsr_cached": OptionInfo(False, "Keep LDSR model loaded", component_args={"interactive": True}),
            "SCUNET_tile": OptionInfo(256, "ScuNET tile size; 0 disables", "Slider", slider(0, 512, 16)),
            "SCUNET_tile_overlap": OptionInfo(8, "ScuNET tile overlap", "Slider", slider(0, 64, 1)),
            "SWIN_tile": OptionInfo(192, "SwinIR tile size", "Slider", slider(16, 512, 16)),
            "SWIN_tile_overlap": OptionInfo(8, "SwinIR tile overlap", "Slider", slider(0, 48, 1)),
            "SWIN_torch_compile": OptionInfo(False, "Compile SwinIR model", component_args={"interactive": True}),
        },
    ),
    options_section(
        ("face-restoration", "Face restoration", "postprocessing"),
        {
            "face_restoration": OptionInfo(
                False, "Default for restore_faces when request leaves it unset", infotext="Face restoration"
            ),
            "face_restoration_model": OptionInfo(
                "CodeFormer", "Which face restorer is used", "Radio", choices_from("face_restorers")
            ),
            "code_former_weight": OptionInfo(0.5, "CodeFormer fidelity weight", "Slider", slider(0, 1, 0.01)),
            "face_restoration_unload": OptionInfo(False, "Move face model to CPU after use"),
        },
    ),
    options_section(
        ("postprocessing", "Postprocessing", "postprocessing"),
        {
            "postprocessing_enable_in_main_ui": OptionInfo(
                [],
                "Postprocessing scripts shown in txt2img/img2img",
                "DropdownMulti",
                choices_from(postprocessing_script_names),
            ),
            "postprocessing_disable_in_extras": OptionInfo(
                [],
                "Postprocessing scripts hidden in Extras",
                "DropdownMulti",
                choices_from(postprocessing_script_names),
            ),
            "postprocessing_operation_order": OptionInfo(
                [], "Postprocessing script order", "DropdownMulti", choices_from(postprocessing_script_names)
            ),
            "upscaling_max_images_in_cache": OptionInfo(5, "Extras upscale cache size", "Slider", slider(0, 10, 1)),
            "postprocessing_existing_caption_action": OptionInfo(
                "Ignore",
                "How generated caption merges with existing file",
                "Radio",
                choices("Ignore", "Keep", "Prepend", "Append"),
            ),
        },
    ),
]
