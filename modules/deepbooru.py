"""engine: describing a picture in booru tags with DeepDanbooru.

The network is a TorchScript file beside a list of its tags, both put into models/torch_deepdanbooru by hand; until they
are, an answer says so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from modules import devices, errors, image_ops, shared

re_special = re.compile(r"([\\()])")

IMAGE_SIZE = 512
TAGS_FILE = "tags.txt"


class DeepDanbooru:
    """The tagger. model: network from pictures (1, 512, 512, 3), RGB in 0..1, to a probability for each of its tags."""

    def __init__(self) -> None:
        self.model: Any = None

    def load(self) -> None:
        """Load the network, if it is not loaded yet; raises NotFound if it is not installed."""
        if self.model is not None:
            return
        folder = Path(shared.models_path) / "torch_deepdanbooru"
        files = sorted(folder.glob("*.pt"))
        tags = folder / TAGS_FILE
        if not files or not tags.is_file():
            raise errors.NotFound(
                "the DeepDanbooru model is not installed: put the network as a TorchScript file (*.pt) and the names of"
                f" its outputs ({TAGS_FILE}, one a line) into {folder}"
            )
        try:
            model = torch.jit.load(files[0], map_location="cpu")
        except RuntimeError as e:
            raise errors.ModelLoadError(f"{files[0]} cannot be loaded as a TorchScript file: {e}") from e
        self.model = model.eval()
        self.model.tags = tags.read_text(encoding="utf8").splitlines()

    def start(self) -> None:
        """Load the network onto the interrogator's device."""
        self.load()
        self.model.to(devices.device_interrogate)

    def stop(self) -> None:
        """Free the device's memory, unless the setting interrogate_keep_models_in_memory is on."""
        if not shared.opts.interrogate_keep_models_in_memory:
            self.model.to(devices.cpu)
            devices.torch_gc()

    def tag(self, pil_image: Image.Image) -> str:
        """Return the tags of an image, separated by commas; raises NotFound if the network is not installed."""
        self.start()
        try:
            return self.tag_multi(pil_image)
        finally:
            self.stop()

    def tag_multi(self, pil_image: Image.Image, force_disable_ranks: bool = False) -> str:
        """Return the tags of an image; the network has to be loaded. force_disable_ranks leaves probabilities out."""
        image = image_ops.resize_image(2, pil_image.convert("RGB"), IMAGE_SIZE, IMAGE_SIZE)
        pixels = torch.from_numpy(np.asarray(image, dtype=np.float32)[None] / 255)
        with torch.inference_mode():
            probabilities = self.model(pixels.to(devices.device_interrogate))[0].cpu().tolist()
        return self.describe(dict(zip(self.model.tags, probabilities, strict=True)), force_disable_ranks)

    def describe(self, probabilities: dict[str, float], force_disable_ranks: bool = False) -> str:
        """Return the tags that are likely enough, chosen, sorted and written as the settings say."""
        opts = shared.opts
        unwanted = {tag.strip().replace(" ", "_") for tag in opts.deepbooru_filter_tags.split(",")}
        likely = {
            tag: probability
            for tag, probability in probabilities.items()
            if probability >= opts.interrogate_deepbooru_score_threshold
            and not tag.startswith("rating:")
            and tag not in unwanted
        }
        order = sorted(likely) if opts.deepbooru_sort_alpha else sorted(likely, key=likely.__getitem__, reverse=True)
        with_ranks = opts.interrogate_return_ranks and not force_disable_ranks
        return ", ".join(self._written(tag, likely[tag] if with_ranks else None) for tag in order)

    def _written(self, tag: str, probability: float | None) -> str:
        text = tag.replace("_", " ") if shared.opts.deepbooru_use_spaces else tag
        if shared.opts.deepbooru_escape:
            text = re_special.sub(r"\\\1", text)
        return text if probability is None else f"({text}:{probability:.3f})"


model = DeepDanbooru()
