"""Arithmetic of checkpoints."""

import json

import pytest
import torch

from modules import merge
from modules.errors import InvalidInput
from modules.merge import METHODS, Ingredient, MergeResult

KEY = "model.diffusion_model.w"


def model(value, shape=(2, 2), **more):
    return {KEY: torch.full(shape, float(value)), **more}


def test_weighted_sum():
    a = model(1, only_a=torch.zeros(1))
    result = merge.merge(a, model(3, only_b=torch.zeros(1)), merge.weighted_sum, 0.25)
    assert result.state_dict is a
    assert set(a) == {KEY, "only_a"}
    assert a[KEY].unique().tolist() == [1.5]


def test_add_difference_takes_zeros_where_c_has_no_weight():
    b = {KEY: torch.ones(2) * 5, "model.b": torch.ones(2), "betas": torch.ones(2)}
    difference = merge.differences(b, {KEY: torch.ones(2) * 2})
    assert set(difference) == {KEY, "model.b"}
    assert difference["model.b"].tolist() == [0, 0]
    result = merge.merge({KEY: torch.ones(2)}, difference, merge.add_difference, 0.5)
    assert result.state_dict[KEY].tolist() == [2.5, 2.5]


def test_positions_are_no_weights():
    key = merge.SKIPPED_KEYS[0]
    a = {key: torch.tensor([1.0])}
    merge.merge(a, {key: torch.tensor([3.0])}, merge.weighted_sum, 1.0)
    assert a[key].item() == 1
    assert merge.differences({key: torch.ones(1)}, {}) == {}


def test_weights_outside_models_stay():
    a = {"betas": torch.ones(1)}
    merge.merge(a, {"betas": torch.zeros(1)}, merge.weighted_sum, 1.0)
    assert a["betas"].item() == 1


@pytest.mark.parametrize(("channels", "trait"), [(9, "is_inpainting_model"), (8, "is_instruct_pix2pix_model")])
def test_first_channels_of_a_model_that_takes_a_picture_are_merged(channels, trait):
    a = model(1, (2, channels, 3, 3))
    result = merge.merge(a, model(3, (2, 4, 3, 3)), merge.weighted_sum, 0.5)
    assert getattr(result, trait)
    assert a[KEY][:, :4].unique().tolist() == [2]
    assert a[KEY][:, 4:].unique().tolist() == [1]


def test_special_model_has_to_be_a():
    for channels, kind in ((9, "inpainting"), (8, "InstructPix2Pix")):
        with pytest.raises(InvalidInput, match=kind) as error:
            merge.merge(model(1, (2, 4, 3, 3)), model(1, (2, channels, 3, 3)), merge.weighted_sum, 0.5)
        assert error.value.field == "secondary_model_name"


@pytest.mark.parametrize(("a", "b"), [((2, 2), (3, 2)), ((2,), (3,)), ((2, 320), (2, 768)), ((2, 9), (2, 8))])
def test_shapes_that_do_not_fit_are_named(a, b):
    with pytest.raises(InvalidInput, match=r"model\.diffusion_model\.w"):
        merge.merge(model(1, a), model(1, b), merge.weighted_sum, 0.5)


def test_half_precision_only_for_float32():
    a = model(1, ids=torch.ones(1, dtype=torch.int64))
    merge.merge(a, model(3), merge.weighted_sum, 0.5, as_half=True)
    assert a[KEY].dtype == torch.float16
    state = {"x": torch.ones(1), "ids": torch.ones(1, dtype=torch.int64)}
    merge.halve(state)
    assert (state["x"].dtype, state["ids"].dtype) == (torch.float16, torch.int64)


def test_progress_counts_keys():
    seen = []
    a = {"model.a": torch.ones(1), "model.b": torch.ones(1)}
    merge.merge(a, dict(a), merge.weighted_sum, 0.5, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 2), (1, 2)]


def test_baking_replaces_what_is_there():
    state = {"first_stage_model.x": torch.zeros(1)}
    merge.bake_in_vae(state, {"x": torch.ones(1), "loss.y": torch.ones(1)}, as_half=True)
    assert list(state) == ["first_stage_model.x"]
    assert state["first_stage_model.x"].dtype == torch.float16
    assert state["first_stage_model.x"].item() == 1


def test_discarding_by_regular_expression():
    state = {"model_ema.a": 1, "model.b": 2}
    merge.discard(state, "")
    assert len(state) == 2
    merge.discard(state, "^model_ema")
    assert list(state) == ["model.b"]
    with pytest.raises(InvalidInput) as error:
        merge.discard(state, "(")
    assert error.value.field == "discard_weights"


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("Weighted sum", "0.7(x_a) + 0.3(b)"),
        ("Add difference", "x_a + 0.3(b - c)"),
        ("No interpolation", "x_a"),
    ],
)
def test_file_names(method, expected):
    assert merge.file_name(METHODS[method], ("x/a", "b", "c"), 0.3, MergeResult({})) == expected


def test_file_name_says_what_kind_of_model_it_is():
    names = ("a", "b", "c")
    assert merge.file_name(METHODS["Weighted sum"], names, 0.5, MergeResult({}, is_inpainting_model=True), "mine") == (
        "mine.inpainting"
    )
    pix2pix = MergeResult({}, is_instruct_pix2pix_model=True)
    assert merge.file_name(METHODS["No interpolation"], names, 0.5, pix2pix) == "a.instruct-pix2pix"


def test_recipe_names_ingredients_and_theirs():
    a = Ingredient("aa", "a.safetensors", "1", {})
    b = Ingredient("bb", "b.safetensors", "2", {"sd_merge_recipe": {"x": 1}, "sd_merge_models": {"cc": {"name": "c"}}})
    entries = merge.recipe((a, b, None), MergeResult({}), interp_method="Weighted sum", multiplier=0.3)
    made = json.loads(entries["sd_merge_recipe"])
    assert (made["type"], made["primary_model_hash"], made["secondary_model_hash"]) == ("webui", "aa", "bb")
    assert made["tertiary_model_hash"] is None
    assert (made["multiplier"], made["is_inpainting"]) == (0.3, False)
    models = json.loads(entries["sd_merge_models"])
    assert set(models) == {"aa", "bb", "cc"}
    assert models["bb"]["sd_merge_recipe"] == {"x": 1}
