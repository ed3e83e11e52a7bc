"""pure: arithmetic of checkpoints: weighted sums and added differences of state dictionaries. Knows no files.

A model is named by its role: A is the one that is changed, B what is merged in, C what B was made from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch

from modules.errors import InvalidInput

StateDict = MutableMapping[str, torch.Tensor]
Interpolate = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
Progress = Callable[[int, int], object]
"""Called with (keys done, keys in all)."""

TRAITS = {9: "is_inpainting_model", 8: "is_instruct_pix2pix_model"}
"""Input channels of a U-Net that takes an image beside the latent -> field of MergeResult that says so."""

SKIPPED_KEYS = (
    "cond_stage_model.transformer.text_model.embeddings.position_ids",
    "conditioner.embedders.0.transformer.text_model.embeddings.position_ids",
)
"""Tables of positions, no weights: they stay as they are in A."""


def weighted_sum(a: torch.Tensor, b: torch.Tensor, multiplier: float) -> torch.Tensor:
    """Returns (1 - M) A + M B."""
    return (1 - multiplier) * a + multiplier * b


def get_difference(b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Returns B - C."""
    return b - c


def add_difference(a: torch.Tensor, difference: torch.Tensor, multiplier: float) -> torch.Tensor:
    """Returns A + M difference."""
    return a + difference * multiplier


@dataclass(frozen=True)
class Method:
    """A way to merge. interpolate: (A, B or B - C, M) -> result, None leaves A. models: how many of A, B, C it needs.

    file_name: of the result, from the names a, b, c, the multiplier m and its complement n.
    """

    name: str
    interpolate: Interpolate | None
    models: int
    file_name: str


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("Weighted sum", weighted_sum, 2, "{n}({a}) + {m}({b})"),
        Method("Add difference", add_difference, 3, "{a} + {m}({b} - {c})"),
        Method("No interpolation", None, 1, "{a}"),
    )
}


@dataclass
class MergeResult:
    """A merged checkpoint, and whether it turned out to be an inpainting or an InstructPix2Pix one."""

    state_dict: StateDict
    is_inpainting_model: bool = False
    is_instruct_pix2pix_model: bool = False


