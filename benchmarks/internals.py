"""What it costs that extensions see the U-Net in the original's layout, in processor time and in memory.

    python benchmarks/internals.py [--rounds 9] [--large-rounds 3]

One call through the layout against diffusers' class with the same weights, as it is and with a forward that an
extension put in its place; and images with a control network (that of test/data/extensions/control) against diffusers'
StableDiffusionControlNetPipeline. On the embedded model, and with random weights of SD1.5's size, which takes 6 GB;
--large-rounds 0 leaves that out. Rounds alternate between both sides; printed are medians and the ratio of the first to
the second.
"""

import argparse
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.common import set_up, use_unet_of_sd15_size  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "test" / "data" / "extensions" / "control" / "scripts" / "control.py"
SIDE, STEPS, CFG_SCALE, PROMPT = 128, 2, 5.0, "red apple"


def compare(name: str, rounds: int, ours: Callable[[], Any], theirs: Callable[[], Any]) -> None:
    """Prints the medians of both and their ratio; the first round warms up."""
    pairs = []
    for number in range(rounds + 1):
        started = time.process_time()
        ours()
        between = time.process_time()
        theirs()
        if number:
            pairs.append((between - started, time.process_time() - between))
    our, their = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"{name}: {our:.3f} s to {their:.3f} s, ratio {ratio:.3f}", flush=True)


def twin_of(unet: Any) -> Any:
    """Returns a U-Net of diffusers as diffusers makes it, with the same tensors."""
    import torch
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        twin = UNet2DConditionModel.from_config(unet.config)
    twin.load_state_dict(unet.state_dict(), assign=True)
    return twin.eval().requires_grad_(False)


def walk(unet: Any, x: Any, timesteps: Any, context: Any = None, y: Any = None, **_: Any) -> Any:
    """What extensions put in the place of the U-Net's forward: the way through its lists, with nothing to add."""
    import torch
    from ldm.modules.diffusionmodules.util import timestep_embedding

    emb = unet.time_embed(timestep_embedding(timesteps, unet.model_channels).to(x.dtype))
    h, skips = x, []
    for block in unet.input_blocks:
        h = block(h, emb, context)
        skips.append(h)
    h = unet.middle_block(h, emb, context)
    for block in unet.output_blocks:
        h = block(torch.cat([h, skips.pop()], dim=1), emb, context)
    return unet.out(h)


def compare_calls(name: str, layout: Any, side: int, rounds: int) -> None:
    """Compares single calls, after a look at whether their results are the same."""
    import torch

    twin = twin_of(layout.unet)
    x, timesteps = torch.randn(2, 4, side, side), torch.tensor([20.0, 500.0])
    context = torch.randn(2, 77, twin.config.cross_attention_dim)
    ours = partial(layout, x, timesteps, context)
    theirs = partial(twin, x, timesteps, context, return_dict=False)
    print(f"{name}: equal bit for bit: {torch.equal(ours(), theirs()[0])}", flush=True)
    compare(f"{name}: a call through the layout to diffusers' class", rounds, ours, theirs)
    original = layout.forward
    layout.forward = partial(walk, layout)
    compare(f"{name}: with a replaced forward to diffusers' class", rounds, ours, theirs)
    layout.forward = original


def layout_bytes(unet: Any) -> int:
    """Returns the memory of a layout beside the parameters of a network, which is laid out already."""
    from ldm.modules.diffusionmodules.openaimodel import UNetModel

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    layout = UNetModel(unet)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    del layout
    return taken


def compare_control(name: str, sd_model: Any, rounds: int) -> None:
    """Compares whole images with a control network of random weights."""
    import torch
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
    from PIL import Image

    from modules import call_queue, processing, script_loading
    from test.quality import oracle

    control = script_loading.load_module(str(SCRIPT))
    layout = sd_model.model.diffusion_model
    network = control.ControlNet(layout).requires_grad_(False)
    hint = Image.radial_gradient("L").convert("RGB").resize((SIDE, SIDE))
    with torch.device("meta"):
        theirs = ControlNetModel.from_config(
            ControlNetModel.from_unet(layout.unet, load_weights_from_unet=False).config
        )
    weights = convert_controlnet_checkpoint(dict(network.state_dict()), config=theirs.config)
    theirs.load_state_dict(weights, assign=True)
    parts = oracle.pipeline(sd_model, oracle.EulerDiscreteScheduler(**oracle.BETAS)).components
    parts["unet"] = twin_of(layout.unet)
    pipe = StableDiffusionControlNetPipeline(**parts, controlnet=theirs.eval(), requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)

    def ours() -> None:
        p = processing.StableDiffusionProcessingTxt2Img(
            prompt=PROMPT, sampler_name="Euler", steps=STEPS, cfg_scale=CFG_SCALE, width=SIDE, height=SIDE, seed=1
        )
        p.do_not_save_samples = p.do_not_save_grid = True
        with call_queue.gpu_job("benchmark"):
            processing.process_images(p)

    pixels = torch.rand(1, 3, SIDE, SIDE)
    original = layout.forward
    layout.forward = partial(control.controlled, layout, network.eval(), pixels, 1.0)
    pipeline_call = partial(
        pipe,
        prompt=PROMPT,
        negative_prompt="",
        image=hint,
        num_inference_steps=STEPS,
        guidance_scale=CFG_SCALE,
        width=SIDE,
        height=SIDE,
    )
    compare(f"{name}: an image with a control network to diffusers' pipeline", rounds, ours, pipeline_call)
    layout.forward = original


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--large-rounds", type=int, default=3)
    args = parser.parse_args()

    set_up()
    import torch

    from modules import initialize, shared

    torch.set_num_threads(1)
    initialize.initialize()
    sd_model = shared.sd_model
    with torch.inference_mode():
        compare_calls("embedded model", sd_model.model.diffusion_model, 16, 4 * args.rounds)
        print(f"layout of the embedded model: {layout_bytes(sd_model.network('denoiser')) / 1024:.0f} KiB")
        compare_control("embedded model", sd_model, args.rounds)
        if args.large_rounds:
            use_unet_of_sd15_size(sd_model)
            compare_calls("SD1.5's size", sd_model.model.diffusion_model, SIDE // 8, args.large_rounds)
            print(f"layout of SD1.5's size: {layout_bytes(sd_model.network('denoiser')) / 1024:.0f} KiB")
            compare_control("SD1.5's size", sd_model, args.large_rounds)


if __name__ == "__main__":
    main()
