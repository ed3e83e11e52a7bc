"""Folders of diffusers as checkpoints, and single networks under diffusers' names."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from modules import checkpoints, diffusers_folders, model_load, sd_models, shared, torchvision_ops
from modules.errors import ModelLoadError
from modules.placement import Placement
from tools import tiny_checkpoints

CPU = Placement(torch.device("cpu"), torch.float32, torch.float32, torch.float32)


def save_folder(folder, model, **scheduler):
    """Writes the networks of a tiny model as a pipeline of diffusers does."""
    name, denoiser = ("unet", model.unet) if model.unet else ("transformer", model.transformer)
    denoiser.save_pretrained(folder / name)
    model.vae.save_pretrained(folder / "vae")
    for number, network in enumerate(model.texts.values(), 1):
        network.save_pretrained(folder / ("text_encoder" if number == 1 else f"text_encoder_{number}"))
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "model_index.json").write_text("{}")
    return folder


def build(path, **kwargs):
    return model_load.build(model_load.prepare(str(path), {}, **kwargs), CPU)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """By kind: a checkpoint in one file and the same as a folder."""
    root = tmp_path_factory.mktemp("folders")
    found = {}
    for kind in ("sd2", "sdxl", "sd3.5-medium"):
        model = tiny_checkpoints.write(kind, root / f"{kind}.safetensors")
        said = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True} if kind == "sdxl" else {}
        found[kind] = (root / f"{kind}.safetensors", save_folder(root / f"{kind}-1.0", model, **said))
    return found


@pytest.mark.parametrize("kind", ["sd2", "sdxl", "sd3.5-medium"])
def test_a_folder_is_the_model_of_the_single_file(files, kind, caplog):
    whole, folder = map(build, files[kind])
    assert folder.family is whole.family
    ours, theirs = folder.state_dict(), whole.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert folder.weight_places.keys() >= {key for key in whole.weight_places if key.startswith("model.diffusion")}
    assert not caplog.records


def test_folders_are_listed_and_what_is_in_them_is_not(files, monkeypatch):
    root = files["sdxl"][1].parent
    (root / "incomplete").mkdir(exist_ok=True)
    (root / "incomplete" / "model_index.json").write_text("{}")
    monkeypatch.setattr(shared.cmd_opts, "ckpt_dir", str(root))
    sd_models.list_models()
    try:
        own = [info for info in checkpoints.checkpoints_list.values() if info.filename.startswith(str(root))]
        assert sorted(info.name for info in own if "sd3" not in info.name) == [
            "sd2-1.0",
            "sd2.safetensors",
            "sdxl-1.0",
            "sdxl.safetensors",
        ]
        info = checkpoints.find("sdxl-1.0")
        assert (info.name_for_extra, info.is_folder) == ("sdxl-1.0", True)
        assert info.metadata == {"modelspec.prediction_type": "v_prediction", "ss_zero_terminal_snr": "True"}
        assert info.weights_file.endswith("unet/diffusion_pytorch_model.safetensors")
        assert info.calculate_shorthash() == checkpoints.find(f"sdxl-1.0 [{info.shorthash}]").shorthash
        assert model_load.prepare(info.filename, info.metadata).parameterization == "v"
    finally:
        monkeypatch.undo()
        sd_models.list_models()


def test_variants_and_several_files_of_one_network(tmp_path):
    unet = tmp_path / "unet"
    unet.mkdir()
    assert diffusers_folders.component(str(tmp_path), "unet") == []
    for name in (
        "diffusion_pytorch_model.bin",
        "diffusion_pytorch_model.non_ema.safetensors",
        "diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
        "diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "diffusion_pytorch_model.safetensors.index.fp16.json",
    ):
        save_file({name: torch.ones(1)}, unet / name)
    found = diffusers_folders.component(str(tmp_path), "unet")
    assert [path.partition("fp16-")[2] for path in found] == [
        "00001-of-00002.safetensors",
        "00002-of-00002.safetensors",
    ]
    assert len(diffusers_folders.read(found)) == 2
    save_file({"plain": torch.ones(1)}, unet / "diffusion_pytorch_model.safetensors")
    assert diffusers_folders.component(str(tmp_path), "unet") == [str(unet / "diffusion_pytorch_model.safetensors")]


def test_networks_under_diffusers_names_are_checkpoints_and_modules_too(files):
    whole, folder = files["sdxl"]
    modules = [
        str(folder / name) for name in ("vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors")
    ]
    modules.append(str(folder / "text_encoder_2" / "model.safetensors"))
    made = build(folder / "unet" / "diffusion_pytorch_model.safetensors", modules=modules)
    ours, theirs = made.state_dict(), build(whole).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_vae_with_names_of_older_programs(tmp_path):
    torchvision_ops.declare_missing()
    model = tiny_checkpoints.make(tiny_checkpoints.RECIPES["sdxl"])
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    stored = {}
    for name, tensor in model.vae.state_dict().items():
        for new, before in old.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{before}.")
        stored[name] = tensor.contiguous()
    save_file(stored, tmp_path / "vae.safetensors")
    vae = model_load.load_vae(str(tmp_path / "vae.safetensors"), model_load.model_families.SDXL, CPU)
    assert all(torch.equal(tensor, vae.state_dict()[name]) for name, tensor in model.vae.state_dict().items())


def test_a_folder_where_a_file_is_needed(files):
    with pytest.raises(ModelLoadError, match=r"sd2-1\.0 is a folder; it takes a file here"):
        sd_models.read_state_dict(str(files["sd2"][1]), map_location="cpu")
    assert load_file(files["sd2"][0])
