"""How long other programs' metadata take to read: 10 MB of text, and the search for text hidden in the pixels.

    python benchmarks/metadata.py

Prints the median of ten; the targets are 1 s for the former and 30 ms for the latter at 1024x1024.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from modules import dialects, infotext
from modules.dialects import stealth

MEGABYTES = 10


def milliseconds(work: Callable[[], object], rounds: int = 10) -> float:
    """Returns the median processor time of a call, which other programs at work do not change."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        times.append((time.process_time() - started) * 1000)
    return statistics.median(times)


def long_texts() -> dict[str, str]:
    """Returns texts of 10 MB by what they are."""
    words = "red apple, " * (MEGABYTES * 1_000_000 // 11)
    graph = {str(i): {"class_type": "Node", "inputs": {"a": [str(i + 1), 0], "text": "x" * 900}} for i in range(10_000)}
    drawn = [{"id": i, "type": "KSampler", "widgets_values": ["x" * 900], "inputs": []} for i in range(10_000)]
    return {
        "prompt": f"{words}\nSteps: 20, Sampler: Euler, Seed: 1, Size: 64x64",
        "one line of pairs": ", ".join(f"Key {i}: {i:060}" for i in range(MEGABYTES * 1_000_000 // 76)),
        "brackets that never close": "Steps: 1, Civitai resources: " + "[" * MEGABYTES * 1_000_000,
        "braces": "{" * MEGABYTES * 1_000_000,
        "words without a mark": "apple " * (MEGABYTES * 1_000_000 // 6),
        "JSON of nobody, cut": '{"a": [' * (MEGABYTES * 1_000_000 // 7),
        "SwarmUI": json.dumps({"sui_image_params": {"prompt": words, "steps": 1}}),
        "ComfyUI": json.dumps(graph),
        "ComfyUI, cut": '{"class_type": "inputs", ' + '"a": [' * (MEGABYTES * 1_000_000 // 6),
        "ComfyUI's page": json.dumps({"nodes": drawn, "links": [], "type": 1}),
        "templates and pairs": "Template: a\nSteps: " * (MEGABYTES * 1_000_000 // 19),
        "pairs without line breaks": "Steps: 1, a " * (MEGABYTES * 1_000_000 // 12) + "Civitai resources: [",
        "a command of InvokeAI": '"a" -s ' * (MEGABYTES * 1_000_000 // 7),
    }


def main() -> None:
    """Prints the table."""
    for name, text in long_texts().items():
        taken = milliseconds(lambda text=text: infotext.parse_infotext(dialects.translated_text(text)), rounds=3)
        print(f"{name:28} {len(text) / 1e6:5.1f} MB {taken:8.1f} ms")
    pixels = np.random.default_rng(0).integers(0, 256, (1024, 1024, 4), dtype=np.uint8)
    for mode in ("RGBA", "RGB"):
        image = Image.fromarray(pixels[..., : len(mode)].copy())
        print(f"hidden text, {mode:15} 1024x1024 {milliseconds(lambda image=image: stealth.read(image)):8.2f} ms")


if __name__ == "__main__":
    main()
