"""Functions that extensions replace: a replacement takes effect, several do at once, and all are undone on unload."""

from __future__ import annotations

import importlib
import itertools

import pytest

from modules import script_callbacks, script_loading, scripts

REPLACED = {
    "processing.process_images_inner": {},
    "processing.create_infotext": {},
    "processing.StableDiffusionProcessing.setup_prompts": {},
    "prompt_parser.get_learned_conditioning": {},
    "prompt_parser.get_multicond_learned_conditioning": {},
    "prompt_parser.get_multicond_prompt_list": {},
    "prompt_parser.get_learned_conditioning_prompt_schedules": {},
    "prompt_parser.reconstruct_cond_batch": {},
    "prompt_parser.reconstruct_multicond_batch": {},
    "extra_networks.parse_prompts": {},
    "sd_samplers.create_sampler": {},
    "sd_samplers_cfg_denoiser.CFGDenoiser.forward": {},
    "sd_samplers_cfg_denoiser.CFGDenoiser.combine_denoised": {},
    "sd_samplers_kdiffusion.KDiffusionSampler.callback_state": {},
    "images.save_image": {"save_images": True},
    "images.resize_image": {"init": True, "resize_mode": 0, "width": 128},
    "shared.total_tqdm.update": {},
    "scripts.scripts_txt2img.run": {
        "script_name": "Prompts from file or textbox",
        "script_args": [False, False, "start", "a"],
    },
}
"""Name below modules: what a job needs to reach it. With "init" it is one of img2img."""

CHAINED = ("processing.create_infotext", "sd_samplers.create_sampler", "prompt_parser.get_learned_conditioning")
"""What each of three extensions replaces at once."""

EXTENSION = """
from modules import processing, prompt_parser, script_callbacks, sd_samplers

calls = []

def replace(owner, name):
    original = getattr(owner, name)

    def replacement(*args, **kwargs):
        calls.append(name)
        return original(*args, **kwargs)

    setattr(owner, name, replacement)
    script_callbacks.on_script_unloaded(lambda: setattr(owner, name, original))

replace(processing, "create_infotext")
replace(sd_samplers, "create_sampler")
replace(prompt_parser, "get_learned_conditioning")
"""


def owner_of(path):
    """The object and the attribute that a name below modules stands for."""
    module, *names = path.split(".")
    owner = importlib.import_module(f"modules.{module}")
    for name in names[:-1]:
        owner = getattr(owner, name)
    return owner, names[-1]


@pytest.mark.parametrize("path", REPLACED)
def test_replacement_takes_effect(path, txt2img, img2img, monkeypatch):
    owner, name = owner_of(path)
    original, calls = getattr(owner, name), []

    def replacement(*args, **kwargs):
        calls.append(name)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, replacement)
    fields = dict(REPLACED[path])
    run = img2img if fields.pop("init", False) else txt2img
    run(prompt=f"red apple, {path}", **fields)  # a prompt that no other job has had encoded
    assert calls


def test_table_of_samplers_is_looked_up_when_a_job_asks(txt2img, monkeypatch):
    from modules import sd_samplers

    made, config = [], sd_samplers.all_samplers_map["Euler"]
    replaced = config.__class__(
        config.name, lambda model: made.append(1) or config.constructor(model), [], config.options
    )
    monkeypatch.setattr(sd_samplers, "all_samplers_map", {**sd_samplers.all_samplers_map, "Euler": replaced})
    txt2img(sampler_name="Euler")
    assert made


@pytest.fixture
def callbacks():
    """The callbacks that are registered are the same after the test."""
    registered = {category: list(known) for category, known in script_callbacks.callback_map.items()}
    yield
    for category, known in script_callbacks.callback_map.items():
        known[:] = registered[category]
    script_callbacks.ordered_callbacks_map.clear()


@pytest.mark.parametrize("order", list(itertools.permutations("abc")), ids="".join)
def test_extensions_that_replace_the_same_all_act_and_are_all_undone(order, txt2img, tmp_path, monkeypatch, callbacks):
    originals = {}
    for path in CHAINED:
        owner, name = owner_of(path)
        originals[path] = getattr(owner, name)
        monkeypatch.setattr(owner, name, originals[path])
    loaded = []
    for letter in order:
        file = tmp_path / letter / "scripts" / f"replacing_{letter}.py"
        file.parent.mkdir(parents=True)
        file.write_text(EXTENSION, encoding="utf8")
        with scripts.loading_from(str(file.parent.parent)):
            loaded.append(script_loading.load_module(str(file)))
    plain = txt2img(prompt=f"red apple, {order}").pixels
    names = {path.rpartition(".")[2] for path in CHAINED}
    assert [set(module.calls) for module in loaded] == [names] * 3
    script_callbacks.script_unloaded_callback()
    assert {path: getattr(*owner_of(path)) for path in CHAINED} == originals
    counts = [len(module.calls) for module in loaded]
    assert txt2img(prompt=f"red apple, {order}").pixels == plain
    assert counts == [len(module.calls) for module in loaded]
