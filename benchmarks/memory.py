"""What models and jobs take of memory: loading, switching, many jobs, and large images decoded.

    python benchmarks/memory.py [--only loading switching jobs decoding] [--jobs 300]

Every part runs in a process of its own, one after the other, on files with random weights that it writes itself. At
most they take 7 GB of memory and 2.2 GB of the temporary folder. Figures are of this process as the system counts them
(/proc), so it runs on Linux alone.
"""

import argparse
import gc
import random
import statistics
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.common import api_client, set_up  # noqa: E402

MIB = 2**20
SD15 = {
    "unet": {
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "attention_head_dim": 8,
        "cross_attention_dim": 768,
    },
    "text": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "vocab_size": 49408,
    },
    "vae": {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
    },
}
"""Arguments of the networks of Stable Diffusion 1.5."""


def status(name: str) -> int:
    """Returns bytes of this process by their name in /proc: VmRSS now, VmHWM at most since `forget_peak`."""
    rows = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(rows[name].split()[0]) * 1024


def forget_peak() -> None:
    """Has the peak count from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def random_network(make: Callable[[], Any]) -> Any:
    """Returns a network in half precision with random weights, made without the time that initialising them takes."""
    import torch

    with torch.device("meta"):
        network = make()
    network = network.half().to_empty(device="cpu")
    for parameter in network.parameters():
        parameter.data.normal_(0, 0.02)
    return network


def write_sd15(path: Path) -> None:
    """Writes a checkpoint of SD1.5's size, 2.1 GB, in half precision."""
    from modules import torchvision_ops

    torchvision_ops.declare_missing()
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel

    from tools import tiny_checkpoints

    model = tiny_checkpoints.TinyModel(
        random_network(lambda: UNet2DConditionModel(**SD15["unet"])),
        {"cond_stage_model.transformer.": random_network(lambda: CLIPTextModel(CLIPTextConfig(**SD15["text"])))},
        random_network(lambda: AutoencoderKL(**SD15["vae"])),
        {},
    )
    save_file(model.weights(), path)


def loading(folder: Path, args: argparse.Namespace) -> None:
    """Loads a file of SD1.5's size in both types, each in a process of its own."""
    file = folder / "sd15.safetensors"
    subprocess.run([sys.executable, __file__, "--part", "write", "--folder", folder], check=True)
    for dtype in ("float16", "float32"):
        command = [sys.executable, __file__, "--part", "load", "--folder", file, "--dtype", dtype]
        subprocess.run([*map(str, command), "--rounds", str(args.rounds)], check=True)


def write(folder: Path, args: argparse.Namespace) -> None:
    """Writes the file that `loading` loads."""
    write_sd15(folder / "sd15.safetensors")


def load(file: Path, args: argparse.Namespace) -> None:
    """Measures loading a checkpoint: the most memory it takes, and its processor time against reading weights alone.

    What it is compared with has the weights in memory of its own, in the same type: load_file, which only maps the
    file, and a copy of each tensor.
    """
    set_up()
    import torch
    from safetensors.torch import load_file

    from modules import checkpoints, model_load
    from modules.placement import Placement

    dtype = getattr(torch, args.dtype)
    placement = Placement(torch.device("cpu"), dtype, dtype, dtype)

    def ours(filename: str) -> Any:
        """Loads a checkpoint as the program does."""
        return model_load.build(model_load.prepare(filename, {}), placement)

    def theirs(filename: str) -> Any:
        """Reads all weights."""
        return {key: tensor.to(dtype, copy=True) for key, tensor in load_file(filename).items()}

    ours(checkpoints.embedded_checkpoint)  # loads the libraries
    before = status("VmRSS")
    forget_peak()
    model = ours(str(file))
    weights = sum(parameter.nbytes for parameter in model.parameters())
    peak = status("VmHWM") - before
    del model
    times: dict[Any, list[float]] = {ours: [], theirs: []}
    for _ in range(args.rounds):
        for function, seconds in times.items():
            gc.collect()  # a model refers to itself: what the one before has taken is to be there again for the next
            started = time.process_time()
            function(str(file))
            seconds.append(time.process_time() - started)
    our, their = (statistics.median(seconds) for seconds in times.values())
    print(
        f"loading a checkpoint of {weights / MIB:.0f} MiB in {args.dtype}: at most {peak / MIB:.0f} MiB more, ratio "
        f"{peak / weights:.2f}; {our:.2f} s to {their:.2f} s of processor time for load_file and a copy of each "
        f"tensor, ratio {our / their:.2f}",
        flush=True,
    )


def switching(folder: Path, args: argparse.Namespace) -> None:
    """Switches 30 times between two checkpoints of SD1 of other sizes, then 30 times between SD1 and SDXL."""
    api_client()
    from modules import checkpoints, sd_models, shared
    from test.unit.checkpoint_files import write_checkpoint
    from tools import tiny_checkpoints

    assert shared.sd_model  # waits until it is loaded
    models = Path(checkpoints.model_path)
    write_checkpoint(models / "other.safetensors")
    tiny_checkpoints.write("sdxl", models / "xl.safetensors")
    larger = tiny_checkpoints.RECIPES["sdxl"]
    tiny_checkpoints.RECIPES["larger"] = tiny_checkpoints.replace(
        larger, unet={**larger.unet, "block_out_channels": (320, 640, 640)}
    )
    tiny_checkpoints.write("larger", models / "larger.safetensors")
    sd_models.list_models()
    for names in (("demo-emoji", "other"), ("demo-emoji", "xl"), ("demo-emoji", "larger")):
        sizes = []
        for number in range(30):
            info = sd_models.get_closet_checkpoint_match(names[number % 2])
            sd_models.reload_model_weights(info=info)
            sizes.append(status("VmRSS"))
        sixth, last = sizes[5], sizes[29]  # both with the second model: the two are of different sizes
        print(
            f"30 switches between {' and '.join(names)}: {sixth / MIB:.0f} MiB after the 6th, {last / MIB:.0f} MiB "
            f"after the 30th, {last / sixth - 1:+.1%}",
            flush=True,
        )


