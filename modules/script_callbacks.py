"""state: the registry of callbacks: on_<hook> for extensions, <hook>_callback for the program.

hooks.py says what each hook is. A callback belongs to the file that registered it. Callbacks of a hook are called in
order of registration, changed by what metadata.ini files and the settings prioritized_callbacks_<category> say.
"""

from __future__ import annotations

import dataclasses
import html
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from modules import errors, extensions, shared, shared_items, timer, util
from modules.hooks import CALLBACK_HOOKS, run_each
from modules.options import OptionHTML, OptionInfo, options_section

if TYPE_CHECKING:
    from fastapi import FastAPI
    from gradio import Blocks
    from PIL import Image
    from torch import Tensor
    from torch.nn import Module


@dataclasses.dataclass
class ImageSaveParams:
    """An image that is being saved."""

    image: Image.Image
    p: Any
    """The processing object, None for images that no job made."""
    filename: str
    """Path of the file, in on_before_image_saved the one intended."""
    pnginfo: dict[str, Any]
    """Texts stored with the image; the infotext is under "parameters"."""


@dataclasses.dataclass
class ExtraNoiseParams:
    """Noise that is added to a latent before img2img or the hires pass; all tensors (B, C, h, w)."""

    noise: Tensor
    x: Tensor
    """Latent without noise."""
    xi: Tensor
    """Latent with noise, before extra noise."""


@dataclasses.dataclass
class CFGDenoiserParams:
    """Input of one call of the denoiser. In x, image_cond and sigma the rows of all conds come first, then uncond's."""

    x: Tensor
    """Noisy latents (N, C, h, w)."""
    image_cond: Tensor
    """Image conditioning (N, C, h, w)."""
    sigma: Tensor
    """Noise levels (N,)."""
    sampling_step: int
    total_sampling_steps: int
    text_cond: Any
    """Encoded prompts, one row for each row of x that is no uncond: a tensor, or a dictionary of tensors."""
    text_uncond: Any
    """Encoded negative prompts, one row for each image."""
    denoiser: Any = None
    """The CFGDenoiser."""


@dataclasses.dataclass
class CFGDenoisedParams:
    """Output of the model, before cond and uncond are combined."""

    x: Tensor
    """Denoised latents (N, C, h, w), rows as in CFGDenoiserParams."""
    sampling_step: int
    total_sampling_steps: int
    inner_model: Any
    """The wrapped model."""


@dataclasses.dataclass
class AfterCFGCallbackParams:
    """Result of one call of the denoiser."""

    x: Tensor
    """Denoised latents (B, C, h, w)."""
    sampling_step: int
    total_sampling_steps: int


@dataclasses.dataclass
class UiTrainTabParams:
    """What the Train tab offers to tabs inside it."""

    txt2img_preview_params: list[Any]
    """Components of txt2img: prompt, negative prompt, steps, sampler, CFG scale, seed, width, height."""


@dataclasses.dataclass
class ImageGridLoopParams:
    """A grid that is about to be made."""

    imgs: list[Image.Image]
    cols: int
    rows: int


@dataclasses.dataclass
class BeforeTokenCounterParams:
    """A prompt whose tokens are about to be counted."""

    prompt: str
    steps: int
    styles: list[str]
    is_positive: bool = True


@dataclasses.dataclass
class ScriptCallback:
    """A registered callback: file it comes from, function (for hooks of scripts: the script), unique name."""

    script: str
    callback: Any
    name: str = "unnamed"


callback_map: dict[str, list[ScriptCallback]] = {f"callbacks_{category}": [] for category in CALLBACK_HOOKS}
"""callbacks_<category> -> callbacks, in order of registration."""

ordered_callbacks_map: dict[str, list[ScriptCallback]] = {}
"""Category -> callbacks in the order they are called, as far as it has been worked out."""


def add_callback(
    callbacks: list[ScriptCallback],
    fun: Any,
    *,
    name: str | None = None,
    category: str = "unknown",
    filename: str | None = None,
) -> None:
    """Appends a callback to a list, under the name <extension or "base">/<file name>/<category>[/<name>].

    A name that is taken gets -1, -2 and so on.
    filename: the file it belongs to; that of the caller of this module by default.
    """
    filename = filename or calling_file()
    extension = extensions.find_extension(filename)
    parts = [extension.canonical_name if extension else "base", os.path.basename(filename), category]
    full_name = "/".join([*parts, name] if name else parts)
    taken = {callback.name for callback in callbacks}
    unique_name, number = full_name, 0
    while unique_name in taken:
        number += 1
        unique_name = f"{full_name}-{number}"
    callbacks.append(ScriptCallback(filename, fun, unique_name))


