"""txt2img of this program against diffusers' StableDiffusionPipeline, side by side in one process on the same weights.

    python benchmarks/against_diffusers.py [--rounds 5] [--only embedded sd15 decoding] [--cpu-backend openvino]

The embedded model at 128x128 with 20 steps, a U-Net of SD1.5's size with random weights at 256x256 with 4 steps, and
a VAE of that size that decodes 512x512. Both have the same weights; diffusers computes with torch's own layers. Rounds
alternate between the two programs; printed are the medians, our time as a ratio of theirs, and that of the processor's
time, which says more where other programs compute (at most 0.9 is the goal; at most 0.7 with --cpu-backend or
--torch-compile, which diffusers does without here). The first round warms up; how long it takes is printed too. With
--cpu-backend, also how much longer the first job takes after a start, with what the backend keeps on disk: as soon as
the model is loaded, and where the program has prepared for it (at most 2 s is the goal).
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.common import FLAGS, set_up, use_unet_of_sd15_size  # noqa: E402

PROMPT = "red apple"
CFG_SCALE = 7.0
PARTS = ("embedded", "sd15", "decoding")


def our_job(size: int, steps: int, prompt: str = PROMPT, batch: int = 1) -> None:
    """Runs one job as the API runs it, up to its images."""
    from modules import call_queue, processing

    p = processing.StableDiffusionProcessingTxt2Img(
        prompt=prompt,
        sampler_name="Euler",
        steps=steps,
        cfg_scale=CFG_SCALE,
        width=size,
        height=size,
        batch_size=batch,
        seed=1,
    )
    p.do_not_save_samples = p.do_not_save_grid = True
    with call_queue.gpu_job("benchmark"):
        processing.process_images(p)


def our_seconds(size: int, steps: int) -> float:
    """Returns the seconds of one job."""
    return seconds_of(lambda: our_job(size, steps))[0]


def their_job(pipe: Any, size: int, steps: int, batch: int = 1) -> None:
    """Runs the same with diffusers' pipeline and torch's own layers."""
    from modules import cpu_layers

    given = {"prompt": PROMPT, "negative_prompt": "", "width": size, "height": size}
    with cpu_layers.left_out():
        pipe(**given, num_inference_steps=steps, guidance_scale=CFG_SCALE, num_images_per_prompt=batch)


def seconds_of(call: Callable[[], object]) -> tuple[float, float]:
    """Returns the seconds that a call takes, and those of the processor."""
    started, worked = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - started, time.process_time() - worked


def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> None:
    """Prints both medians and their ratios; the first round warms up."""
    first = seconds_of(ours)[0], seconds_of(theirs)[0]
    print(f"first round of {name}: {first[0]:.1f} s, diffusers {first[1]:.1f} s", flush=True)
    pairs = [(seconds_of(ours), seconds_of(theirs)) for _ in range(rounds)]
    (our, their), (our_work, their_work) = (
        [statistics.median(pair[program][clock] for pair in pairs) for program in (0, 1)] for clock in (0, 1)
    )
    print(
        f"{name}: ours {our:.3f} s, diffusers {their:.3f} s, ratio {our / their:.2f}, "
        f"of processor time {our_work / their_work:.2f}",
        flush=True,
    )


def compare_jobs(name: str, pipe: Any, size: int, steps: int, rounds: int) -> None:
    """Prints how long jobs of both programs take."""
    compare(name, lambda: our_job(size, steps), lambda: their_job(pipe, size, steps), rounds)


def compare_starts(name: str, size: int, steps: int) -> None:
    """Prints how much longer than later jobs the first one takes with a backend that has computed nothing yet."""
    from modules import backends, shared

    more, ahead = [], 0.0
    for is_prepared in (False, True):
        shared.sd_model.model.runner.forget()
        shared.sd_model.model.runner = backends.Runner()
        if is_prepared:
            ahead = seconds_of(prepare)[0]
        first, *later = [our_seconds(size, steps) for _ in range(3)]
        more.append(first - min(later))
    print(
        f"first job after a start, {name}: {more[0]:.1f} s more than later ones; "
        f"prepared, which takes {ahead:.1f} s: {more[1]:.1f} s more",
        flush=True,
    )


def prepare() -> None:
    """Does what the program does after a model was loaded."""
    from modules import call_queue, initialize_util

    initialize_util.prepare_model()
    while queued := call_queue.queue.live():
        queued[0].future.result()


def compare_decoding(rounds: int) -> None:
    """Prints how long a VAE of SD1.5's size with random weights takes to decode 512x512 in both programs."""
    import torch
    from diffusers import AutoencoderKL
    from ldm.modules.diffusionmodules import model

    from modules import cpu_layers

    theirs = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    ).eval()
    ours = copy.deepcopy(theirs)
    model.adopt(ours)
    latent = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(1))

    def decode_theirs() -> None:
        """Decodes with torch's own layers."""
        with cpu_layers.left_out():
            theirs.decode(latent)

    with torch.inference_mode():
        compare("decoding of 512x512", lambda: ours.decode(latent), decode_theirs, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--cpu-backend")
    parser.add_argument("--torch-compile", action="store_true")
    args = parser.parse_args()

    backend = [*(["--cpu-backend", args.cpu_backend] if args.cpu_backend else [])]
    set_up([*FLAGS, *backend, *(["--torch-compile"] if args.torch_compile else [])])
    from modules import initialize, shared
    from test.quality import oracle

    initialize.initialize()
    sd_model = shared.sd_model
    shared.opts.set("live_previews_enable", False)
    scheduler = oracle.EulerDiscreteScheduler(**oracle.BETAS)
    if "embedded" in args.only:
        compare_jobs("embedded model, 128x128, 20 steps", oracle.pipeline(sd_model, scheduler), 128, 20, args.rounds)
        if args.cpu_backend:
            compare_starts("embedded model", 128, 20)
    if "sd15" in args.only:
        use_unet_of_sd15_size(sd_model)
        compare_jobs("SD1.5-sized U-Net, 256x256, 4 steps", oracle.pipeline(sd_model, scheduler), 256, 4, args.rounds)
        if args.cpu_backend:
            compare_starts("SD1.5-sized U-Net", 256, 4)
    if "decoding" in args.only:
        compare_decoding(args.rounds)


if __name__ == "__main__":
    main()
