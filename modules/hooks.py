"""state: the contract of all hooks as a table, and the one loop that calls what extensions hooked on.

A hook is either a callback, registered through script_callbacks.on_<name>, or a method of a Script, called for the
scripts of a tab by scripts.ScriptRunner. Adding a hook is adding a row here and calling it where the row says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from modules.hook_records import Call

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HookSpec:
    """One hook.

    category: its name in lists of callbacks, in metadata.ini and in the settings prioritized_callbacks_<category>.
    registrar: the function of script_callbacks, or the method of Script. arguments: as the hook receives them.
    when: at what moment it is called. may_change: what the rest of the program takes back from it. thread: where, one
    of THREADS. is_reversed: called in opposite order, so that what was set up last is taken down first.
    """

    category: str
    registrar: str
    arguments: str
    when: str
    may_change: str = "nothing"
    is_reversed: bool = False
    thread: str = "job"


THREADS: dict[str, str] = {
    "main": "the one that starts the program and builds the page; a page that is built anew, too",
    "job": "the one that has the device: of a job of the page or the API the thread `job worker`, of a job that an"
    " extension runs itself its own",
    "pool": "one of those that answer the page and the API, beside a running job",
    "any": "whichever needs it first",
}
"""In which threads hooks are called."""


CALLBACK_HOOKS: dict[str, HookSpec] = {
    spec.category: spec
    for spec in (
        HookSpec(
            "app_started",
            "on_app_started",
            "(demo, app)",
            "the server has started; demo is the page (gradio.Blocks; None with --nowebui), app is the FastAPI object",
            "routes of app",
            thread="main",
        ),
        HookSpec(
            "on_reload",
            "on_before_reload",
            "()",
            "the page is about to be built anew, before script_unloaded",
            thread="main",
        ),
        HookSpec(
            "model_loaded",
            "on_model_loaded",
            "(sd_model)",
            "a checkpoint was loaded or made current, or its VAE was changed",
            "the model",
            thread="any",
        ),
        HookSpec(
            "ui_tabs",
            "on_ui_tabs",
            "()",
            "the page is being built",
            "its tabs: return a list of (gradio block, title, id); a tab gets the elem_id tab_<id>",
            thread="main",
        ),
        HookSpec(
            "ui_train_tabs",
            "on_ui_train_tabs",
            "(params: UiTrainTabParams)",
            "the Train tab is being built, inside its row of tabs",
            "the Train tab: make gradio tabs",
            thread="main",
        ),
        HookSpec(
            "ui_settings",
            "on_ui_settings",
            "()",
            "the page is about to be built, with --nowebui too",
            "the settings: call shared.opts.add_option",
            thread="main",
        ),
        HookSpec(
            "before_image_saved",
            "on_before_image_saved",
            "(params: ImageSaveParams)",
            "an image is about to be written",
            "image, filename and pnginfo of params",
        ),
        HookSpec("image_saved", "on_image_saved", "(params: ImageSaveParams)", "an image was written"),
        HookSpec(
            "extra_noise",
            "on_extra_noise",
            "(params: ExtraNoiseParams)",
            "img2img or the hires pass adds noise, with the setting img2img_extra_noise above 0",
            "noise of params",
        ),
        HookSpec(
            "cfg_denoiser",
            "on_cfg_denoiser",
            "(params: CFGDenoiserParams)",
            "each call of the denoiser, before the model",
            "x, image_cond, sigma, text_cond and text_uncond of params",
        ),
        HookSpec(
            "cfg_denoised",
            "on_cfg_denoised",
            "(params: CFGDenoisedParams)",
            "each call of the denoiser, after the model, before cond and uncond are combined",
            "x of params, in place",
        ),
        HookSpec(
            "cfg_after_cfg",
            "on_cfg_after_cfg",
            "(params: AfterCFGCallbackParams)",
            "each call of the denoiser, after cond and uncond were combined and the preview was stored",
            "x of params",
        ),
        HookSpec(
            "before_component",
            "on_before_component",
            "(component, **kwargs)",
            "a gradio component is about to be made; kwargs are the arguments of its constructor",
            "the page: make other components",
            thread="main",
        ),
        HookSpec(
            "after_component",
            "on_after_component",
            "(component, **kwargs)",
            "a gradio component was made; kwargs are the arguments of its constructor",
            "the page: make other components, attach events",
            thread="main",
        ),
        HookSpec(
            "image_grid",
            "on_image_grid",
            "(params: ImageGridLoopParams)",
            "a grid of images is about to be made",
            "imgs, cols and rows of params",
        ),
        HookSpec(
            "infotext_pasted",
            "on_infotext_pasted",
            "(infotext, params)",
            "the infotext of an image was parsed, to be pasted or for the API; params maps its keys to values",
            "params",
            thread="pool",
        ),
        HookSpec(
            "script_unloaded",
            "on_script_unloaded",
            "()",
            "scripts are about to be loaded anew: undo what was patched",
            is_reversed=True,
            thread="main",
        ),
        HookSpec(
            "before_ui",
            "on_before_ui",
            "()",
            "the page is about to be built; with --nowebui once, after scripts have built their controls",
            is_reversed=True,
            thread="main",
        ),
        HookSpec(
            "list_optimizers",
            "on_list_optimizers",
            "(res: list)",
            "attention implementations are listed",
            "res: append SdOptimization objects",
            thread="any",
        ),
        HookSpec(
            "list_unets",
            "on_list_unets",
            "(res: list)",
            "alternative U-Nets are listed",
            "res: append SdUnetOption objects",
            thread="any",
        ),
        HookSpec(
            "before_token_counter",
            "on_before_token_counter",
            "(params: BeforeTokenCounterParams)",
            "the page asks for the number of tokens of a prompt",
            "all of params",
            thread="pool",
        ),
    )
}

SCRIPT_HOOKS: dict[str, HookSpec] = {
    spec.registrar: spec
    for spec in (
        HookSpec("script_setup", "setup", "(p, *args)", "a job has been described, nothing of it has run", "p"),
        HookSpec(
            "script_before_process",
            "before_process",
            "(p, *args)",
            "a run begins, before override_settings are laid over the settings and the model is chosen",
            "p, p.override_settings too",
        ),
        HookSpec(
            "script_process",
            "process",
            "(p, *args)",
            "seeds and prompts of all images are laid out",
            "p, its lists of prompts and seeds too",
        ),
        HookSpec(
            "script_before_process_batch",
            "before_process_batch",
            "(p, *args, batch_number, prompts, seeds, subseeds)",
            "each batch, before extra networks are read from its prompts",
            "p.prompts and the other lists of the batch",
        ),
        HookSpec(
            "script_after_extra_networks_activate",
            "after_extra_networks_activate",
            "(p, *args, batch_number, prompts, seeds, subseeds, extra_network_data)",
            "each batch, after its extra networks were applied to the model",
            "the model",
        ),
        HookSpec(
            "script_process_batch",
            "process_batch",
            "(p, *args, batch_number, prompts, seeds, subseeds)",
            "each batch, before its prompts are encoded",
            "p.prompts and the other lists of the batch",
        ),
        HookSpec(
            "script_process_before_every_sampling",
            "process_before_every_sampling",
            "(p, *args, x, noise, c, uc)",
            "each pass over the sampler, also that of the hires pass",
            "p; x, noise, c and uc in place",
        ),
        HookSpec("script_before_hr", "before_hr", "(p, *args)", "the hires pass begins, after the first one", "p"),
        HookSpec(
            "script_on_mask_blend",
            "on_mask_blend",
            "(p, mba, *args)",
            "inpainting blends original and new latents: at each step, and once at the end",
            "mba.blended_latent",
        ),
        HookSpec(
            "script_post_sample",
            "post_sample",
            "(p, ps, *args)",
            "each batch was sampled, nothing of it decoded",
            "ps.samples",
        ),
        HookSpec(
            "script_postprocess_batch",
            "postprocess_batch",
            "(p, *args, images, batch_number)",
            "each batch was decoded; images is a tensor (B, 3, H, W) in 0..1",
            "images in place",
        ),
        HookSpec(
            "script_postprocess_batch_list",
            "postprocess_batch_list",
            "(p, pp, *args, batch_number)",
            "after postprocess_batch; pp.images is a list of tensors (3, H, W) in 0..1",
            "pp.images: replace, add, remove; p.prompts and the other lists have to stay as long",
        ),
        HookSpec(
            "script_postprocess_image",
            "postprocess_image",
            "(p, pp, *args)",
            "each image, before colour correction and overlay",
            "pp.image",
        ),
        HookSpec(
            "script_postprocess_maskoverlay",
            "postprocess_maskoverlay",
            "(p, ppmo, *args)",
            "each inpainted image, before the original is laid over it",
            "ppmo.mask_for_overlay and ppmo.overlay_image",
        ),
        HookSpec(
            "script_postprocess_image_after_composite",
            "postprocess_image_after_composite",
            "(p, pp, *args)",
            "each image, after the overlay, before it is saved",
            "pp.image",
        ),
        HookSpec(
            "script_postprocess",
            "postprocess",
            "(p, processed, *args)",
            "a run has ended",
            "processed: its images and texts",
        ),
        HookSpec(
            "script_before_component",
            "before_component",
            "(component, **kwargs)",
            "a gradio component of the tab is about to be made",
            "the page: make other components",
            thread="main",
        ),
        HookSpec(
            "script_after_component",
            "after_component",
            "(component, **kwargs)",
            "a gradio component of the tab was made",
            "the page: make other components, attach events",
            thread="main",
        ),
    )
}


@dataclass
class MaskBlendArgs:
    """The argument mba of on_mask_blend: original and new latents of an inpainted batch, each (B, C, h, w).

    nmask is 1 where the image is made anew, mask is 1 - nmask. blended_latent is what is used and may be replaced.
    denoiser is the CFGDenoiser and sigma its noise levels (B,); both are None at the blend after the last step.
    """

    current_latent: Tensor
    nmask: Tensor
    init_latent: Tensor
    mask: Tensor
    blended_latent: Tensor
    denoiser: Any = None
    sigma: Tensor | None = None

    @property
    def is_final_blend(self) -> bool:
        """Whether it is the blend after the last step."""
        return self.denoiser is None


class HookedCallback(Protocol):
    """What run_each needs to know of a callback: itself, and the file it comes from."""

    script: str
    callback: Any


def run_each(hook: str, callbacks: Iterable[HookedCallback], call: Callable[[Any], T]) -> list[T]:
    """Calls every callback of a hook through call(callback) and returns what they returned.

    An exception of one is logged with hook, file and line, and stops neither the others nor the job. Interruptions
    pass: they are no Exception.
    """
    results: list[T] = []
    for entry in callbacks:
        with Call(hook, entry.script):
            results.append(call(entry.callback))
    return results