def mixed_jobs(count: int) -> Iterator[dict[str, Any]]:
    """Yields requests of mixed sizes and batches, each sixth with a hires pass."""
    pick = random.Random(1)
    for number in range(count):
        body = {
            "prompt": f"red apple {number % 40}",
            "steps": 1,
            "seed": number,
            "sampler_name": "Euler a",
            "width": pick.randrange(64, 257, 8),
            "height": pick.randrange(64, 257, 8),
            "batch_size": pick.choice([1, 1, 1, 2, 4]),
        }
        if number % 6 == 5:
            upscaler = pick.choice(["Latent", "None"])
            body |= {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": upscaler, "denoising_strength": 0.7}
            body["batch_size"] = 1
        yield body


def jobs(folder: Path, args: argparse.Namespace) -> None:
    """Makes images of mixed sizes, and says how the program's memory grows."""
    client = api_client()
    first = 0
    for number, body in enumerate(mixed_jobs(args.jobs)):
        answer = client.post("/sdapi/v1/txt2img", json=body)
        assert answer.status_code == 200, answer.text
        first = first or status("VmRSS")
        if number + 1 in (1, 10, 100, args.jobs):
            now = status("VmRSS")
            print(f"after {number + 1} jobs: {now / MIB:.0f} MiB, ratio {now / first:.2f}", flush=True)
    print(f"at most, while a job ran: {status('VmHWM') / MIB:.0f} MiB", flush=True)


def decoding(folder: Path, args: argparse.Namespace) -> None:
    """Compares 1024x1024 row by row with the whole, and counts what 2048x2048 takes of memory, decoded and encoded.

    Levels are compared on the embedded model's VAE, which knows images; tensors are counted on a VAE of SD1.5's size
    without weights, where they have sizes and nothing else.
    """
    set_up()
    import torch

    from modules import checkpoints, model_load, vae_rows
    from modules.placement import Placement

    placement = Placement(torch.device("cpu"), torch.float32, torch.float32, torch.float32)
    vae = model_load.build(model_load.prepare(checkpoints.embedded_checkpoint, {}), placement).first_stage_model
    latent = torch.randn(1, 4, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        pixels = vae.decode(latent)[0], vae_rows.decode(vae, latent)
        levels = [image.clamp(-1, 1).add(1).mul(127.5) for image in pixels]
    difference = (levels[0] - levels[1]).abs()
    print(f"1024x1024 decoded row by row: at most {difference.max():.4f} levels from the whole", flush=True)
    ways = {
        "decoding": ((1, 4, 256, 256), vae_rows.decode, lambda vae, z: vae.decode(z)),
        "encoding": ((1, 3, 2048, 2048), vae_rows.encode, lambda vae, pixels: vae.encode(pixels)),
    }
    for what, (shape, *functions) in ways.items():
        for dtype in (torch.float16, torch.float32):
            rows, whole = (most_bytes(function, shape, dtype) / 2**30 for function in functions)
            print(
                f"{what} 2048x2048 in {dtype}, with weights: {rows:.2f} GiB row by row, {whole:.2f} GiB as a whole",
                flush=True,
            )


def most_bytes(call: Callable[[Any, Any], Any], shape: tuple[int, ...], dtype: Any) -> int:
    """Returns the bytes of all tensors that are there at once while a VAE of SD1.5's size gets an input."""
    import torch
    from diffusers import AutoencoderKL
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Counter(TorchDispatchMode):
        """Counts the bytes of what operations return, until it is gone."""

        now = most = 0

        def __init__(self) -> None:
            super().__init__()
            self.known: weakref.WeakSet[Any] = weakref.WeakSet()

        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = operation(*args, **(kwargs or {}))
            for tensor in tree_leaves(result):
                storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
                if storage is not None and storage not in self.known:
                    self.known.add(storage)
                    self.now += storage.nbytes()
                    self.most = max(self.most, self.now)
                    weakref.finalize(storage, self.gone, storage.nbytes())
            return result

        def gone(self, count: int) -> None:
            """Notes that so many bytes are free again."""
            self.now -= count

    with torch.device("meta"):
        vae = AutoencoderKL(**SD15["vae"]).to(dtype).eval()
    given = torch.empty(shape, device="meta", dtype=dtype)
    attention = torch.nn.functional.scaled_dot_product_attention
    # without a device there is only the kernel that has all products in memory, which no device uses here
    torch.nn.functional.scaled_dot_product_attention = lambda q, *_, **__: torch.empty_like(q)
    try:
        with torch.no_grad(), Counter() as counter:
            call(vae, given)
    finally:
        torch.nn.functional.scaled_dot_product_attention = attention
    return counter.most + sum(parameter.nbytes for parameter in vae.parameters())


PARTS = {"loading": loading, "switching": switching, "jobs": jobs, "decoding": decoding}
STEPS = {**PARTS, "write": write, "load": load}


def main() -> None:
    """Runs the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5, help="how often loading is timed")
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--part", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dtype", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        STEPS[args.part](args.folder, args)
        return
    with tempfile.TemporaryDirectory(prefix="serena-bench-") as folder:
        for name in args.only:
            subprocess.run([sys.executable, __file__, "--part", name, "--folder", folder, *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
