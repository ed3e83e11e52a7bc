"""engine: describing an image in words: a BLIP caption, then the best fitting lines of word lists, chosen by CLIP.

Both models are folders in Hugging Face's layout, put there by hand; until they are, an answer says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from modules import devices, errors, shared, shared_items, torchvision_ops
from modules.options import OptionValues

blip_image_eval_size = 384
clip_model_name = "ViT-L/14"

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
TEXTS_AT_ONCE = 256

re_topn = re.compile(r"\.top(\d+)$")


@dataclass(frozen=True)
class InterrogateSettings(OptionValues):
    """What the interrogator takes from the settings. The names are those of the options."""

    interrogate_clip_dict_limit: float
    interrogate_clip_max_length: int
    interrogate_clip_min_length: int
    interrogate_clip_num_beams: int
    interrogate_clip_skip_categories: list[str]
    interrogate_keep_models_in_memory: bool
    interrogate_return_ranks: bool


class Category(NamedTuple):
    """A word list: of its items, the topn best fitting ones join the description."""

    name: str
    topn: int
    items: list[str]


def category_types(content_dir: str | Path | None = None) -> list[str]:
    """Returns the names of the word lists, with their ".top<n>" where they have one."""
    if content_dir is None:
        if shared.interrogator is None:
            return []
        content_dir = shared.interrogator.content_dir
    return [path.stem for path in sorted(Path(content_dir).glob("*.txt"))]


def pixels_of(image: Image.Image, size: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Returns an image as the normalised tensor (1, 3, size, size) that CLIP and BLIP look at."""
    resized = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    values = (np.asarray(resized, dtype=np.float32) / 255 - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_STD)
    return torch.from_numpy(values.transpose(2, 0, 1)[None]).to(device=device, dtype=dtype)


