"""job: what is settled before a run: prompt and size are possible, what was left open is filled in, and which model and
VAE it runs on is noted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from modules import bounds, checkpoints, devices, images, sd_modules, sd_vae, shared
from modules.errors import InvalidInput, NotFound
from modules.job.settings import SamplerDefaults, StartSettings
from modules.sd_hijack import model_hijack

if TYPE_CHECKING:
    from modules.job.run_state import RunState


def resolve(p: RunState) -> None:
    """Checks the request and fills in what it left to the settings.

    Raises InvalidInput for a missing prompt, an image smaller than a latent cell, a job beyond the bounds and a file
    format that cannot be written, and NotFound for an unknown refiner.
    """
    check_prompt_and_size(p)
    p.width, p.height = whole_cells(p, p.width), whole_cells(p, p.height)
    check_bounds(p)
    settings = StartSettings.from_opts(shared.opts)
    if settings.samples_save or getattr(p, "is_api", False):
        images.check_format(settings.samples_format)
    devices.torch_gc()
    if p.restore_faces is None:
        p.restore_faces = settings.face_restoration
    if p.tiling is None:
        p.tiling = settings.tiling
    find_refiner(p)
    note_model(p)
    model_hijack.clear_comments()
    p.fill_fields_from_opts()


def check_prompt_and_size(p: RunState) -> None:
    """Raises InvalidInput for a request that no model could carry out."""
    if p.prompt is None or (isinstance(p.prompt, list) and not p.prompt):
        raise InvalidInput("prompt is missing: give a text, or a list with one text per picture", field="prompt")
    cell = p.sd_model.family.cell
    if min(p.width, p.height) < cell:
        raise InvalidInput(
            f"the picture would be {p.width}x{p.height} pixels; give width and height (or firstphase_width and "
            f"firstphase_height) of at least {cell}",
            field="width",
        )


def whole_cells(p: RunState, side: int) -> int:
    """Returns a width or height that the model's denoiser can take: transformers take several cells as one."""
    family = p.sd_model.family
    return side // family.cell * family.cell if family.denoiser.patch > 1 else side


def check_bounds(p: RunState) -> None:
    """Raises InvalidInput for a job larger than the settings api_max_* allow, whoever has asked for it."""
    limits = bounds.current()
    limits.check_size(p.width, p.height, "width", "height")
    limits.check("api_max_steps", p.steps, "steps", "steps")
    limits.check("api_max_batch_size", p.batch_size, "pictures in a batch", "batch_size", lowest=1)
    limits.check_images(p.batch_size * p.n_iter, "n_iter")
    for field in ("cfg_scale", "denoising_strength", "subseed_strength"):
        value = getattr(p, field)
        if value is not None and not math.isfinite(value):
            raise InvalidInput(f"{field} is {value}, but must be a number", field=field)
    for field in ("prompt", "negative_prompt"):
        texts = getattr(p, field)
        limits.check_images(len(texts) if isinstance(texts, list) else 0, field)


def find_refiner(p: RunState) -> None:
    """Fills `p.refiner_checkpoint_info`. Raises NotFound for an unknown checkpoint."""
    if p.refiner_checkpoint in (None, "", "None", "none"):
        return
    p.refiner_checkpoint_info = checkpoints.find(p.refiner_checkpoint)
    if p.refiner_checkpoint_info is None:
        raise NotFound(f"Could not find a checkpoint with name {p.refiner_checkpoint!r}", field="refiner_checkpoint")


def note_model(p: RunState) -> None:
    """Notes names and hashes for the infotext."""
    p.sd_model_name = shared.sd_model.sd_checkpoint_info.name_for_extra
    p.sd_model_hash = shared.sd_model.sd_model_hash
    p.sd_vae_name = sd_vae.get_loaded_vae_name()
    p.sd_vae_hash = sd_vae.get_loaded_vae_hash()
    p.sd_module_names = tuple(map(sd_modules.stem, shared.sd_model.modules_used))


def fill_sampler_parameters(p: RunState) -> None:
    """Resolves the sampler parameters that were left to the settings; an s_tmax of 0 means no upper end."""
    defaults = SamplerDefaults.from_opts(shared.opts)
    for name in ("s_min_uncond", "s_churn", "s_tmin", "s_tmax", "s_noise"):
        if getattr(p, name) is None:
            setattr(p, name, getattr(defaults, name))
    p.s_tmax = p.s_tmax or float("inf")
