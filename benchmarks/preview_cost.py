"""What live previews cost a job: 20 steps at 256x256 with the preview asked for once a second, against none.

    python benchmarks/preview_cost.py [--rounds 7] [--method "Approx cheap"]

Rounds alternate; printed are the medians and the extra time in percent (2 % is the goal).
"""

import argparse
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.common import set_up  # noqa: E402


def job_seconds() -> float:
    from modules import call_queue, processing

    p = processing.StableDiffusionProcessingTxt2Img(
        prompt="red apple", sampler_name="Euler", steps=20, width=256, height=256, seed=1
    )
    p.do_not_save_samples = p.do_not_save_grid = True
    started = time.perf_counter()
    with call_queue.gpu_job("benchmark"):
        processing.process_images(p)
    return time.perf_counter() - started


def polled_job_seconds() -> float:
    """Returns the seconds of a job while another thread asks for the preview once a second, as an open page does."""
    from modules import progress

    done = threading.Event()

    def poll() -> None:
        while not done.wait(1.0):
            progress.progressapi(None, id_live_preview=-1)

    thread = threading.Thread(target=poll)
    thread.start()
    seconds = job_seconds()
    done.set()
    thread.join()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--method", default="Approx cheap")
    arguments = parser.parse_args()

    set_up()
    from modules import initialize, shared

    initialize.initialize()
    shared.opts.set("show_progress_type", arguments.method)
    job_seconds()
    plain, polled = [], []
    for _ in range(arguments.rounds):
        plain.append(job_seconds())
        polled.append(polled_job_seconds())
    without, with_previews = statistics.median(plain), statistics.median(polled)
    extra = 100 * (with_previews / without - 1)
    print(f"{arguments.method}: {without:.3f} s without previews, {with_previews:.3f} s with, {extra:+.1f} %")


if __name__ == "__main__":
    main()
