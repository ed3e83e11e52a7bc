"""Merges of small checkpoints, asked for as the tab does."""

import json
import os

import gradio as gr
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from modules import checkpoints, errors, extras, model_load, sd_models, sd_vae, shared
from modules.job import checkpoint_merge
from modules.merge import METHODS, MergeResult
from test.unit.checkpoint_files import write_checkpoint

WEIGHT = "model.diffusion_model.w"
VAE_WEIGHT = "first_stage_model.w"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with three checkpoints of two weights each: 1, 3 and 2, and a VAE."""
    monkeypatch.setattr(shared.cmd_opts, "ckpt_dir", str(tmp_path))
    for name, value in (("a", 1.0), ("b", 3.0), ("c", 2.0)):
        save_file(
            {WEIGHT: torch.full((2, 2), value), VAE_WEIGHT: torch.zeros(1)},
            tmp_path / f"{name}.safetensors",
            metadata={"from": name, f"only {name}": "1"},
        )
    save_file({"w": torch.ones(1)}, tmp_path / "vae.safetensors")
    monkeypatch.setitem(sd_vae.vae_dict, "vae.safetensors", str(tmp_path / "vae.safetensors"))
    sd_models.list_models()
    yield tmp_path
    monkeypatch.undo()
    sd_models.list_models()


def title(name):
    return checkpoints.find(name).title


def merge(**changes):
    arguments = {
        "id_task": "task(1)",
        "primary_model_name": title("a.safetensors"),
        "secondary_model_name": title("b.safetensors"),
        "tertiary_model_name": title("c.safetensors"),
        "interp_method": "Weighted sum",
        "multiplier": 0.25,
        "save_as_half": False,
        "custom_name": "merged",
        "checkpoint_format": "safetensors",
        "config_source": 0,
        "bake_in_vae": "None",
        "discard_weights": "",
        "save_metadata": True,
        "add_merge_recipe": True,
        "copy_metadata_fields": True,
        "metadata_json": "{}",
    }
    return extras.run_modelmerger(**arguments | changes)


def metadata_of(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


@pytest.mark.parametrize(
    ("method", "value"), [("Weighted sum", 1.5), ("Add difference", 1.25), ("No interpolation", 1.0)]
)
def test_methods_merge_into_a_listed_file(folder, method, value):
    *updates, message = merge(interp_method=method)
    path = folder / "merged.safetensors"
    assert message == f"Checkpoint saved to {path}"
    assert load_file(path)[WEIGHT].unique().tolist() == [value]
    assert len(updates) == 4
    assert title("merged.safetensors") in [choice for choice, _ in updates[0]["choices"]]
    assert checkpoints.find("merged.safetensors").sha256


def test_name_says_what_went_in(folder):
    assert merge(custom_name="", checkpoint_format="ckpt")[-1].endswith("0.75(a) + 0.25(b).ckpt")
    merged = torch.load(folder / "0.75(a) + 0.25(b).ckpt", weights_only=True)
    assert merged[WEIGHT].unique().tolist() == [1.5]


def test_vae_half_and_discarded_weights(folder):
    merge(bake_in_vae="vae.safetensors", save_as_half=True)
    weights = load_file(folder / "merged.safetensors")
    assert weights[VAE_WEIGHT].tolist() == [1.0]
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    merge(interp_method="No interpolation", save_as_half=True, discard_weights="^first_stage", custom_name="second")
    weights = load_file(folder / "second.safetensors")
    assert list(weights) == [WEIGHT]
    assert weights[WEIGHT].dtype == torch.float16


def test_metadata_is_copied_added_and_tells_the_recipe(folder):
    merge(metadata_json='{"mine": "x", "from": "me", "list": [1]}')
    metadata = metadata_of(folder / "merged.safetensors")
    assert metadata["only a"] == metadata["only b"] == "1"
    assert (metadata["mine"], metadata["from"], metadata["list"], metadata["format"]) == ("x", "me", "[1]", "pt")
    recipe = json.loads(metadata["sd_merge_recipe"])
    assert recipe["primary_model_hash"] == checkpoints.find("a.safetensors").sha256
    assert recipe["tertiary_model_hash"] is None
    assert (recipe["interp_method"], recipe["multiplier"]) == ("Weighted sum", 0.25)
    assert set(json.loads(metadata["sd_merge_models"])) == {
        checkpoints.find(name).sha256 for name in ("a.safetensors", "b.safetensors")
    }


def test_a_merge_of_merges_tells_their_recipes_and_a_ckpt_none(folder):
    """What the table of docs/metadata.md says of the merger: a later merge still names what went into its parts."""
    merge()
    first = checkpoints.find("merged.safetensors")
    merge(primary_model_name=title("merged.safetensors"), custom_name="again")
    models = json.loads(metadata_of(folder / "again.safetensors")["sd_merge_models"])
    inputs = [checkpoints.find(name).sha256 for name in ("a.safetensors", "b.safetensors")]
    assert set(models) == {first.sha256, *inputs}
    assert models[first.sha256]["sd_merge_recipe"]["primary_model_hash"] == inputs[0]
    merge(checkpoint_format="ckpt", custom_name="third")
    merged = torch.load(folder / "third.ckpt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in merged.values())


def test_no_metadata_unless_wanted(folder):
    merge(save_metadata=False)
    assert metadata_of(folder / "merged.safetensors") is None
    merge(add_merge_recipe=False, copy_metadata_fields=False, metadata_json="", custom_name="second")
    assert metadata_of(folder / "second.safetensors") == {"format": "pt"}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "changes",
    [
        {"interp_method": "No interpolation", "custom_name": ""},
        {"custom_name": "a"},
        {"custom_name": "b"},
        {"interp_method": "Add difference", "custom_name": "c"},
        {"interp_method": "No interpolation", "custom_name": "", "as": "ckpt"},
    ],
    ids=str,
)
def test_no_file_is_replaced_by_a_merge(folder, changes):
    """Neither an input nor another result, nor its architecture file, whatever the name."""
    file_format = changes.pop("as", "safetensors")
    for name in "ab":
        (folder / f"{name}.yaml").write_text(f"of {name}", encoding="utf8")
    before = contents(folder)
    messages = [merge(**changes, checkpoint_format=file_format, save_as_half=half)[-1] for half in (False, True)]
    assert all(message.startswith("Checkpoint saved to ") for message in messages)
    assert len(set(messages)) == 2
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    made = {os.path.basename(message.removeprefix("Checkpoint saved to ")) for message in messages}
    assert made <= after.keys() - before.keys()
    assert all(after[f"{os.path.splitext(name)[0]}.yaml"] == b"of a" for name in made)


def test_a_name_whose_architecture_file_is_anothers_is_numbered(folder):
    for name in ("b", "merged"):
        (folder / f"{name}.yaml").write_text(f"of {name}", encoding="utf8")
    assert merge()[-1].endswith("merged-1.safetensors")
    assert (folder / "merged.yaml").read_text(encoding="utf8") == "of merged"
    assert (folder / "merged-1.yaml").read_text(encoding="utf8") == "of b"


@pytest.mark.parametrize(("source", "expected"), [(0, "of b"), (1, "of b"), (2, "of c"), (3, None)])
def test_architecture_file_is_copied(folder, source, expected):
    for name in ("b", "c"):
        (folder / f"{name}.yaml").write_text(f"of {name}", encoding="utf8")
    merge(interp_method="Add difference", config_source=source)
    copy = folder / "merged.yaml"
    assert (copy.read_text(encoding="utf8") if copy.exists() else None) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"primary_model_name": ""}, "Weighted sum needs a primary model"),
        ({"secondary_model_name": None}, "Weighted sum needs a secondary model"),
        ({"interp_method": "Add difference", "tertiary_model_name": ""}, "Add difference needs a tertiary model"),
        ({"primary_model_name": "unknown"}, "no checkpoint is called 'unknown'"),
        ({"interp_method": "Median"}, "unknown interpolation method 'Median'"),
        ({"custom_name": "../out"}, "is not a name inside"),
        ({"metadata_json": "{"}, "not valid JSON"),
        ({"metadata_json": "[]"}, "not a JSON object"),
        ({"discard_weights": "("}, "no regular expression"),
    ],
)
def test_requests_that_cannot_be_met_change_nothing(folder, changes, message):
    before = sorted(os.listdir(folder))
    *updates, answer = merge(**changes)
    assert answer.startswith("Failed: ") and message in answer
    assert shared.state.textinfo == answer
    assert updates == [gr.update()] * 4
    assert sorted(os.listdir(folder)) == before


def test_failed_write_leaves_no_file(folder, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_merge.os, "replace", fail)
    with pytest.raises(Exception, match="No space left"):
        checkpoint_merge.save_checkpoint(MergeResult({"w": torch.zeros(1)}), str(folder / "x.safetensors"), {})
    assert "x.safetensors.tmp" not in os.listdir(folder)


def test_metadata_of_chosen_models_is_shown(folder):
    shown = json.loads(checkpoint_merge.read_metadata(title("a.safetensors"), title("b.safetensors"), "unknown"))
    assert shown == {"from": "b", "only a": "1", "only b": "1"}


def test_models_not_needed_are_not_looked_for(folder):
    assert (
        checkpoint_merge.find_models(METHODS["No interpolation"], title("a.safetensors"), "unknown", "unknown")[1:]
        == (None,) * 2
    )


def test_models_of_different_families_are_named(folder, tiny_files):
    for kind in ("sdxl", "sdxl-refiner"):
        (folder / f"{kind}.safetensors").symlink_to(tiny_files(kind)[0])
    write_checkpoint(folder / "sd1.safetensors")
    sd_models.list_models()
    xl, sd1, refiner = (title(f"{name}.safetensors") for name in ("sdxl", "sd1", "sdxl-refiner"))
    *_, message = merge(primary_model_name=xl, secondary_model_name=sd1)
    assert "different families, Stable Diffusion XL and Stable Diffusion 1" in message
    *_, message = merge(
        primary_model_name=xl, secondary_model_name=xl, tertiary_model_name=refiner, interp_method="Add difference"
    )
    assert "Stable Diffusion XL and Stable Diffusion XL refiner" in message
    assert not (folder / "merged.safetensors").exists()
    merge(primary_model_name=xl, secondary_model_name=xl)
    key = "conditioner.embedders.0.transformer.text_model.embeddings.position_ids"
    assert torch.equal(load_file(folder / "merged.safetensors")[key], torch.arange(77)[None])


def test_two_of_stable_diffusion_3_make_one(folder, tiny_files):
    (folder / "one.safetensors").symlink_to(tiny_files("sd3")[0])
    first = load_file(tiny_files("sd3")[0])
    second = {key: tensor + 1 if tensor.is_floating_point() else tensor for key, tensor in first.items()}
    save_file(second, folder / "two.safetensors")
    sd_models.list_models()
    merge(primary_model_name=title("one.safetensors"), secondary_model_name=title("two.safetensors"))
    made = str(folder / "merged.safetensors")
    for key in (
        "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",
        "first_stage_model.decoder.conv_in.bias",
    ):
        assert torch.allclose(load_file(made)[key], first[key] + 0.25, atol=2e-3)
    assert model_load.prepare(made, {}).family.name == "sd3"


def test_models_without_a_weight_in_common(folder):
    save_file({"down_blocks.0.weight": torch.zeros(1)}, folder / "other.safetensors")
    sd_models.list_models()
    *_, message = merge(secondary_model_name=title("other.safetensors"))
    assert "have no weight of one name" in message


def test_weights_with_scales_are_not_merged(folder):
    stored = {WEIGHT: torch.ones(2, 2).to(torch.float8_e4m3fn), "model.diffusion_model.weight_scale": torch.ones(())}
    save_file({f"{WEIGHT}eight": stored.pop(WEIGHT), **stored}, folder / "scaled.safetensors")
    sd_models.list_models()
    with pytest.raises(errors.InvalidInput, match=r"the weights of scaled\.safetensors have scales"):
        checkpoint_merge.plain_weights(checkpoints.find("scaled.safetensors"))
