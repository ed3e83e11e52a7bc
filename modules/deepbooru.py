"""engine: describing an image in booru tags with DeepDanbooru.

The network is a TorchScript file beside a list of its tags, both put into models/torch_deepdanbooru by hand; until they
are, an answer says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from modules import devices, errors, image_ops, shared
from modules.options import OptionValues

re_special = re.compile(r"([\\()])")

IMAGE_SIZE = 512
TAGS_FILE = "tags.txt"


@dataclass(frozen=True)
class DeepbooruSettings(OptionValues):
    """What the tagger takes from the settings. The names are those of the options."""

    deepbooru_escape: bool
    deepbooru_filter_tags: str
    deepbooru_sort_alpha: bool
    deepbooru_use_spaces: bool
    interrogate_deepbooru_score_threshold: float
    interrogate_keep_models_in_memory: bool
    interrogate_return_ranks: bool

    def chosen(self, probabilities: Mapping[str, float]) -> list[str]:
        """Returns the tags that are likely enough, no rating and not unwanted, in their order."""
        unwanted = {tag.strip().replace(" ", "_") for tag in self.deepbooru_filter_tags.split(",")}
        likely = {
            tag: probability
            for tag, probability in probabilities.items()
            if probability >= self.interrogate_deepbooru_score_threshold
            and not tag.startswith("rating:")
            and tag not in unwanted
        }
        return sorted(likely) if self.deepbooru_sort_alpha else sorted(likely, key=likely.__getitem__, reverse=True)

    def written(self, tag: str, probability: float | None) -> str:
        """Returns a tag as it stands in a prompt; with a probability as its weight if one is given."""
        text = tag.replace("_", " ") if self.deepbooru_use_spaces else tag
        if self.deepbooru_escape:
            text = re_special.sub(r"\\\1", text)
        return text if probability is None else f"({text}:{probability:.3f})"


class DeepDanbooru:
    """The tagger. model: network from images (1, 512, 512, 3), RGB in 0..1, to a probability for each of its tags."""

    def __init__(self) -> None:
        self.model: Any = None

    def load(self) -> None:
        """Loads the network, if it is not loaded yet.

        Raises NotFound if it is not installed, ModelLoadError for a file that is none.
        """
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
        """Loads the network onto the interrogator's device."""
        self.load()
        self.model.to(devices.device_interrogate)

    def stop(self) -> None:
        """Frees the device's memory, unless the setting interrogate_keep_models_in_memory is on."""
        if not DeepbooruSettings.from_opts(shared.opts).interrogate_keep_models_in_memory:
            self.model.to(devices.cpu)
            devices.torch_gc()

    def tag(self, pil_image: Image.Image) -> str:
        """Returns the tags of an image, separated by commas. Raises as load."""
        self.start()
        try:
            return self.tag_multi(pil_image)
        finally:
            self.stop()

    def tag_multi(self, pil_image: Image.Image, force_disable_ranks: bool = False) -> str:
        """Returns the tags of an image; the network has to be loaded. force_disable_ranks leaves probabilities out."""
        image = image_ops.resize_image(2, pil_image.convert("RGB"), IMAGE_SIZE, IMAGE_SIZE)
        pixels = torch.from_numpy(np.asarray(image, dtype=np.float32)[None] / 255)
        with torch.inference_mode():
            probabilities = self.model(pixels.to(devices.device_interrogate))[0].cpu().tolist()
        return self.describe(dict(zip(self.model.tags, probabilities, strict=True)), force_disable_ranks)

    def describe(self, probabilities: dict[str, float], force_disable_ranks: bool = False) -> str:
        """Returns the tags that the settings choose, sorted and written as they say."""
        settings = DeepbooruSettings.from_opts(shared.opts)
        with_ranks = settings.interrogate_return_ranks and not force_disable_ranks
        return ", ".join(
            settings.written(tag, probabilities[tag] if with_ranks else None) for tag in settings.chosen(probabilities)
        )


model = DeepDanbooru()
