"""txt2img of this program against diffusers' StableDiffusionPipeline, side by side in one process on the same weights.

    python benchmarks/against_diffusers.py [--rounds 5]

Two sizes: the embedded model at 128x128 with 20 steps, and a U-Net of SD1.5's size with random weights at 256x256 with
4 steps. Rounds alternate between the two programs; printed are the medians and our time as a ratio of theirs (at most
1.0 is the goal).
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.common import set_up, use_unet_of_sd15_size  # noqa: E402

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
        if number:
            ours.append(pair[0])
            theirs.append(pair[1])
    our, their = statistics.median(ours), statistics.median(theirs)
    print(f"{name}: ours {our:.3f} s, diffusers {their:.3f} s, ratio {our / their:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds

    set_up()
    from modules import initialize, shared
    from test.quality import oracle

    initialize.initialize()
    sd_model = shared.sd_model
    shared.opts.set("live_previews_enable", False)
    scheduler = oracle.EulerDiscreteScheduler(**oracle.BETAS)
    compare("embedded model, 128x128, 20 steps", oracle.pipeline(sd_model, scheduler), 128, 20, rounds)
    use_unet_of_sd15_size(sd_model)
    compare("SD1.5-sized U-Net, 256x256, 4 steps", oracle.pipeline(sd_model, scheduler), 256, 4, rounds)


if __name__ == "__main__":
    main()