def calling_file() -> str:
    """Returns the path of the file whose code called into this module."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame.f_code.co_filename if frame is not None else "unknown file"


def sort_callbacks(
    category: str, unordered_callbacks: Iterable[ScriptCallback], *, enable_user_sort: bool = True
) -> list[ScriptCallback]:
    """Returns the callbacks of a category in the order they are to be called.

    enable_user_sort: obey the setting prioritized_callbacks_<category> too.
    """
    by_name: dict[str, list[ScriptCallback]] = {}
    for callback in unordered_callbacks:
        by_name.setdefault(callback.name, []).append(callback)
    predecessors: dict[str, list[str]] = {name: [] for name in by_name}
    for extension in extensions.extensions:
        for order in extension.metadata.list_callback_order_instructions():
            if order.name in by_name:
                predecessors[order.name] += order.after
                for successor in order.before:
                    predecessors.get(successor, []).append(order.name)
    names = util.topological_sort(predecessors)

    if enable_user_sort:
        first = getattr(shared.opts, f"prioritized_callbacks_{category}", [])
        names = [name for name in first if name in by_name] + [name for name in names if name not in first]
    return [callback for name in names for callback in by_name[name]]


def ordered_callbacks(
    category: str, unordered_callbacks: list[ScriptCallback] | None = None, *, enable_user_sort: bool = True
) -> list[ScriptCallback]:
    """As sort_callbacks, of the registered callbacks by default.

    The order is worked out anew when their number changes.
    """
    if unordered_callbacks is None:
        unordered_callbacks = callback_map.get(f"callbacks_{category}", [])
    if not enable_user_sort:
        return sort_callbacks(category, unordered_callbacks, enable_user_sort=False)

    ordered = ordered_callbacks_map.get(category)
    if ordered is None or len(ordered) != len(unordered_callbacks):
        ordered = ordered_callbacks_map[category] = sort_callbacks(category, unordered_callbacks)
    return ordered


def enumerate_callbacks() -> Iterator[tuple[str, list[ScriptCallback]]]:
    """Yields every category with its callbacks, in order of registration."""
    for key, callbacks in callback_map.items():
        yield key.removeprefix("callbacks_"), callbacks


def clear_callbacks() -> None:
    """Forgets all callbacks."""
    for callbacks in callback_map.values():
        callbacks.clear()
    ordered_callbacks_map.clear()


def remove_current_script_callbacks() -> None:
    """Forgets the callbacks that the calling file registered."""
    filename = calling_file()
    _remove_callbacks(lambda callback: callback.script == filename)


def remove_callbacks_for_function(callback_func: Callable[..., Any]) -> None:
    """Forgets a function, whatever it was registered for."""
    _remove_callbacks(lambda callback: callback.callback == callback_func)


def _remove_callbacks(is_unwanted: Callable[[ScriptCallback], bool]) -> None:
    for callbacks in callback_map.values():
        callbacks[:] = [callback for callback in callbacks if not is_unwanted(callback)]
    ordered_callbacks_map.clear()


def callbacks_order_settings() -> dict[str, OptionInfo]:
    """Returns a setting prioritized_callbacks_<category> for every category that has callbacks, hooks of scripts
    included.
    """
    listed = {
        category: sort_callbacks(category, found, enable_user_sort=False) for category, found in enumerate_callbacks()
    }
    listed |= dict(shared_items.items("script_hook_callbacks"))
    settings = {
        "callbacks_order_explanation": OptionHTML(
            "Callbacks of extensions that are listed here are called first, in the order listed; the others follow in "
            "their own order, which is shown below each setting."
        )
    }
    for category, callbacks in listed.items():
        if callbacks:
            names = [callback.name for callback in callbacks]
            order = "".join(f"<li>{html.escape(name)}</li>" for name in names)
            info = OptionInfo([], f"Called first: {category}", "DropdownMulti", {"choices": names})
            settings[f"prioritized_callbacks_{category}"] = info.needs_restart().html(f"<ol>{order}</ol>")
    return options_section(("callbacks", "Callbacks", "system"), settings)


def add_order_settings() -> None:
    """Defines the settings of `callbacks_order_settings`, and sorts all settings as their pages show them."""
    for key, info in shared_items.callbacks_order_settings().items():
        shared.opts.add_option(key, info)
    shared.opts.reorder()


shared_items.register("callbacks_order_settings", lambda: callbacks_order_settings().items())


CallbackT = TypeVar("CallbackT", contravariant=True)


class Registrar(Protocol[CallbackT]):
    """A function that registers callbacks of one hook. name: tells more of the callback than its file and hook do."""

    __name__: str

    def __call__(self, callback: CallbackT, *, name: str | None = None) -> None:
        """Adds a callback of the calling file to the hook."""


def registrar(category: str) -> Registrar[Any]:
    """Makes the function that registers callbacks of a category."""
    spec = CALLBACK_HOOKS[category]

    def register(callback: Callable[..., Any], *, name: str | None = None) -> None:
        """Adds a callback of the calling file to the hook."""
        add_callback(callback_map[f"callbacks_{category}"], callback, name=name, category=category)

    register.__name__ = register.__qualname__ = spec.registrar
    register.__doc__ = f"""Registers callback{spec.arguments}, called when {spec.when}. It may change {spec.may_change}.

    name: makes the callback's name, by which its order can be set, tell more than file and hook.
    """
    return register


on_app_started: Registrar[Callable[[Blocks | None, FastAPI], object]] = registrar("app_started")
on_before_reload: Registrar[Callable[[], object]] = registrar("on_reload")
on_model_loaded: Registrar[Callable[[Module], object]] = registrar("model_loaded")
on_ui_tabs: Registrar[Callable[[], list[tuple[Blocks, str, str]] | None]] = registrar("ui_tabs")
on_ui_train_tabs: Registrar[Callable[[UiTrainTabParams], object]] = registrar("ui_train_tabs")
on_ui_settings: Registrar[Callable[[], object]] = registrar("ui_settings")
on_before_image_saved: Registrar[Callable[[ImageSaveParams], object]] = registrar("before_image_saved")
on_image_saved: Registrar[Callable[[ImageSaveParams], object]] = registrar("image_saved")
on_extra_noise: Registrar[Callable[[ExtraNoiseParams], object]] = registrar("extra_noise")
on_cfg_denoiser: Registrar[Callable[[CFGDenoiserParams], object]] = registrar("cfg_denoiser")
on_cfg_denoised: Registrar[Callable[[CFGDenoisedParams], object]] = registrar("cfg_denoised")
on_cfg_after_cfg: Registrar[Callable[[AfterCFGCallbackParams], object]] = registrar("cfg_after_cfg")
on_before_component: Registrar[Callable[..., object]] = registrar("before_component")
on_after_component: Registrar[Callable[..., object]] = registrar("after_component")
on_image_grid: Registrar[Callable[[ImageGridLoopParams], object]] = registrar("image_grid")
on_infotext_pasted: Registrar[Callable[[str, dict[str, Any]], object]] = registrar("infotext_pasted")
on_script_unloaded: Registrar[Callable[[], object]] = registrar("script_unloaded")
on_before_ui: Registrar[Callable[[], object]] = registrar("before_ui")
on_list_optimizers: Registrar[Callable[[list[Any]], object]] = registrar("list_optimizers")
on_list_unets: Registrar[Callable[[list[Any]], object]] = registrar("list_unets")
on_before_token_counter: Registrar[Callable[[BeforeTokenCounterParams], object]] = registrar("before_token_counter")


def run_callbacks(category: str, *args: Any, **kwargs: Any) -> list[Any]:
    """Calls all callbacks of a category and returns what they return; one that fails is logged and passed over."""
    callbacks = ordered_callbacks(category)
    if CALLBACK_HOOKS[category].is_reversed:
        callbacks = callbacks[::-1]
    return run_each(category, callbacks, lambda callback: callback(*args, **kwargs))


def app_started_callback(demo: Blocks | None, app: FastAPI) -> None:
    """Calls the hook app_started, and records the time each callback takes."""
    for callback in ordered_callbacks("app_started"):
        run_each("app_started", [callback], lambda function: function(demo, app))
        timer.startup_timer.record(os.path.basename(callback.script))


def app_reload_callback() -> None:
    """Calls the hook on_reload."""
    run_callbacks("on_reload")


def model_loaded_callback(sd_model: Any) -> None:
    """Calls the hook model_loaded."""
    run_callbacks("model_loaded", sd_model)


def ui_tabs_callback() -> list[tuple[Any, str, str]]:
    """Calls the hook ui_tabs and returns the tabs: (blocks, title, id). A callback that returns anything else is one
    that fails.
    """

    def tabs_of(callback: Callable[[], Any]) -> list[tuple[Any, str, str]]:
        """Returns the tabs of a callback."""
        tabs = callback() or ()
        try:
            return [(blocks, title, name) for blocks, title, name in tabs]
        except (TypeError, ValueError):
            raise TypeError(f"on_ui_tabs wants a list of (blocks, title, id), but got {type(tabs).__name__}") from None

    found = run_each("ui_tabs", ordered_callbacks("ui_tabs"), tabs_of)
    return [tab for tabs in found for tab in tabs]


def ui_train_tabs_callback(params: UiTrainTabParams) -> None:
    """Calls the hook ui_train_tabs."""
    run_callbacks("ui_train_tabs", params)


def ui_settings_callback(called: Sequence[ScriptCallback] = ()) -> list[ScriptCallback]:
    """Calls the hook ui_settings, but for the callbacks of it that are among `called`; returns all that have been."""
    callbacks = [callback for callback in ordered_callbacks("ui_settings") if callback not in called]
    run_each("ui_settings", callbacks, lambda callback: callback())
    return [*called, *callbacks]


def before_image_saved_callback(params: ImageSaveParams) -> None:
    """Calls the hook before_image_saved."""
    run_callbacks("before_image_saved", params)


def image_saved_callback(params: ImageSaveParams) -> None:
    """Calls the hook image_saved."""
    run_callbacks("image_saved", params)


def extra_noise_callback(params: ExtraNoiseParams) -> None:
    """Calls the hook extra_noise."""
    run_callbacks("extra_noise", params)


def cfg_denoiser_callback(params: CFGDenoiserParams) -> None:
    """Calls the hook cfg_denoiser."""
    run_callbacks("cfg_denoiser", params)


def cfg_denoised_callback(params: CFGDenoisedParams) -> None:
    """Calls the hook cfg_denoised."""
    run_callbacks("cfg_denoised", params)


def cfg_after_cfg_callback(params: AfterCFGCallbackParams) -> None:
    """Calls the hook cfg_after_cfg."""
    run_callbacks("cfg_after_cfg", params)


def before_component_callback(component: Any, **kwargs: Any) -> None:
    """Calls the hook before_component."""
    run_callbacks("before_component", component, **kwargs)


def after_component_callback(component: Any, **kwargs: Any) -> None:
    """Calls the hook after_component."""
    run_callbacks("after_component", component, **kwargs)


def image_grid_callback(params: ImageGridLoopParams) -> None:
    """Calls the hook image_grid."""
    run_callbacks("image_grid", params)


def infotext_pasted_callback(infotext: str, params: dict[str, Any]) -> None:
    """Calls the hook infotext_pasted."""
    run_callbacks("infotext_pasted", infotext, params)


def script_unloaded_callback() -> None:
    """Calls the hook script_unloaded."""
    run_callbacks("script_unloaded")


def before_ui_callback() -> None:
    """Calls the hook before_ui."""
    run_callbacks("before_ui")


def list_optimizers_callback() -> list[Any]:
    """Calls the hook list_optimizers and returns what callbacks have put into the list."""
    optimizers: list[Any] = []
    run_callbacks("list_optimizers", optimizers)
    return optimizers


def list_unets_callback() -> list[Any]:
    """Calls the hook list_unets and returns what callbacks have put into the list."""
    unets: list[Any] = []
    run_callbacks("list_unets", unets)
    return unets


def before_token_counter_callback(params: BeforeTokenCounterParams) -> None:
    """Calls the hook before_token_counter."""
    run_callbacks("before_token_counter", params)


def report_exception(c: ScriptCallback, job: str) -> None:
    """Logs the exception being handled as one of a callback; for code that calls callbacks itself."""
    errors.report(f"Error executing callback {job} for {c.script}", exc_info=True)
