"""state: settings rows of upscalers, face restoration and the Extras tab."""

from __future__ import annotations

from modules import shared_items
from modules.options import OptionInfo, options_section
from modules.settings.widgets import choices, choices_from, slider


def postprocessing_script_names() -> list[str]:
    """Returns the names of the postprocessing scripts."""
    return [script.name for script in shared_items.postprocessing_scripts()]


sections = [
    options_section(
        ("upscaling", "Upscaling", "postprocessing"),
        {
            "ESRGAN_tile": OptionInfo(192, "Tile size of ESRGAN upscalers", "Slider", slider(0, 512, 16)).info(
                "pixels; 0: no tiles"
            ),
            "ESRGAN_tile_overlap": OptionInfo(
                8, "Overlap of tiles of ESRGAN upscalers", "Slider", slider(0, 48, 1)
            ).info("pixels; too little leaves seams"),
            "realesrgan_enabled_models": OptionInfo(
                ["R-ESRGAN 4x+", "R-ESRGAN 4x+ Anime6B"],
                "Real-ESRGAN upscalers in the menus",
                "CheckboxGroup",
                choices_from(shared_items.realesrgan_models_names),
            ),
            "dat_enabled_models": OptionInfo(
                ["DAT x2", "DAT x3", "DAT x4"],
                "DAT upscalers in the menus",
                "CheckboxGroup",
                choices_from(shared_items.dat_models_names),
            ),
            "DAT_tile": OptionInfo(192, "Tile size of DAT upscalers", "Slider", slider(0, 512, 16)).info(
                "pixels; 0: no tiles"
            ),
            "DAT_tile_overlap": OptionInfo(8, "Overlap of tiles of DAT upscalers", "Slider", slider(0, 48, 1)).info(
                "pixels; too little leaves seams"
            ),
            "upscaler_for_img2img": OptionInfo(
                None, "Upscaler that enlarges the source of img2img", "Dropdown", choices_from("upscalers")
            ),
            "set_scale_by_when_changing_upscaler": OptionInfo(
                False, "Take the scale from the name of the upscaler when it is chosen in Extras"
            ),
            "ldsr_steps": OptionInfo(100, "Steps of LDSR", "Slider", slider(1, 200, 1)),
            "ldsr_cached": OptionInfo(False, "Keep LDSR in memory", component_args={"interactive": True}),
            "SCUNET_tile": OptionInfo(256, "Tile size of ScuNET", "Slider", slider(0, 512, 16)).info(
                "pixels; 0: no tiles"
            ),
            "SCUNET_tile_overlap": OptionInfo(8, "Overlap of tiles of ScuNET", "Slider", slider(0, 64, 1)).info(
                "pixels; too little leaves seams"
            ),
            "SWIN_tile": OptionInfo(192, "Tile size of SwinIR", "Slider", slider(16, 512, 16)).info("pixels"),
            "SWIN_tile_overlap": OptionInfo(8, "Overlap of tiles of SwinIR", "Slider", slider(0, 48, 1)).info(
                "pixels; too little leaves seams"
            ),
            "SWIN_torch_compile": OptionInfo(False, "Compile SwinIR", component_args={"interactive": True}).info(
                "faster after a slow first run"
            ),
        },
    ),
    options_section(
        ("face-restoration", "Face restoration", "postprocessing"),
        {
            "face_restoration": OptionInfo(False, "Restore faces", infotext="Face restoration"),
            "face_restoration_model": OptionInfo(
                "CodeFormer", "Model that restores faces", "Radio", choices_from("face_restorers")
            ),
            "code_former_weight": OptionInfo(0.5, "Weight of CodeFormer", "Slider", slider(0, 1, 0.01)).info(
                "0: strongest, 1: weakest"
            ),
            "face_restoration_unload": OptionInfo(False, "Move the model to main memory after it has restored faces"),
        },
    ),
    options_section(
        ("postprocessing", "Postprocessing", "postprocessing"),
        {
            "postprocessing_enable_in_main_ui": OptionInfo(
                [],
                "Tools to offer in txt2img and img2img too",
                "DropdownMulti",
                choices_from(postprocessing_script_names),
            ),
            "postprocessing_disable_in_extras": OptionInfo(
                [],
                "Tools to hide in Extras",
                "DropdownMulti",
                choices_from(postprocessing_script_names),
            ),
            "postprocessing_operation_order": OptionInfo(
                [], "Order of tools", "DropdownMulti", choices_from(postprocessing_script_names)
            ),
            "upscaling_max_images_in_cache": OptionInfo(
                5, "Upscaled pictures kept for the next click", "Slider", slider(0, 10, 1)
            ),
            "postprocessing_existing_caption_action": OptionInfo(
                "Ignore",
                "If a caption file exists already",
                "Radio",
                choices("Ignore", "Keep", "Prepend", "Append"),
            ),
        },
    ),
]
