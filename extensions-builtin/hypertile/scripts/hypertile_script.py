"""Hypertile, as the settings and the X/Y/Z plot offer it."""

from __future__ import annotations

import os
from typing import Any

from hypertile import Hypertile, TilingSettings

from modules import script_callbacks, scripts, shared
from modules.processing import Processed, StableDiffusionProcessing
from modules.shared import opts

tiling = Hypertile()
"""Shared by both tabs, whose jobs run one at a time on the same model."""

OPTIONS = {"max depth": "max_depth", "max tile size": "max_tile", "swap size": "swap_size"}
"""End of an infotext key -> part of the names hypertile_<part>_unet and hypertile_<part>_vae."""


def settings_of(network: str) -> TilingSettings:
    """Settings for the U-Net ("unet") or the VAE ("vae")."""
    return TilingSettings(**{part: getattr(opts, f"hypertile_{part}_{network}") for part in OPTIONS.values()})


def changed_settings(label: str, network: str) -> dict[str, Any]:
    """Infotext of the settings for a network that are not at their defaults."""
    names = {f"Hypertile {label} {text}": f"hypertile_{part}_{network}" for text, part in OPTIONS.items()}
    return {key: getattr(opts, name) for key, name in names.items() if getattr(opts, name) != opts.get_default(name)}


def configure(width: int, height: int, tiles_unet: bool) -> None:
    """Tiles the loaded model for pictures of this size, as the settings say."""
    tiling.eject()
    model = shared.sd_model
    if tiles_unet:
        tiling.tile_unet(model.model.diffusion_model, model.is_sdxl, (width, height), settings_of("unet"))
    if opts.hypertile_enable_vae:
        tiling.tile_vae(model.first_stage_model, (width, height), settings_of("vae"))


class ScriptHypertile(scripts.Script):
    def title(self) -> str:
        return "Hypertile"

    def show(self, is_img2img: bool) -> Any:
        return scripts.AlwaysVisible

    def process(self, p: StableDiffusionProcessing, *args: Any) -> None:
        tiling.seed(p.all_seeds[0])
        configure(p.width, p.height, tiles_unet=opts.hypertile_enable_unet)
        params = p.extra_generation_params
        if opts.hypertile_enable_unet:
            params["Hypertile U-Net"] = True
            params.update(changed_settings("U-Net", "unet"))
        if opts.hypertile_enable_vae:
            params["Hypertile VAE"] = True
            params.update(changed_settings("VAE", "vae"))

    def before_hr(self, p: StableDiffusionProcessing, *args: Any) -> None:
        tiles_unet = opts.hypertile_enable_unet or opts.hypertile_enable_unet_secondpass
        if tiles_unet:
            tiling.seed(p.all_seeds[0])
        configure(p.hr_upscale_to_x, p.hr_upscale_to_y, tiles_unet)
        if opts.hypertile_enable_unet_secondpass and not opts.hypertile_enable_unet:
            p.extra_generation_params["Hypertile U-Net second pass"] = True
            p.extra_generation_params.update(changed_settings("U-Net", "unet"))

    def postprocess(self, p: StableDiffusionProcessing, processed: Processed, *args: Any) -> None:
        tiling.eject()


def add_axis_options() -> None:
    """Adds the settings to the axes of the X/Y/Z plot."""
    xyz_grid = next(
        (data.module for data in scripts.scripts_data if os.path.basename(data.path) == "xyz_grid.py"), None
    )
    if xyz_grid is None:
        return

    def switch(label: str, setting: str) -> Any:
        apply = xyz_grid.apply_override(setting, boolean=True)
        return xyz_grid.AxisOption(label, str, apply, choices=xyz_grid.boolean_choice(reverse=True))

    def number(label: str, setting: str, maximum: int) -> Any:
        confirm = xyz_grid.confirm_range(0, maximum, label)
        return xyz_grid.AxisOption(label, int, xyz_grid.apply_override(setting), confirm=confirm)

    xyz_grid.axis_options += [
        switch("[Hypertile] Unet First pass Enabled", "hypertile_enable_unet"),
        switch("[Hypertile] Unet Second pass Enabled", "hypertile_enable_unet_secondpass"),
        number("[Hypertile] Unet Max Depth", "hypertile_max_depth_unet", 3),
        number("[Hypertile] Unet Max Tile Size", "hypertile_max_tile_unet", 512),
        number("[Hypertile] Unet Swap Size", "hypertile_swap_size_unet", 64),
        switch("[Hypertile] VAE Enabled", "hypertile_enable_vae"),
        number("[Hypertile] VAE Max Depth", "hypertile_max_depth_vae", 3),
        number("[Hypertile] VAE Max Tile Size", "hypertile_max_tile_vae", 512),
        number("[Hypertile] VAE Swap Size", "hypertile_swap_size_vae", 64),
    ]


script_callbacks.on_before_ui(add_axis_options)