def differences(b: Mapping[str, torch.Tensor], c: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns B - C for every weight of B that belongs to a model; zeros where C has none."""
    return {
        key: get_difference(tensor, c[key]) if key in c else torch.zeros_like(tensor)
        for key, tensor in b.items()
        if "model" in key and key not in SKIPPED_KEYS
    }


def merge(
    a: StateDict,
    b: Mapping[str, torch.Tensor],
    interpolate: Interpolate,
    multiplier: float,
    as_half: bool = False,
    progress: Progress = lambda done, total: None,
) -> MergeResult:
    """Merges B (or B - C) into A, in place, weight by weight where both have one.

    as_half: merged weights become float16. Raises InvalidInput for weights of shapes that cannot be merged.
    """
    result = MergeResult(a)
    keys = [key for key in a if "model" in key and key in b and key not in SKIPPED_KEYS]
    for done, key in enumerate(keys):
        progress(done, len(keys))
        trait, merged = merge_weights(key, a[key], b[key], interpolate, multiplier)
        if trait:
            setattr(result, trait, True)
        a[key] = to_half(merged, as_half)
    return result


def merge_weights(
    key: str, a: torch.Tensor, b: torch.Tensor, interpolate: Interpolate, multiplier: float
) -> tuple[str | None, torch.Tensor]:
    """Returns the trait of the model that the shape shows, and the merged weight.

    Where A takes more channels than B, because it also sees an image, only the first ones are merged.
    """
    if a.shape == b.shape:
        return None, interpolate(a, b, multiplier)
    if a.shape[:1] + a.shape[2:] != b.shape[:1] + b.shape[2:] or a.ndim < 2:
        raise InvalidInput(f"{key} has shape {tuple(a.shape)} in model A and {tuple(b.shape)} in B: they do not fit")
    if a.shape[1] == 4 and b.shape[1] in TRAITS:
        kind = "inpainting" if b.shape[1] == 9 else "InstructPix2Pix"
        raise InvalidInput(
            f"B is an {kind} model and A is not: give the {kind} model as A and the other as B", "secondary_model_name"
        )
    if b.shape[1] != 4 or a.shape[1] not in TRAITS:
        raise InvalidInput(f"{key} has {a.shape[1]} input channels in model A and {b.shape[1]} in B: they do not fit")
    merged = a.clone()
    merged[:, :4] = interpolate(a[:, :4], b, multiplier)
    return TRAITS[a.shape[1]], merged


def to_half(tensor: torch.Tensor, enable: bool) -> torch.Tensor:
    """Returns a float32 tensor as float16, if enabled; others stay."""
    return tensor.half() if enable and tensor.dtype == torch.float32 else tensor


def halve(state_dict: StateDict) -> None:
    """Turns all float32 tensors into float16, in place."""
    for key, tensor in state_dict.items():
        state_dict[key] = to_half(tensor, True)


def bake_in_vae(state_dict: StateDict, vae: Mapping[str, torch.Tensor], as_half: bool = False) -> None:
    """Replaces the VAE of a checkpoint, in place, by the weights of a VAE file, where the checkpoint has them."""
    for key, tensor in vae.items():
        baked = f"first_stage_model.{key}"
        if baked in state_dict:
            state_dict[baked] = to_half(tensor, as_half)


def discard(state_dict: StateDict, pattern: str) -> None:
    """Removes the weights in whose keys a regular expression is found, in place; an empty pattern finds none.

    Raises InvalidInput for a pattern that is no regular expression.
    """
    if not pattern:
        return
    try:
        regex = re.compile(pattern)
    except re.error as e:
        raise InvalidInput(f"the pattern of weights to discard is no regular expression: {e}", "discard_weights") from e
    for key in [key for key in state_dict if regex.search(key)]:
        del state_dict[key]


def file_name(
    method: Method, models: tuple[str, str, str], multiplier: float, result: MergeResult, custom: str = ""
) -> str:
    """Returns the name of the merged file, without extension: the custom one, or a formula of the models; and its kind.

    models: the names of A, B and C, as paths below the model folder, without extension.
    """
    a, b, c = (name.replace("\\", "_").replace("/", "_") for name in models)
    name = custom or method.file_name.format(a=a, b=b, c=c, m=round(multiplier, 2), n=round(1 - multiplier, 2))
    if result.is_inpainting_model:
        name += ".inpainting"
    if result.is_instruct_pix2pix_model:
        name += ".instruct-pix2pix"
    return name


@dataclass(frozen=True)
class Ingredient:
    """A model that went into a merge, as its metadata names it."""

    sha256: str
    name: str
    legacy_hash: str
    metadata: Mapping[str, Any]


def recipe(
    ingredients: tuple[Ingredient | None, Ingredient | None, Ingredient | None],
    result: MergeResult,
    **parameters: Any,
) -> dict[str, str]:
    """Returns metadata entries that say how a file was made, both JSON.

    parameters: interp_method, multiplier, save_as_half, custom_name, config_source, bake_in_vae, discard_weights.
    """
    roles = ("primary", "secondary", "tertiary")
    hashes = {
        f"{role}_model_hash": part.sha256 if part else None for role, part in zip(roles, ingredients, strict=True)
    }
    made = {
        "type": "webui",
        **hashes,
        **parameters,
        "is_inpainting": result.is_inpainting_model,
        "is_instruct_pix2pix": result.is_instruct_pix2pix_model,
    }
    models: dict[str, Any] = {}
    for part in ingredients:
        if part is None:
            continue
        models[part.sha256] = {
            "name": part.name,
            "legacy_hash": part.legacy_hash,
            "sd_merge_recipe": part.metadata.get("sd_merge_recipe"),
        }
        models.update(part.metadata.get("sd_merge_models", {}))
    return {"sd_merge_recipe": json.dumps(made), "sd_merge_models": json.dumps(models)}
