"""Hypertile, as the settings and the X/Y/Z plot offer it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from hypertile import Hypertile, TilingSettings

from modules import model_patches, script_callbacks, scripts
from modules.processing import Processed, StableDiffusionProcessing
from modules.shared import opts

tiling = Hypertile()
"""Shared by both tabs, whose jobs run one at a time."""

OPTIONS = {"max depth": "max_depth", "max tile size": "max_tile", "swap size": "swap_size"}
"""End of an infotext key -> part of the names hypertile_<part>_unet and hypertile_<part>_vae."""

KINDS = {"unet": "hypertile U-Net", "vae": "hypertile VAE"}
"""Network -> kind of its patch."""


@dataclass(frozen=True)
class HypertileSettings:
    """What the settings say.

    unet, second_pass, vae: what is tiled; second_pass: the U-Net, in the hires pass only. changed: network -> infotext
    of what is not at its default.
    """

    unet: bool
    second_pass: bool
    vae: bool
    unet_tiling: TilingSettings
    vae_tiling: TilingSettings
    changed: dict[str, dict[str, Any]]

    @classmethod
    def from_opts(cls, opts: Any) -> HypertileSettings:
        """Returns what the settings say."""
        values = {net: {part: getattr(opts, f"hypertile_{part}_{net}") for part in OPTIONS.values()} for net in KINDS}
        labels = {"unet": "U-Net", "vae": "VAE"}
        changed = {
            net: {
                f"Hypertile {label} {text}": values[net][part]
                for text, part in OPTIONS.items()
                if values[net][part] != opts.get_default(f"hypertile_{part}_{net}")
            }
            for net, label in labels.items()
        }
        return cls(
            unet=opts.hypertile_enable_unet,
            second_pass=opts.hypertile_enable_unet_secondpass,
            vae=opts.hypertile_enable_vae,
            unet_tiling=TilingSettings(**values["unet"]),
            vae_tiling=TilingSettings(**values["vae"]),
            changed=changed,
        )


def tile(settings: HypertileSettings, size: tuple[int, int], tiles_unet: bool) -> None:
    """Has the job's model tiled for images of this size (width, height), whichever model that becomes."""

    def _unet(model: Any) -> AbstractContextManager[None]:
        return tiling.unet_tiled(model.network("denoiser"), model.is_sdxl, size, settings.unet_tiling)

    def _vae(model: Any) -> AbstractContextManager[None]:
        return tiling.vae_tiled(model.first_stage_model, size, settings.vae_tiling)

    wishes = model_patches.wishes()
    for kind, is_wanted, patch in ((KINDS["unet"], tiles_unet, _unet), (KINDS["vae"], settings.vae, _vae)):
        if is_wanted:
            wishes.put(kind, patch)
        else:
            wishes.take(kind)


class ScriptHypertile(scripts.Script):
    """Tiles the networks of every job, if the settings say so."""

    def title(self) -> str:
        """Returns the name of the script."""
        return "Hypertile"

    def show(self, is_img2img: bool) -> Any:
        """Says that it belongs to every job."""
        return scripts.AlwaysVisible

    def process(self, p: StableDiffusionProcessing, *args: Any) -> None:
        """Tiles the networks for the first pass, and notes that in the infotext."""
        settings = HypertileSettings.from_opts(opts)
        tiling.seed(p.all_seeds[0])
        tile(settings, (p.width, p.height), settings.unet)
        params = p.extra_generation_params
        if settings.unet:
            params["Hypertile U-Net"] = True
            params.update(settings.changed["unet"])
        if settings.vae:
            params["Hypertile VAE"] = True
            params.update(settings.changed["vae"])

    def before_hr(self, p: StableDiffusionProcessing, *args: Any) -> None:
        """Tiles the networks for the hires pass."""
        settings = HypertileSettings.from_opts(opts)
        tiles_unet = settings.unet or settings.second_pass
        if tiles_unet:
            tiling.seed(p.all_seeds[0])
        tile(settings, (p.hr_upscale_to_x, p.hr_upscale_to_y), tiles_unet)
        if settings.second_pass and not settings.unet:
            p.extra_generation_params["Hypertile U-Net second pass"] = True
            p.extra_generation_params.update(settings.changed["unet"])

    def postprocess(self, p: StableDiffusionProcessing, processed: Processed, *args: Any) -> None:
        """Tiles nothing any more."""
        for kind in KINDS.values():
            model_patches.wishes().take(kind)


def add_axis_options() -> None:
    """Adds the settings to the axes of the X/Y/Z plot."""
    xyz_grid = next(
        (data.module for data in scripts.scripts_data if os.path.basename(data.path) == "xyz_grid.py"), None
    )
    if xyz_grid is None:
        return

    def _switch(label: str, setting: str) -> Any:
        apply = xyz_grid.apply_override(setting, boolean=True)
        return xyz_grid.AxisOption(label, str, apply, choices=xyz_grid.boolean_choice(reverse=True))

    def _number(label: str, setting: str, maximum: int) -> Any:
        confirm = xyz_grid.confirm_range(0, maximum, label)
        return xyz_grid.AxisOption(label, int, xyz_grid.apply_override(setting), confirm=confirm)

    xyz_grid.axis_options += [
        _switch("[Hypertile] Unet First pass Enabled", "hypertile_enable_unet"),
        _switch("[Hypertile] Unet Second pass Enabled", "hypertile_enable_unet_secondpass"),
        _number("[Hypertile] Unet Max Depth", "hypertile_max_depth_unet", 3),
        _number("[Hypertile] Unet Max Tile Size", "hypertile_max_tile_unet", 512),
        _number("[Hypertile] Unet Swap Size", "hypertile_swap_size_unet", 64),
        _switch("[Hypertile] VAE Enabled", "hypertile_enable_vae"),
        _number("[Hypertile] VAE Max Depth", "hypertile_max_depth_vae", 3),
        _number("[Hypertile] VAE Max Tile Size", "hypertile_max_tile_vae", 512),
        _number("[Hypertile] VAE Swap Size", "hypertile_swap_size_vae", 64),
    ]


script_callbacks.on_before_ui(add_axis_options)
