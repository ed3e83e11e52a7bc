"""state: named lists of choices.

Whoever owns a list registers a provider; settings and pages ask by name and import no owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ItemProvider:
    """list_items returns the choices as they are now; refresh looks for new ones first."""

    list_items: Callable[..., Any]
    refresh: Callable[[], object] | None = None


providers: dict[str, ItemProvider] = {}


def register(name: str, list_items: Callable[..., Any], refresh: Callable[[], object] | None = None) -> None:
    """Sets the owner of a list: what returns its items, and what rescans them."""
    providers[name] = ItemProvider(list_items, refresh)


def items(name: str, **kwargs: Any) -> list[Any]:
    """Returns the items of a list; empty while its owner is not loaded. kwargs go to the owner."""
    return list(providers[name].list_items(**kwargs)) if name in providers else []


def refresh(name: str) -> None:
    """Has the owner of a list look for new items."""
    provider = providers.get(name)
    if provider is not None and provider.refresh is not None:
        provider.refresh()


ui_reorder_categories_builtin_items = [
    "prompt",
    "image",
    "inpaint",
    "sampler",
    "accordions",
    "checkboxes",
    "dimensions",
    "cfg",
    "denoising",
    "seed",
    "batch",
    "override_settings",
]


def ui_reorder_categories() -> Iterator[str]:
    """Yields parts of the generation form in their default order.

    The built-in ones, those scripts add, and the scripts' own.
    """
    yield from ui_reorder_categories_builtin_items
    yield from dict.fromkeys(
        name for name in items("script_sections") if name not in ui_reorder_categories_builtin_items
    )
    yield "scripts"


def realesrgan_models_names() -> list[str]:
    """Returns the names of the Real-ESRGAN models."""
    return items("realesrgan_models")


def dat_models_names() -> list[str]:
    """Returns the names of the DAT models."""
    return items("dat_models")


def postprocessing_scripts() -> list[Any]:
    """Returns postprocessing scripts, as objects with a name."""
    return items("postprocessing_scripts")


def sd_vae_items() -> list[str]:
    """Returns the choices of the setting sd_vae."""
    return ["Automatic", "None", *items("sd_vae")]


def refresh_vae_list() -> None:
    """Looks for VAE files anew."""
    refresh("sd_vae")


def cross_attention_optimizations() -> list[str]:
    """Returns the choices of the setting cross_attention_optimization."""
    return ["Automatic", *items("cross_attention_optimizations"), "None"]


def sd_unet_items() -> list[str]:
    """Returns the choices of the setting sd_unet."""
    return ["Automatic", *items("sd_unet"), "None"]


def refresh_unet_list() -> None:
    """Asks extensions for their U-Nets anew."""
    refresh("sd_unet")


def list_checkpoint_tiles(use_short: bool = False) -> list[str]:
    """Returns checkpoint titles; use_short leaves their folders out."""
    return items("checkpoints", use_short=use_short)


def refresh_checkpoints() -> None:
    """Looks for checkpoint files anew."""
    refresh("checkpoints")


def list_samplers() -> list[Any]:
    """Returns all samplers, as rows with a name."""
    return items("samplers")


def find_sampler(name: str | None) -> Any:
    """Returns the row of a sampler, of the default one for None; None if there is no such sampler."""
    return next(iter(items("samplers_by_name", sampler_name=name)), None)


def reload_hypernetworks() -> None:
    """Looks for hypernetwork files anew."""
    refresh("hypernetworks")


def get_infotext_names() -> list[str]:
    """Returns every infotext key that pasting knows."""
    return items("infotext_names")


def callbacks_order_settings() -> dict[str, Any]:
    """Returns the definitions of the settings prioritized_callbacks_<category>, one for each category that has
    callbacks.
    """
    return dict(items("callbacks_order_settings"))