class InterrogateModels:
    """The two models and the word lists. content_dir: folder of the lists, one line an item, "<name>.top<n>.txt"."""

    def __init__(self, content_dir: str):
        self.content_dir = content_dir
        self.blip_model: Any = None
        self.blip_tokenizer: Any = None
        self.clip_model: Any = None
        self.clip_tokenizer: Any = None
        self.dtype: torch.dtype = torch.float32
        self.running_on_cpu = devices.device_interrogate == devices.cpu

    def categories(self) -> list[Category]:
        """Reads the word lists that the setting interrogate_clip_skip_categories does not leave out.

        The setting interrogate_clip_dict_limit says how many lines of each; 0 is all.
        """
        settings = InterrogateSettings.from_opts(shared.opts)
        limit = int(settings.interrogate_clip_dict_limit)
        found = []
        for name in category_types(self.content_dir):
            if name in settings.interrogate_clip_skip_categories:
                continue
            topn = re_topn.search(name)
            lines = (Path(self.content_dir) / f"{name}.txt").read_text(encoding="utf8").splitlines()
            found.append(Category(name, int(topn.group(1)) if topn else 1, lines[:limit] if limit else lines))
        return found

    def load_blip_model(self) -> Any:
        """Returns the captioning model, and keeps its tokenizer. Raises NotFound if it is not installed."""
        torchvision_ops.declare_missing()
        from transformers import BertTokenizer, BlipForConditionalGeneration

        folder = _model_folder(Path(shared.models_path) / "BLIP", "a BLIP captioning model")
        self.blip_tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
        return BlipForConditionalGeneration.from_pretrained(folder, local_files_only=True).eval()

    def load_clip_model(self) -> Any:
        """Returns the model that compares images with words, and keeps its tokenizer.

        Raises NotFound if it is not installed.
        """
        torchvision_ops.declare_missing()
        from transformers import CLIPModel, CLIPTokenizer

        folder = shared.cmd_opts.clip_models_path or Path(shared.models_path) / "CLIP-interrogator"
        folder = _model_folder(Path(folder), f"a CLIP {clip_model_name} model")
        self.clip_tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        return CLIPModel.from_pretrained(folder, local_files_only=True).eval()

    def load(self) -> None:
        """Loads what is not loaded yet and moves it to the interrogator's device.

        Raises NotFound if a model is not installed.
        """
        if self.blip_model is None:
            self.blip_model = self.load_blip_model()
        if self.clip_model is None:
            self.clip_model = self.load_clip_model()
        self.dtype = torch.float32 if self.running_on_cpu or shared.cmd_opts.no_half else devices.dtype
        for model in (self.blip_model, self.clip_model):
            model.to(device=devices.device_interrogate, dtype=self.dtype)

    def send_clip_to_ram(self) -> None:
        """Moves CLIP off the device, unless the setting interrogate_keep_models_in_memory is on."""
        if self.clip_model is not None and not self._keeps_models():
            self.clip_model = self.clip_model.to(devices.cpu)

    def send_blip_to_ram(self) -> None:
        """Moves BLIP off the device, unless the setting interrogate_keep_models_in_memory is on."""
        if self.blip_model is not None and not self._keeps_models():
            self.blip_model = self.blip_model.to(devices.cpu)

    def unload(self) -> None:
        """Frees the device's memory, unless the setting interrogate_keep_models_in_memory is on."""
        self.send_clip_to_ram()
        self.send_blip_to_ram()
        devices.torch_gc()

    def _keeps_models(self) -> bool:
        return InterrogateSettings.from_opts(shared.opts).interrogate_keep_models_in_memory

    def encode_texts(self, texts: list[str]) -> torch.Tensor:
        """Returns unit vectors (len(texts), width) of texts; longer ones are cut."""
        parts = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            tokens = self.clip_tokenizer(
                texts[start : start + TEXTS_AT_ONCE],
                padding="max_length",
                truncation=True,
                max_length=self.clip_model.config.text_config.max_position_embeddings,
                return_tensors="pt",
            ).to(devices.device_interrogate)
            outputs = self.clip_model.text_model(**tokens)
            parts.append(self.clip_model.text_projection(outputs.pooler_output))
        return _normalised(torch.cat(parts))

    def encode_image(self, image: Image.Image) -> torch.Tensor:
        """Returns the unit vector (1, width) of an image."""
        size = self.clip_model.config.vision_config.image_size
        pixels = pixels_of(image, size, devices.device_interrogate, self.dtype)
        return _normalised(self.clip_model.visual_projection(self.clip_model.vision_model(pixels).pooler_output))

    def rank(self, image_features: torch.Tensor, text_array: list[str], top_count: int = 1) -> list[tuple[str, float]]:
        """Returns the texts that fit an image best, with their share of 100: a softmax over all of text_array.

        image_features: (1, width). The best comes first; not more than top_count come.
        """
        similarity = 100.0 * image_features @ self.encode_texts(text_array).T
        shares, places = similarity.softmax(dim=-1).mean(dim=0).topk(min(top_count, len(text_array)))
        return [(text_array[place], share * 100) for place, share in zip(places.tolist(), shares.tolist(), strict=True)]

    def generate_caption(self, pil_image: Image.Image) -> str:
        """Returns BLIP's sentence for an image; the models have to be loaded."""
        settings = InterrogateSettings.from_opts(shared.opts)
        size = self.blip_model.config.vision_config.image_size
        with torch.inference_mode():
            tokens = self.blip_model.generate(
                pixel_values=pixels_of(pil_image, size, devices.device_interrogate, self.dtype),
                num_beams=settings.interrogate_clip_num_beams,
                min_length=settings.interrogate_clip_min_length,
                max_length=settings.interrogate_clip_max_length,
                do_sample=False,
            )
        return self.blip_tokenizer.decode(tokens[0], skip_special_tokens=True).strip()

    def interrogate(self, pil_image: Image.Image) -> str:
        """Returns a description of an image: the caption, then the words, separated by commas.

        Raises NotFound if a model is not installed.
        """
        self.load()
        try:
            caption = self.generate_caption(pil_image)
            self.send_blip_to_ram()
            with torch.inference_mode():
                return ", ".join([caption, *self._words(self.encode_image(pil_image))])
        finally:
            self.unload()

    def _words(self, image_features: torch.Tensor) -> Iterator[str]:
        with_ranks = InterrogateSettings.from_opts(shared.opts).interrogate_return_ranks
        for category in self.categories():
            for text, share in self.rank(image_features, category.items, top_count=category.topn):
                yield f"({text}:{share / 100:.3f})" if with_ranks else text


def _normalised(features: torch.Tensor) -> torch.Tensor:
    norm = features.norm(dim=-1, keepdim=True)
    return features / norm.clamp_min(torch.finfo(norm.dtype).tiny)


def _model_folder(folder: Path, what: str) -> Path:
    if not (folder / "config.json").is_file():
        raise errors.NotFound(
            f"the interrogator's models are not installed: put {what} in Hugging Face's layout (config.json, weights,"
            f" tokenizer) into {folder}"
        )
    return folder


shared_items.register("interrogate_categories", category_types)
