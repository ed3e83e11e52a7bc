"""txt2img on a graphics card against diffusers' pipelines, side by side in one process on the same random weights.

    python benchmarks/gpu.py [--only sd15 sdxl] [--rounds 5] [--torch-compile] [--bf16] [--tiny]

Networks of the sizes of SD1.5, 512x512 with 20 steps, and of SDXL, 1024x1024 with 30 steps, in float16, or in bfloat16
with --bf16. The checkpoints are written first, 9 GB in the temporary directory, and loaded as any other. Rounds
alternate between the two programs; printed are the medians and our time as a ratio of theirs (at most 1.0 is the goal;
at most 0.95 with --torch-compile, where diffusers compiles the blocks of its U-Net too), and what a job takes beyond
its U-Net's calls and its decoding, run again with the same inputs (at most 2 %). Without a card there is only --tiny:
small networks on the CPU, whose figures say nothing.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.against_diffusers import CFG_SCALE, PROMPT, compare, our_job, seconds_of  # noqa: E402
from benchmarks.common import FLAGS, set_up, temporary_folder  # noqa: E402


@dataclass(frozen=True)
class Kind:
    """What is measured. family: in the names of recipes. size: pixels of a side."""

    title: str
    family: str
    size: int
    steps: int


KINDS = {
    "sd15": Kind("SD1.5-sized, 512x512, 20 steps", "SD1", 512, 20),
    "sdxl": Kind("SDXL-sized, 1024x1024, 30 steps", "SDXL", 1024, 30),
}
TINY = {"size": 64, "steps": 2}


def recipe_of(kind: Kind) -> Any:
    """Returns what a checkpoint of full size is made of, as `tools.tiny_checkpoints` makes small ones."""
    from tools import tiny_checkpoints as tiny

    clip_l = {**tiny.TINY_CLIP_L, "hidden_size": 768, "intermediate_size": 3072}
    clip_l |= {"num_hidden_layers": 12, "num_attention_heads": 12}
    clip_g = {**tiny.TINY_CLIP_G, "hidden_size": 1280, "intermediate_size": 5120, "projection_dim": 1280}
    clip_g |= {"num_hidden_layers": 32, "num_attention_heads": 20}
    vae = {**tiny.TINY_VAE, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}
    if kind.family == "SD1":
        widths = {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768}
        return replace(tiny.SD1, unet={**tiny.SD1.unet, **widths}, vae=vae, texts=dict.fromkeys(tiny.SD1.texts, clip_l))
    unet = tiny.xl_unet(
        text_width=768 + 1280,
        numbers=6,
        block_out_channels=(320, 640, 1280),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        projection_class_embeddings_input_dim=1280 + 6 * tiny.VECTOR_NUMBERS,
    )
    return replace(tiny.SDXL, unet=unet, vae=vae, texts=dict(zip(tiny.SDXL.texts, (clip_l, clip_g), strict=True)))


@contextmanager
def networks_of(kind: Kind, is_tiny: bool, device: str, path: Path) -> Iterator[Any]:
    """Writes the checkpoint of a kind and gives its networks, for diffusers."""
    import torch
    from safetensors.torch import save_file

    from tools import tiny_checkpoints

    recipe = getattr(tiny_checkpoints, kind.family) if is_tiny else recipe_of(kind)
    with torch.device(device):
        made = tiny_checkpoints.make(recipe)
    try:
        save_file(made.weights(), path)
        yield made
    finally:
        path.unlink(missing_ok=True)


def pipeline_of(networks: Any, dtype: Any, device: str) -> Any:
    """Returns diffusers' pipeline around networks."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline

    from test.unit.diffusers_pipelines import tokenizers

    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    scheduler = EulerDiscreteScheduler(**noise)
    first, second = tokenizers()
    texts = list(networks.texts.values())
    if len(texts) == 1:
        pipe = StableDiffusionPipeline(
            networks.vae, texts[0], first, networks.unet, scheduler, None, None, requires_safety_checker=False
        )
    else:
        pipe = StableDiffusionXLPipeline(
            networks.vae, *texts, first, second, networks.unet, scheduler, add_watermarker=False
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device, dtype)


def beyond_networks(sd_model: Any, kind: Kind, rounds: int) -> None:
    """Prints what share of a job's time its U-Net's calls and its decoding do not take, run again by themselves."""
    import torch

    called: dict[str, tuple[Any, Any]] = {}
    parts = {"unet": sd_model.model, "vae": sd_model.first_stage_model.decoder}
    handles = [
        part.register_forward_pre_hook(
            lambda part, args, kwargs, name=name: called.update({name: (args, kwargs)}), with_kwargs=True
        )
        for name, part in parts.items()
    ]
    our_job(kind.size, kind.steps)
    for handle in handles:
        handle.remove()

    @torch.no_grad()
    def networks_alone() -> None:
        """Calls the U-Net as often as a job does, and decodes."""
        for name, times in (("unet", kind.steps), ("vae", 1)):
            args, kwargs = called[name]
            for _ in range(times):
                output = parts[name](*args, **kwargs)
        float(output.flatten()[0])  # waits for the device

    networks_alone()
    pairs = [
        (seconds_of(lambda: our_job(kind.size, kind.steps))[0], seconds_of(networks_alone)[0]) for _ in range(rounds)
    ]
    shares = sorted(1 - alone / job for job, alone in pairs)
    print(f"{kind.title}, beyond its networks: {100 * shares[len(shares) // 2]:.1f} % of a job", flush=True)


def measure(kind: Kind, sd_model: Any, pipe: Any, rounds: int) -> None:
    """Prints all of a kind whose checkpoint is the current one."""
    given = {"prompt": PROMPT, "negative_prompt": "", "width": kind.size, "height": kind.size}

    def theirs() -> None:
        """Makes the same image with diffusers."""
        pipe(**given, num_inference_steps=kind.steps, guidance_scale=CFG_SCALE)

    compare(kind.title, lambda: our_job(kind.size, kind.steps), theirs, rounds)
    beyond_networks(sd_model, kind, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--torch-compile", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()

    folder = temporary_folder()
    wanted = {"--torch-compile": args.torch_compile, "--bf16": args.bf16}
    flags = ["--ckpt-dir", str(folder), "--disable-nan-check", *(flag for flag, is_on in wanted.items() if is_on)]
    place = (["--nowebui", "--use-cpu", "all"] if args.bf16 else FLAGS) if args.tiny else ["--nowebui"]
    set_up([*place, *flags])
    import torch

    if not args.tiny and not torch.cuda.is_available():
        print("no GPU: nothing is measured")
        return
    device, narrow = ("cpu", torch.float32) if args.tiny else ("cuda", torch.float16)
    dtype = torch.bfloat16 if args.bf16 else narrow
    from modules import initialize, sd_models, shared

    initialize.initialize()
    shared.opts.set("live_previews_enable", False)
    for name in args.only:
        kind = replace(KINDS[name], title=f"tiny {name}", **TINY) if args.tiny else KINDS[name]
        with networks_of(kind, args.tiny, device, folder / f"{name}.safetensors") as networks:
            sd_models.list_models()
            shared.opts.set("sd_model_checkpoint", name)
            sd_model = sd_models.reload_model_weights()
            assert sd_model.sd_checkpoint_info.model_name == name, "another checkpoint was loaded"
            pipe = pipeline_of(networks, dtype, device)
            if args.torch_compile:
                pipe.unet.compile_repeated_blocks(dynamic=True)
            measure(kind, sd_model, pipe, args.rounds)


if __name__ == "__main__":
    main()
