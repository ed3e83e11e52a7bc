"""Named lists of choices and their owners."""

from types import SimpleNamespace

import pytest

from modules import shared_items
from modules.settings import postprocessing, stable_diffusion


@pytest.fixture
def providers(monkeypatch):
    monkeypatch.setattr(shared_items, "providers", {})
    return shared_items.providers


def test_a_list_without_owner_is_empty(providers):
    assert shared_items.items("nothing") == []
    shared_items.refresh("nothing")


def test_an_owner_may_have_nothing_to_refresh(providers):
    shared_items.register("list", lambda: "ab")
    shared_items.refresh("list")
    assert shared_items.items("list") == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "function", "expected"),
    [
        ("realesrgan_models", shared_items.realesrgan_models_names, ["x"]),
        ("dat_models", shared_items.dat_models_names, ["x"]),
        ("sd_vae", shared_items.sd_vae_items, ["Automatic", "None", "x"]),
        ("cross_attention_optimizations", shared_items.cross_attention_optimizations, ["Automatic", "x", "None"]),
        ("sd_unet", shared_items.sd_unet_items, ["Automatic", "x", "None"]),
        ("samplers", shared_items.list_samplers, ["x"]),
        ("infotext_names", shared_items.get_infotext_names, ["x"]),
        ("postprocessing_scripts", shared_items.postprocessing_scripts, ["x"]),
    ],
)
def test_named_lists(providers, name, function, expected):
    shared_items.register(name, lambda: ["x"])
    assert function() == expected


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("sd_vae", shared_items.refresh_vae_list),
        ("sd_unet", shared_items.refresh_unet_list),
        ("checkpoints", shared_items.refresh_checkpoints),
        ("hypernetworks", shared_items.reload_hypernetworks),
    ],
)
def test_named_refreshes(providers, name, function):
    calls = []
    shared_items.register(name, list, lambda: calls.append(name))
    function()
    assert calls == [name]


def test_checkpoint_titles_may_be_short(providers):
    shared_items.register("checkpoints", lambda use_short: ["short" if use_short else "long"])
    assert shared_items.list_checkpoint_tiles() == ["long"]
    assert shared_items.list_checkpoint_tiles(use_short=True) == ["short"]


def test_parts_of_the_form_that_scripts_add_stand_before_the_scripts(providers):
    shared_items.register("script_sections", lambda: ["mine", "seed", "mine"])
    parts = list(shared_items.ui_reorder_categories())
    assert parts[:2] == ["prompt", "image"]
    assert parts[-3:] == ["override_settings", "mine", "scripts"]
    assert len(parts) == len(set(parts))


def test_callback_settings_are_a_dictionary(providers):
    shared_items.register("callbacks_order_settings", lambda: {"a": 1}.items())
    assert shared_items.callbacks_order_settings() == {"a": 1}


def test_settings_show_names_of_objects(providers):
    shared_items.register("samplers", lambda: [SimpleNamespace(name="Euler")])
    shared_items.register("postprocessing_scripts", lambda: [SimpleNamespace(name="Upscale")])
    assert stable_diffusion.sampler_names() == ["Euler"]
    assert postprocessing.postprocessing_script_names() == ["Upscale"]
