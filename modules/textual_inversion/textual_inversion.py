"""engine: embeddings, words that stand for learned vectors: reads their files, and finds them in tokens."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from PIL import Image

from modules import devices, errors, hashes, safe, shared
from modules.model_families.sd1 import CLIP_L
from modules.options import Options
from modules.textual_inversion.image_embedding import embedding_from_b64, extract_image_data_embed

logger = logging.getLogger(__name__)

IMAGE_EXTENSIONS = {".png", ".webp", ".jxl", ".avif"}
PICKLE_EXTENSIONS = {".bin", ".pt"}
IMAGE_TEXT_KEY = "sd-ti-embedding"

CLIP_TOKENIZER = CLIP_L.tokenizer
"""The tokenizer whose tokens `EmbeddingDatabase.ids_lookup` has."""

Vectors = torch.Tensor | dict[str, torch.Tensor]
"""(vectors, width), or for models with two encoders {"clip_l": (vectors, width), "clip_g": (vectors, width)}."""


@dataclass(frozen=True)
class EmbeddingSettings:
    """What the settings say of embeddings: whether infotexts have the hashes of those that are used, and whether the
    log lists those that are loaded.
    """

    add_hashes_to_infotext: bool
    print_at_load: bool

    @classmethod
    def from_opts(cls, opts: Options) -> EmbeddingSettings:
        """Reads the settings as they are for the running job."""
        return cls(
            add_hashes_to_infotext=opts.textual_inversion_add_hashes_to_infotext,
            print_at_load=opts.textual_inversion_print_at_load,
        )


class TextualInversionTemplate(NamedTuple):
    """A file of prompts to train with."""

    name: str
    path: str


textual_inversion_templates: dict[str, TextualInversionTemplate] = {}
"""File name -> template, of --textual-inversion-templates-dir."""


def list_textual_inversion_templates() -> dict[str, TextualInversionTemplate]:
    """Lists the directory of templates anew."""
    files = sorted(path for path in Path(shared.cmd_opts.textual_inversion_templates_dir).rglob("*") if path.is_file())
    textual_inversion_templates.clear()
    textual_inversion_templates.update({path.name: TextualInversionTemplate(path.name, str(path)) for path in files})
    return textual_inversion_templates


class Embedding:
    """Vectors that take the place of a word's tokens.

    vectors: how many there are. shape: their width, over both encoders if there are two. step, sd_checkpoint (short
    hash) and sd_checkpoint_name tell of the training, if the file does.
    """

    def __init__(self, vec: Vectors, name: str, step: int | None = None):
        self.vec = vec
        self.name = name
        self.step = step
        self.vectors = self._tensors()[0].shape[0]
        self.shape = sum(tensor.shape[-1] for tensor in self._tensors())
        self.cached_checksum: str | None = None
        self.sd_checkpoint: str | None = None
        self.sd_checkpoint_name: str | None = None
        self.filename: str | None = None
        self.hash: str | None = None
        self.shorthash: str | None = None

    def _tensors(self) -> list[torch.Tensor]:
        return list(self.vec.values()) if isinstance(self.vec, dict) else [self.vec]

    def checksum(self) -> str:
        """Returns four hexadecimal digits that depend on every value; part of comments and of old infotexts."""
        if self.cached_checksum is None:
            state = 0
            for tensor in self._tensors():
                for value in (tensor.reshape(-1) * 100).tolist():
                    state = (state * 281 ^ int(value) * 997) & 0xFFFFFFFF
            self.cached_checksum = f"{state & 0xFFFF:04x}"
        return self.cached_checksum

    def set_hash(self, v: str) -> None:
        """Notes the sha256 of the file."""
        self.hash = v
        self.shorthash = v[:12]


def create_embedding_from_data(
    data: Any, name: str, filename: str = "unknown embedding file", filepath: str | None = None
) -> Embedding:
    """Makes an embedding from the contents of a file.

    data: {"string_to_param": {"*": tensor}, ...} as the Train tab writes it, {"clip_l": tensor, "clip_g": tensor} for
    SDXL, or {word: tensor}. filename: for the message of the ModelLoadError that is raised for anything else.
    filepath: the file, if there is one; it gets hashed.
    """
    embedding = Embedding(vectors_from_data(data, filename), name)
    embedding.step = data.get("step")
    embedding.sd_checkpoint = data.get("sd_checkpoint")
    embedding.sd_checkpoint_name = data.get("sd_checkpoint_name")
    if filepath is not None:
        embedding.filename = filepath
        embedding.set_hash(hashes.sha256(filepath, f"textual_inversion/{name}") or "")
    return embedding


def vectors_from_data(data: Any, filename: str) -> Vectors:
    """Returns the tensors in the contents of an embedding file, as float32 on the device."""
    if not isinstance(data, dict):
        raise errors.ModelLoadError(f"{filename} holds no embedding but a {type(data).__name__}")
    if "string_to_param" in data:
        return only_tensor(data["string_to_param"], filename)
    if "clip_g" in data and "clip_l" in data:
        return {key: on_device(data[key]) for key in ("clip_l", "clip_g")}
    return only_tensor(data, filename)


def only_tensor(terms: Any, filename: str) -> torch.Tensor:
    """Returns the tensor of a mapping that has one, as (vectors, width). Raises ModelLoadError for any other."""
    tensors = list(getattr(terms, "_parameters", terms).values())  # ParameterDict of torch before 1.12
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise errors.ModelLoadError(f"{filename} is neither a textual inversion embedding nor a diffusers concept")
    if len(tensors) != 1:
        raise errors.ModelLoadError(f"{filename} holds {len(tensors)} terms; only embeddings of one term can be used")
    return on_device(torch.atleast_2d(tensors[0]))


def on_device(tensor: torch.Tensor) -> torch.Tensor:
    """Returns a tensor as float32 on the device, without its history."""
    return tensor.detach().to(devices.device, dtype=torch.float32)


def read_embedding_file(path: str) -> tuple[Any, str] | None:
    """Reads (contents, name) of an embedding file; None if it is none: of another type, or an image without one."""
    stem, extension = os.path.splitext(os.path.basename(path))
    extension = extension.lower()
    if extension in IMAGE_EXTENSIONS:
        data = None if stem.lower().endswith(".preview") else data_of_image(path)
        return None if data is None else (data, data.get("name", stem))
    if extension in PICKLE_EXTENSIONS:
        return safe.load(path, map_location="cpu"), stem
    if extension == ".safetensors":
        return safetensors.torch.load_file(path, device="cpu"), stem
    return None


def data_of_image(path: str) -> dict | None:
    """Returns the embedding that an image carries in its text or its pixels."""
    with Image.open(path) as image:
        text = getattr(image, "text", {}).get(IMAGE_TEXT_KEY)
        return extract_image_data_embed(image) if text is None else embedding_from_b64(text)


class DirWithTextualInversionEmbeddings:
    """A directory of embeddings, which counts as changed when its own modification time has."""

    def __init__(self, path: str):
        self.path = path
        self.mtime: float | None = None

    def has_changed(self) -> bool:
        """Says whether it was changed since `update`."""
        return os.path.isdir(self.path) and (self.mtime is None or os.path.getmtime(self.path) > self.mtime)

    def update(self) -> None:
        """Takes the directory as it is now for unchanged."""
        if os.path.isdir(self.path):
            self.mtime = os.path.getmtime(self.path)


Lookup = dict[int, list[tuple[list[int], Embedding]]]
"""First token id of a name -> [(token ids, embedding), ...], longest first."""


class EmbeddingDatabase:
    """The embeddings prompts may name.

    word_embeddings: name -> embedding; skipped_embeddings: those that do not fit the loaded model. lookups: names as
    each tokenizer of the loaded model cuts them; ids_lookup: as CLIP's does. expected_shape: width of the vectors the
    loaded model takes, over all its encoders, -1 before any was asked; expected_widths: by embedding key.
    """

    def __init__(self) -> None:
        self.ids_lookup: Lookup = {}
        self.lookups: dict[str, Lookup] = {CLIP_TOKENIZER: self.ids_lookup}
        self.word_embeddings: dict[str, Embedding] = {}
        self.skipped_embeddings: dict[str, Embedding] = {}
        self.expected_shape = -1
        self.expected_widths: dict[str, int] = {}
        self.embedding_dirs: dict[str, DirWithTextualInversionEmbeddings] = {}
        self.previously_displayed_embeddings: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    def add_embedding_dir(self, path: str) -> None:
        """Adds a directory to those that are loaded."""
        self.embedding_dirs[path] = DirWithTextualInversionEmbeddings(path)

    def clear_embedding_dirs(self) -> None:
        """Forgets all directories."""
        self.embedding_dirs.clear()

    def register_embedding(self, embedding: Embedding, model: Any) -> Embedding | None:
        """Makes an embedding known under its name. model: its tokenizers decide which tokens the name is."""
        return self.register_embedding_by_name(embedding, model, embedding.name)

    def register_embedding_by_name(self, embedding: Embedding | None, model: Any, name: str) -> Embedding | None:
        """Makes an embedding known under a name, in place of one that has it; None takes the name out."""
        self.word_embeddings.pop(name, None)
        if embedding is not None:
            self.word_embeddings[name] = embedding
        for tokenizer, encoder in encoders_by_tokenizer(model).items():
            lookup = self.lookups.setdefault(tokenizer, {})
            (ids,) = encoder.tokenize([name])
            known = [entry for entry in lookup.pop(ids[0], []) if entry[1].name != name]
            if embedding is not None:
                known.append((ids, embedding))
            if known:
                lookup[ids[0]] = sorted(known, key=lambda entry: len(entry[0]), reverse=True)
        return embedding

    def get_expected_shape(self) -> int:
        """Returns the width of the vectors that the loaded model takes, over all its encoders."""
        return sum(self.get_expected_widths().values())

    def get_expected_widths(self) -> dict[str, int]:
        """Returns, for each encoder of the loaded model that takes embeddings, its key and the width of its vectors."""
        return {
            encoder.embedding_key: encoder.encode_embedding_init_text(",", 1).shape[1]
            for encoder in shared.sd_model.cond_stage_model.encoders.values()
            if encoder.embedding_key is not None
        }

    def fits(self, embedding: Embedding) -> bool:
        """Says whether an embedding has vectors of the right width for each encoder of the model asked last."""
        if self.expected_shape == -1:
            return True
        if isinstance(embedding.vec, dict):
            return {key: tensor.shape[-1] for key, tensor in embedding.vec.items()} == self.expected_widths
        return [embedding.shape] == list(self.expected_widths.values())

    def load_from_file(self, path: str, filename: str) -> None:
        """Registers the embedding of a file, or puts it among the skipped ones. filename: name for messages."""
        contents = read_embedding_file(path)
        if contents is None:
            return
        data, name = contents
        embedding = create_embedding_from_data(data, name, filename=filename, filepath=path)
        if self.fits(embedding):
            self.register_embedding(embedding, shared.sd_model)
        else:
            self.skipped_embeddings[name] = embedding

    def load_from_dir(self, embdir: DirWithTextualInversionEmbeddings) -> None:
        """Loads every embedding under a directory; a file that cannot be read is reported and left out."""
        for path in embedding_files(embdir.path):
            try:
                self.load_from_file(str(path), path.name)
            except Exception as e:  # whatever is wrong with one file of a user's, the others are to be loaded
                is_explained = isinstance(e, errors.WebuiError)
                errors.report(f"Error loading embedding {path.name}: {e}", exc_info=not is_explained)

    def load_textual_inversion_embeddings(self, force_reload: bool = False) -> None:
        """Loads all directories anew if one or the width of the loaded model's vectors has changed, or if asked to."""
        if not (force_reload or self._has_changed()):
            return
        for container in (*self.lookups.values(), self.word_embeddings, self.skipped_embeddings):
            container.clear()
        self.expected_widths = self.get_expected_widths()
        self.expected_shape = sum(self.expected_widths.values())
        for directory in self.embedding_dirs.values():
            directory.update()
            self.load_from_dir(directory)
        self._sort_by_name()
        if EmbeddingSettings.from_opts(shared.opts).print_at_load:
            self._log_changes()

    def _has_changed(self) -> bool:
        if any(directory.has_changed() for directory in self.embedding_dirs.values()):
            return True
        return self.expected_shape != -1 and self.expected_widths != self.get_expected_widths()

    def _sort_by_name(self) -> None:
        ordered = sorted(self.word_embeddings.items(), key=lambda item: item[0].lower())
        self.word_embeddings.clear()
        self.word_embeddings.update(ordered)

    def _log_changes(self) -> None:
        displayed = (tuple(self.word_embeddings), tuple(self.skipped_embeddings))
        if displayed != self.previously_displayed_embeddings:
            self.previously_displayed_embeddings = displayed
            for label, names in zip(("loaded", "skipped, because they do not fit the model"), displayed, strict=True):
                if names:
                    logger.info("textual inversion embeddings %s (%d): %s", label, len(names), ", ".join(names))

    def find_embedding_at_position(
        self, tokens: list[int], offset: int, tokenizer: str = CLIP_TOKENIZER
    ) -> tuple[Embedding | None, int | None]:
        """Returns (embedding whose name the tokens from offset on are, tokens of the name); (None, None) for none."""
        for ids, embedding in self.lookups.get(tokenizer, {}).get(tokens[offset], ()):
            if tokens[offset : offset + len(ids)] == ids:
                return embedding, len(ids)
        return None, None


def encoders_by_tokenizer(model: Any) -> dict[str, Any]:
    """Returns, for each tokenizer of a model, one encoder that has it."""
    return {encoder.tokenizer_name: encoder for encoder in model.cond_stage_model.encoders.values()}


def embedding_files(directory: str) -> Iterator[Path]:
    """Yields the files under a directory in a fixed order, without empty ones, which broken downloads leave behind."""
    for folder, subfolders, names in os.walk(directory, followlinks=True):
        subfolders.sort()
        for path in (Path(folder, name) for name in sorted(names)):
            if path.is_file() and path.stat().st_size > 0:
                yield path
