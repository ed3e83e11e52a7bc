"""What networks of the LoRA family cost: active ones, switching between two, and 50 changes on two models.

    python benchmarks/networks.py [--rounds 5] [--only images switching changes]

Switching is measured on models of SD1.5's size with random weights, side by side with diffusers and peft on the same
two files of rank 32, in kohya's layout, for all attention and feed-forward layers of U-Net and text encoder. Rounds
alternate between the programs; printed are medians and their ratios. `benchmarks/network_listing.py` has the folder of
thousands of networks.
"""

import argparse
import dataclasses
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.common import api_client  # noqa: E402

JOB = {"prompt": "red apple", "steps": 20, "width": 128, "height": 128, "sampler_name": "Euler", "seed": 1}
TAGS = "".join(f"<lora:bench{number}:0.5>" for number in range(3))
RANK = 32


def seconds(function: Callable[..., Any], *args: Any) -> float:
    """Returns how long a call takes."""
    started = time.perf_counter()
    function(*args)
    return time.perf_counter() - started


def compare(what: str, ours: list[float], theirs: list[float], name: str) -> None:
    """Prints two medians and their ratio."""
    our, their = statistics.median(ours), statistics.median(theirs)
    print(f"{what}: {our:.4f} s, {name} {their:.4f} s, ratio {our / their:.3f}", flush=True)


def write_network(path: Path, model: Any, rank: int, seed: int) -> None:
    """Writes a network in kohya's layout for the layers that his scripts train: those of attention and beside it."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in model.layer_names.layers:
        shape = layer.weight.stored.shape
        is_trained = len(shape) == 2 or (len(shape) == 4 and shape[2] == 1)
        if not is_trained or not any(part in layer.path for part in ("attn", "mlp", "ff.", "proj_in", "proj_out")):
            continue
        prefix = "lora_te" if layer.is_text else "lora_unet"
        path_in_network = layer.path.removeprefix("transformer.")
        if layer.is_text and not path_in_network.startswith("text_model."):
            path_in_network = f"text_model.{path_in_network}"
        name = f"{prefix}_{path_in_network}".replace(".", "_")
        kernel = shape[2:]
        tensors[f"{name}.lora_up.weight"] = torch.randn(shape[0], rank, *kernel, generator=generator) * 0.02
        tensors[f"{name}.lora_down.weight"] = torch.randn(rank, shape[1], *kernel, generator=generator) * 0.02
        tensors[f"{name}.alpha"] = torch.tensor(rank / 2)
    save_file({key: tensor.half() for key, tensor in tensors.items()}, path, {"ss_network_dim": str(rank)})


def images(client: Any, rounds: int) -> None:
    """Times images with three networks that are active already, against images without any."""
    from modules import shared

    folder = Path(shared.cmd_opts.lora_dir)
    for number in range(3):
        write_network(folder / f"bench{number}.safetensors", shared.sd_model, 8, number)
    client.post("/sdapi/v1/refresh-loras")

    def make(prompt: str) -> None:
        """Makes an image."""
        assert client.post("/sdapi/v1/txt2img", json=JOB | {"prompt": prompt}).status_code == 200

    active, plain = [], []
    for number in range(rounds + 1):
        for prompt, times in ((JOB["prompt"] + TAGS, active), (JOB["prompt"], plain)):
            make(prompt)  # puts the networks on, or takes them off
            measured = [seconds(make, prompt) for _ in range(3)]
            if number:
                times += measured
    compare("image with 3 networks that are active already", active, plain, "without")


def resident_megabytes() -> float:
    """Returns the memory of this process that is in use and is no copy of a file's."""
    rows = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(rows["RssAnon"].split()[0]) / 1024


def changes(client: Any, rounds: int) -> None:
    """Changes strengths, networks and models 50 times, and says how memory grows and whether weights come back.

    Each fifth change takes all networks off.
    """
    from modules import checkpoints, sd_models, shared
    from test.unit.checkpoint_files import write_checkpoint

    folder = Path(shared.cmd_opts.lora_dir)
    for number in range(3):
        write_network(folder / f"bench{number}.safetensors", shared.sd_model, 8, number)
    client.post("/sdapi/v1/refresh-loras")
    write_checkpoint(Path(checkpoints.model_path) / "other.safetensors")
    sd_models.list_models()
    shared.opts.data["sd_checkpoints_limit"] = 2

    def make(prompt: str, checkpoint: str) -> None:
        """Makes a small image."""
        body = JOB | {"prompt": prompt, "steps": 1, "override_settings": {"sd_model_checkpoint": checkpoint}}
        assert client.post("/sdapi/v1/txt2img", json=body).status_code == 200

    for checkpoint in ("demo-emoji", "other"):
        make("red apple", checkpoint)
    models = list(sd_models.model_data.loaded_sd_models)
    before = [{name: tensor.clone() for name, tensor in model.state_dict().items()} for model in models]
    pick = random.Random(1)
    after_5th = 0.0
    for number in range(1, 51):
        numbers = [n for n in range(3) if number % 5 and pick.random() < 0.6]
        tags = "".join(f"<lora:bench{n}:{pick.choice([0.3, 0.8, -0.5])}>" for n in numbers)
        make(f"red apple{tags}", pick.choice(["demo-emoji", "other"]))
        after_5th = resident_megabytes() if number == 5 else after_5th
    growth = resident_megabytes() / after_5th - 1
    same = all(
        tensor.equal(kept[name])
        for model, kept in zip(models, before, strict=True)
        for name, tensor in model.state_dict().items()
    )
    print(f"50 changes: memory grows by {growth:.1%} after the 5th; weights are {'as' if same else 'NOT as'} before")


