"""Models that metadata name, found here by what files beside them say, and by names."""

from __future__ import annotations

import json
import os

import pytest

from modules import checkpoints, dialects, infotext, infotext_utils, model_sidecars, sd_vae, shared
from modules.dialects.base import Chunks, Local, Wanted

SHA = "ABCDEF0123456789" * 4
OTHER = "1234567890abcdef" * 4

SIDECARS = {
    "shine.civitai.info": {
        "id": 11,
        "modelId": 1,
        "files": [
            {"name": "shine.safetensors", "hashes": {"SHA256": SHA, "AutoV2": SHA[:10]}},
            {"name": "shine_pruned.safetensors", "hashes": {"SHA256": OTHER}},
        ],
    },
    "shine.json": {"description": "bright", "modelId": 1, "modelVersionId": 11, "sha256": SHA},
    "shine.cm-info.json": {"ModelId": 1, "VersionId": 11, "Hashes": {"SHA256": SHA}},
    "shine.metadata.json": {"file_name": "shine", "sha256": SHA.lower(), "civitai": {"id": 11, "modelId": 1}},
}
"""Sidecars as the programs write them that download models."""


@pytest.fixture
def folder(program, tmp_path, monkeypatch):
    """A folder of networks with one file, `shine`."""
    monkeypatch.setattr(shared.cmd_opts, "lora_dir", str(tmp_path))
    monkeypatch.setattr(shared.cmd_opts, "lyco_dir_backcompat", str(tmp_path / "none"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "shine.safetensors").write_bytes(b"")
    return tmp_path / "sub"


def found(**known):
    return model_sidecars.find(Wanted("network", **known))


@pytest.mark.parametrize("sidecar", SIDECARS)
def test_a_network_is_found_by_its_sidecar(folder, sidecar):
    (folder / sidecar).write_text(json.dumps(SIDECARS[sidecar]))
    assert found(name="Bright shine", version=11) == Local("shine")
    assert found(version=12) is None
    assert found(name="shine") is None


@pytest.mark.skipif(os.name == "nt", reason="a name that Windows has not")
def test_a_network_is_called_as_tags_find_it(folder, tmp_path):
    (tmp_path / "z").mkdir()
    for path in ("z/shine.safetensors", "z/odd=1.pt"):
        (tmp_path / path).write_bytes(b"")
    (folder / "shine.json").write_text(json.dumps({"modelVersionId": 11}))
    (tmp_path / "z" / "odd=1.json").write_text(json.dumps({"modelVersionId": 12}))
    assert civitai({"type": "lora", "modelVersionId": 12, "modelName": "Odd"})["Prompt"] == "red apple<lora:odd_1:1>"
    assert (found(version=11), found(version=12)) == (Local("sub/shine"), Local("odd=1"))


@pytest.mark.parametrize("shown, name", [(True, Local("deep")), (False, None)])
def test_folders_that_are_not_listed_are_not_searched(folder, tmp_path, settings, shown, name):
    settings(list_hidden_files=shown)
    (tmp_path / ".old").mkdir()
    (tmp_path / ".old" / "deep.pt").write_bytes(b"")
    (tmp_path / ".old" / "deep.json").write_text(json.dumps({"modelVersionId": 13}))
    assert found(version=13) == name


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "[" * 100_000, "null", "\x00", '{"modelVersionId": [11]}', '{"modelId": 1, "id": "x", "files": {}}']
    + ['{"files": [1, {"hashes": 3}], "sha256": 5, "civitai": []}', '{"modelVersionId": NaN, "hashes": {"a": null}}'],
)
def test_sidecars_that_cannot_be_read_say_nothing(folder, text):
    (folder / "shine.json").write_text(text)
    assert found(version=11) is None


def test_a_sidecar_that_changes_is_read_anew(folder):
    sidecar = folder / "shine.json"
    for version in (11, 12):
        sidecar.write_text(json.dumps({"modelVersionId": version}))
        os.utime(sidecar, ns=(version, version))
        assert found(version=version) == Local("shine")


@pytest.fixture
def models(folder, tmp_path, monkeypatch):
    """A checkpoint and a VAE beside the network, with sidecars that name version 21, 11 and 31."""
    monkeypatch.setattr(checkpoints, "checkpoints_list", {})
    monkeypatch.setattr(checkpoints, "checkpoint_aliases", {})
    checkpoint = tmp_path / "fruit.safetensors"
    checkpoint.write_bytes((2).to_bytes(8, "little") + b"{}" + bytes(2_000_000))
    info = checkpoints.CheckpointInfo(str(checkpoint))
    info.register()
    monkeypatch.setattr(sd_vae, "vae_dict", {"clear.pt": str(tmp_path / "clear.pt")})
    for stem, version in (("fruit", 21), ("sub/shine", 11), ("clear", 31)):
        (tmp_path / f"{stem}.json").write_text(json.dumps({"modelVersionId": version}))
    return info


