"""txt2img of this program against diffusers' StableDiffusionPipeline, side by side in one process on the same weights.

    python benchmarks/against_diffusers.py [--rounds 5] [--only embedded sd15] [--cpu-backend openvino]

Two sizes: the embedded model at 128x128 with 20 steps, and a U-Net of SD1.5's size with random weights at 256x256 with
4 steps. Rounds alternate between the two programs; printed are the medians and our time as a ratio of theirs (at most
1.0 is the goal; at most 0.7 with --cpu-backend or --torch-compile, which diffusers does without here). The first round
warms up; how long it takes is printed too.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.common import FLAGS, set_up, use_unet_of_sd15_size  # noqa: E402

PROMPT = "red apple"
CFG_SCALE = 7.0


def our_seconds(size: int, steps: int) -> float:
    """Returns the seconds of one job, as the API runs it, up to its images."""
    from modules import call_queue, processing

    p = processing.StableDiffusionProcessingTxt2Img(
        prompt=PROMPT, sampler_name="Euler", steps=steps, cfg_scale=CFG_SCALE, width=size, height=size, seed=1
    )
    p.do_not_save_samples = p.do_not_save_grid = True
    started = time.perf_counter()
    with call_queue.gpu_job("benchmark"):
        processing.process_images(p)
    return time.perf_counter() - started


def their_seconds(pipe, size: int, steps: int) -> float:
    started = time.perf_counter()
    pipe(
        prompt=PROMPT, negative_prompt="", num_inference_steps=steps, guidance_scale=CFG_SCALE, width=size, height=size
    )
    return time.perf_counter() - started


def compare(name: str, pipe, size: int, steps: int, rounds: int) -> None:
    """Prints both medians and their ratio; the first round warms up."""
    ours, theirs = [], []
    for number in range(rounds + 1):
        pair = our_seconds(size, steps), their_seconds(pipe, size, steps)
        if not number:
            print(f"{name}: first round {pair[0]:.1f} s, diffusers {pair[1]:.1f} s", flush=True)
        else:
            ours.append(pair[0])
            theirs.append(pair[1])
    our, their = statistics.median(ours), statistics.median(theirs)
    print(f"{name}: ours {our:.3f} s, diffusers {their:.3f} s, ratio {our / their:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=("embedded", "sd15"), default=("embedded", "sd15"))
    parser.add_argument("--cpu-backend")
    parser.add_argument("--torch-compile", action="store_true")
    parser.add_argument("--cache", help="folder of what a backend keeps, to measure the second start")
    args = parser.parse_args()
    if args.cache:
        os.environ["SD_WEBUI_CACHE_DIR"] = args.cache

    backend = [*(["--cpu-backend", args.cpu_backend] if args.cpu_backend else [])]
    set_up([*FLAGS, *backend, *(["--torch-compile"] if args.torch_compile else [])])
    from modules import initialize, shared
    from test.quality import oracle

    initialize.initialize()
    sd_model = shared.sd_model
    shared.opts.set("live_previews_enable", False)
    scheduler = oracle.EulerDiscreteScheduler(**oracle.BETAS)
    if "embedded" in args.only:
        compare("embedded model, 128x128, 20 steps", oracle.pipeline(sd_model, scheduler), 128, 20, args.rounds)
    if "sd15" in args.only:
        use_unet_of_sd15_size(sd_model)
        compare("SD1.5-sized U-Net, 256x256, 4 steps", oracle.pipeline(sd_model, scheduler), 256, 4, args.rounds)


if __name__ == "__main__":
    main()