def model_of_sd15_size() -> tuple[Any, Any]:
    """Returns a model of SD1.5's size with random weights and the embedded one's VAE, and its text encoder as
    transformers has it.
    """
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    from modules import model_families, model_load, torchvision_ops
    from modules.placement import Placement
    from test.unit.checkpoint_files import SD15, embedded_weights

    torchvision_ops.declare_missing()
    torch.manual_seed(0)
    layout = dataclasses.replace(SD15, widths=(320, 640, 1280, 1280), text=768)
    tensors = layout.weights()
    tensors |= {key: tensor for key, tensor in embedded_weights().items() if key.startswith("first_stage_model.")}
    text = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12))
    prefix = model_families.SD1.text_encoders[0].prefix
    for name, tensor in text.state_dict().items():
        name = name if name.startswith("text_model.") else f"text_model.{name}"
        tensors[f"{prefix}{name}"] = tensor
    prepared = model_load.prepare("a model of SD1.5's size", {}, state_dict=tensors)
    cpu = torch.device("cpu")
    return model_load.build(prepared, Placement(cpu, torch.float32, torch.float32, torch.float32)), text


def peft_pipeline(model: Any, text_encoder: Any) -> Any:
    """Returns diffusers' pipeline with a copy of a model's U-Net."""
    import copy

    from diffusers import DDIMScheduler, StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=model.first_stage_model,
        text_encoder=text_encoder,
        tokenizer=model.cond_stage_model.wrapped.tokenizer,
        unet=copy.deepcopy(model.network("denoiser")),
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def switching(client: Any, rounds: int) -> None:
    """Times changing from one network to another, in memory and from their files."""
    import networks

    from modules import model_patches, sd_models, shared

    model, text_encoder = model_of_sd15_size()
    sd_models.model_data.set_sd_model(model)
    folder = Path(shared.cmd_opts.lora_dir)
    files = {name: folder / f"{name}.safetensors" for name in ("first", "second")}
    for seed, file in enumerate(files.values()):
        write_network(file, model, RANK, seed)
    networks.list_available_networks()
    pipe = peft_pipeline(model, text_encoder)

    def ours(name: str) -> None:
        """Reads a network and has it in the weights."""
        networks.load_networks([name])

    def theirs_from_file(name: str) -> None:
        """Reads a network in place of the one before."""
        pipe.unload_lora_weights()
        pipe.load_lora_weights(files[name], adapter_name=name)
        pipe.set_adapters([name])

    def theirs_in_memory(name: str) -> None:
        """Chooses among two that are loaded."""
        pipe.set_adapters([name])

    with model_patches.job_wishes():
        ours("first")
        touched = sum(original.nbytes for original in model.patches.weights.originals.values())
        changed = {place for patch in model.patches.weights.patches.values() for place in patch.changes}
        print(
            f"kept beside the model: {touched / 1e6:.0f} MB, the changed weights have "
            f"{sum(place.stored.nbytes for place in changed) / 1e6:.0f} MB",
            flush=True,
        )
        our, their = [], []
        for number in range(rounds + 1):
            for name in ("second", "first"):
                pair = seconds(ours, name), seconds(theirs_from_file, name)
                if number:
                    our.append(pair[0])
                    their.append(pair[1])
        compare("switching between two files", our, their, "load_lora_weights and set_adapters")
        for name, file in files.items():
            if name not in pipe.get_list_adapters().get("unet", []):
                pipe.load_lora_weights(file, adapter_name=name)
        our, their = [], []
        for number in range(rounds + 1):
            for name in ("second", "first"):
                pair = seconds(ours, name), seconds(theirs_in_memory, name)
                if number:
                    our.append(pair[0])
                    their.append(pair[1])
        compare("the same against set_adapters of two that are loaded", our, their, "set_adapters")
        unet_steps(model, pipe, rounds)


def unet_steps(model: Any, pipe: Any, rounds: int) -> None:
    """Times one call of each U-Net, its network active."""
    import torch

    x, t, context = torch.randn(2, 4, 32, 32), torch.tensor([500.0, 500.0]), torch.randn(2, 77, 768)
    our, their = [], []
    with torch.no_grad():
        for number in range(rounds + 1):
            pair = (
                seconds(model.apply_model, x, t, context),
                seconds(pipe.unet, x, t, context),
            )
            if number:
                our.append(pair[0])
                their.append(pair[1])
    compare("one call of the U-Net with a network active", our, their, "diffusers and peft")


def main() -> None:
    parts = {"images": images, "changes": changes, "switching": switching}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(parts), default=list(parts))
    args = parser.parse_args()
    client = api_client()
    for name in args.only:
        parts[name](client, args.rounds)


if __name__ == "__main__":
    main()
