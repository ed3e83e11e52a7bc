"""job: the batches of a run: how they begin, which prompts, seeds and noise each has, and what its hooks are told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modules import devices, rng, scripts, sd_models, sd_unet, sd_vae_approx, shared
from modules.job import shares
from modules.job.settings import StartSettings

if TYPE_CHECKING:
    import torch

    from modules.job.run_state import RunState


def each(p: RunState) -> Iterator[int]:
    """Prepares the run, and yields the number of each batch of this process's share, its prompts, seeds and noise in
    place, until all are made or something asks to stop.
    """
    state = shared.state
    with devices.autocast():
        p.init(p.all_prompts, p.all_seeds, p.all_subseeds)
    if StartSettings.from_opts(shared.opts).previews_need_network:
        sd_vae_approx.model()
    sd_unet.apply_unet()
    if state.job_count == -1:
        state.job_count = p.n_iter

    for n in shares.current.get().numbers(p.n_iter):
        p.iteration = n
        state.skipped = False
        if state.interrupted or state.stopping_generation:
            return
        with sd_models.SkipWritingToConfig():
            sd_models.reload_model_weights()  # a refiner or hires checkpoint may be loaded
        take(p)
        yield n


def slice_of(p: RunState) -> slice:
    """Returns the place of batch `p.iteration` in the job's lists."""
    return slice(p.iteration * p.batch_size, (p.iteration + 1) * p.batch_size)


def take(p: RunState) -> None:
    """Takes the prompts and seeds of batch `p.iteration` out of the job's, and makes the batch's noise source."""
    batch = slice_of(p)
    p.prompts, p.negative_prompts = p.all_prompts[batch], p.all_negative_prompts[batch]
    p.seeds, p.subseeds = p.all_seeds[batch], p.all_subseeds[batch]
    p.rng = rng.ImageRNG(
        p.sd_model.family.latent_format.cells(p.width, p.height),
        p.seeds,
        subseeds=p.subseeds,
        subseed_strength=p.subseed_strength,
        seed_resize_from_h=p.seed_resize_from_h,
        seed_resize_from_w=p.seed_resize_from_w,
    )


def hook_arguments(p: RunState, n: int) -> dict[str, Any]:
    """Returns what the hooks of batch n are told of it."""
    return {"batch_number": n, "prompts": p.prompts, "seeds": p.seeds, "subseeds": p.subseeds}


def after_decoding(p: RunState, n: int, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Shows the batch (B, 3, H, W) in 0..1 to the scripts' batch hooks and returns its images, of any number."""
    if p.scripts is None:
        return list(pixels)
    p.scripts.postprocess_batch(p, pixels, batch_number=n)
    # From here on prompts are what was asked for, network tags included.
    batch = slice(n * p.batch_size, (n + 1) * p.batch_size)
    p.prompts, p.negative_prompts = p.all_prompts[batch], p.all_negative_prompts[batch]
    shown = scripts.PostprocessBatchListArgs(list(pixels))
    p.scripts.postprocess_batch_list(p, shown, batch_number=n)
    return shown.images