def civitai(*resources):
    """The fields of an export of Civitai."""
    pairs = "Steps: 30, Sampler: Euler a, CFG scale: 7, Seed: 5, Clip skip: 2"
    text = f"red apple\n{pairs}, Civitai resources: {json.dumps(resources)}"
    return infotext.parse_infotext(dialects.translated_text(text, model_sidecars.find))


def test_resources_of_civitai_become_the_files_here(models):
    said = civitai(
        {"type": "checkpoint", "modelVersionId": 21, "modelName": "Fruit, ripe", "modelVersionName": "v1"},
        {"type": "lora", "modelVersionId": 11, "modelName": "Bright shine", "weight": 0.8},
        {"type": "vae", "modelVersionId": 31, "modelName": "Clear VAE"},
    )
    assert said["Prompt"] == "red apple<lora:shine:0.8>"
    assert (said["Model"], said["Model hash"], said["VAE"]) == ("fruit", models.hash, "clear.pt")
    assert checkpoints.named(said["Model hash"]) is models


def test_addresses_alone_are_enough(models):
    said = civitai(
        {"air": "urn:air:sd1:checkpoint:civitai:2@21"}, {"air": "urn:air:sd1:lora:civitai:1@11", "weight": 0.5}
    )
    assert (said["Prompt"], said["Model"]) == ("red apple<lora:shine:0.5>", "fruit")


def test_what_is_not_here_stays_visible_as_text(models):
    said = civitai(
        {"type": "checkpoint", "air": "urn:air:sd1:checkpoint:civitai:2@99"},
        {"type": "lora", "modelVersionId": 98, "modelName": "Wood", "weight": 0.8},
        {"type": "lora", "modelVersionId": 97, "weight": 0.7},
        {"air": "urn:air:sd1:lora:civitai:1@96"},
        {"type": "embed", "modelVersionId": 95},
    )
    assert said["Prompt"] == "red apple<lora:Wood:0.8>"
    assert said["Model"] == "urn:air:sd1:checkpoint:civitai:2@99" and "Model hash" not in said
    assert said["Unknown network"] == "modelVersionId 97 (0.7); urn:air:sd1:lora:civitai:1@96 (1)"
    assert said["Civitai embed"] == "modelVersionId 95"


def test_addresses_in_a_graph_become_the_files_here(models):
    links = {"model": ["2", 0], "positive": ["3", 0], "negative": ["3", 0]}
    lora = {"lora_name": "urn:air:sd1:lora:civitai:1@11", "strength_model": 0.6, "model": ["1", 0]}
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "urn:air:sd1:checkpoint:civitai:2@21"}},
        "2": {"class_type": "LoraLoader", "inputs": lora},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "red apple"}},
        "4": {"class_type": "KSampler", "inputs": {"steps": 5, "seed": 1, "sampler_name": "euler"} | links},
    }
    text = dialects.translated(Chunks({"prompt": json.dumps(graph)}), model_sidecars.find)
    said = infotext.parse_infotext(text)
    assert (said["Prompt"], said["Model"]) == ("red apple<lora:shine:0.6>", "fruit")


def test_a_checkpoint_of_another_program_is_chosen_if_it_is_here(models, settings):
    settings(disable_weights_auto_swap=False)
    source = {"sui_image_params": {"prompt": "red apple", "steps": 3, "seed": 1, "model": "sd/fruit.safetensors"}}
    said = infotext_utils.parse_generation_parameters(json.dumps(source))
    assert said["Model hash"] == models.hash
    chosen = {key: value for _, key, value in infotext_utils.usable_override_settings(said, [])}
    assert checkpoints.named(chosen["sd_model_checkpoint"]) is models


def test_modules_of_forge_and_hashes_become_settings(models):
    pairs = 'Steps: 3, Sampler: Euler, Seed: 1, Module 1: clip_l, Module 2: clear, Hashes: {"model": "1a2b3c4d5e", '
    pairs += '"lora:shine": "11aa", "lora:wood": "22bb", "embed:bad": "33cc"}, Version: neo'
    said = infotext_utils.parse_generation_parameters(f"red apple\n{pairs}")
    assert [said[key] for key in ("Model hash", "Lora hashes", "TI hashes", "Module 1", "Version")] == [
        "1a2b3c4d5e",
        "shine: 11aa, wood: 22bb",
        "bad: 33cc",
        "clip_l",
        "neo",
    ]
    again = infotext_utils.parse_generation_parameters('a\nSteps: 3, Model hash: 9, Seed: 1, Hashes: {"model": "8"}')
    assert again["Model hash"] == "9" and "VAE" not in again


@pytest.mark.parametrize("hashes", ["{", "[1]", '{"model": 3, "lora:a": null}', '{"model": ["1"]}', "null"])
def test_hashes_that_cannot_be_read_say_nothing(program, hashes):
    said = infotext_utils.parse_generation_parameters(f"a\nSteps: 3, Sampler: Euler, Seed: 1, Hashes: {hashes}")
    assert said["Seed"] == "1" and not {"Model hash", "Lora hashes", "TI hashes"} & said.keys()
