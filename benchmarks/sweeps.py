"""How the time of an image grows with its size, the batch and the number of LoRAs, beside diffusers' pipeline.

    pip install -r benchmarks/requirements.txt
    python benchmarks/sweeps.py [--rounds 5] [--only size batch loras] [--into docs/images]

The embedded model with 8 steps; rounds alternate between the two programs, which share the weights; diffusers
computes with torch's own layers. Printed are medians and their ratio; one plot (SVG) for each sweep.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.against_diffusers import PROMPT, our_job, seconds_of, their_job  # noqa: E402
from benchmarks.common import api_client  # noqa: E402
from benchmarks.networks import write_network  # noqa: E402

STEPS = 8
RANK = 16
Measured = dict[int, tuple[float, float]]


class Programs:
    """This program and diffusers' pipeline in one process."""

    def __init__(self) -> None:
        self.client = api_client()
        from modules import shared

        self.model = shared.sd_model
        from test.quality import oracle

        shared.opts.set("live_previews_enable", False)
        scheduler = oracle.EulerDiscreteScheduler(**oracle.BETAS)
        self.pipe = oracle.pipeline(self.model, scheduler)
        self.folder = Path(shared.cmd_opts.lora_dir)

    def ours(self, prompt: str = PROMPT, size: int = 128, batch: int = 1) -> float:
        """Returns the seconds of a job, as the API runs it, up to its images."""
        return seconds_of(lambda: our_job(size, STEPS, prompt, batch))[0]

    def theirs(self, size: int = 128, batch: int = 1) -> float:
        """Returns the seconds of diffusers' pipeline for the same."""
        return seconds_of(lambda: their_job(self.pipe, size, STEPS, batch))[0]


def give_networks_of_its_own(pipe: Any) -> None:
    """Has a pipeline compute with networks of its own over the same weights: peft puts layers into what it is given."""
    text_encoder, unet = pipe.text_encoder, pipe.unet
    made = {
        "text_encoder": type(text_encoder)(text_encoder.config),
        "unet": type(unet).from_config(unet.config),
    }
    for name, network in made.items():
        weights = {key.replace(".wrapped.", "."): value for key, value in getattr(pipe, name).state_dict().items()}
        network.load_state_dict(weights, assign=True)
    pipe.register_modules(**{name: network.eval().requires_grad_(False) for name, network in made.items()})


def alternately(pairs: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Returns the medians of measurements of both programs; the first warms up."""
    ours, theirs = zip(*list(pairs)[1:], strict=True)
    return statistics.median(ours), statistics.median(theirs)


def sizes(programs: Programs, rounds: int) -> Measured:
    """Pixels of each side."""
    return {
        size: alternately((programs.ours(size=size), programs.theirs(size=size)) for _ in range(rounds + 1))
        for size in (64, 128, 192, 256, 384)
    }


def batches(programs: Programs, rounds: int) -> Measured:
    """Images of 128x128 at once."""
    return {
        batch: alternately((programs.ours(batch=batch), programs.theirs(batch=batch)) for _ in range(rounds + 1))
        for batch in (1, 2, 4, 8)
    }


def loras(programs: Programs, rounds: int) -> Measured:
    """Active LoRAs, of an image of 128x128; diffusers computes them beside the layers (peft)."""
    most = 4
    for number in range(most):
        write_network(programs.folder / f"sweep{number}.safetensors", programs.model, RANK, number)
    assert programs.client.post("/sdapi/v1/refresh-loras").status_code == 200
    give_networks_of_its_own(programs.pipe)

    def with_active(count: int) -> Iterator[tuple[float, float]]:
        """Yields measurements of both programs with so many LoRAs, which are put on before."""
        tags = "".join(f"<lora:sweep{number}:0.2>" for number in range(count))
        if count:
            programs.pipe.load_lora_weights(programs.folder / f"sweep{count - 1}.safetensors", adapter_name=f"a{count}")
            programs.pipe.set_adapters([f"a{number + 1}" for number in range(count)], [0.2] * count)
        for _ in range(rounds + 1):
            yield programs.ours(f"{PROMPT}{tags}"), programs.theirs()

    return {count: alternately(with_active(count)) for count in range(most + 1)}


SWEEPS: dict[str, Callable[[Programs, int], Measured]] = {"size": sizes, "batch": batches, "loras": loras}


def plot(file: Path, title: str, measured: Measured) -> None:
    """Writes a plot of both programs' seconds."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "serena"  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    at = list(measured)
    for name, place, color in (("Serena", 0, "tab:blue"), ("diffusers", 1, "tab:orange")):
        axes.plot(at, [seconds[place] for seconds in measured.values()], marker="o", color=color, label=name)
    axes.set(xlabel=title, ylabel="seconds", ylim=(0, None), xticks=at)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Runs the sweeps, prints their figures and writes their plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=SWEEPS, default=[*SWEEPS])
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "images")
    args = parser.parse_args()
    programs = Programs()
    for name in args.only:
        measured = SWEEPS[name](programs, args.rounds)
        for value, (our, their) in measured.items():
            print(f"{name} {value}: {our:.3f} s to {their:.3f} s, ratio {our / their:.2f}", flush=True)
        plot(args.into / f"benchmark-{name}.svg", (SWEEPS[name].__doc__ or "").splitlines()[0].rstrip("."), measured)


if __name__ == "__main__":
    main()
