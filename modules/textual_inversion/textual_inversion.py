"""engine: embeddings, words that stand for learned vectors: reads their files, and finds them in tokens."""

from __future__ import annotations

import bisect
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import torch

from modules import errors, hashes, shared, util, whole_files
from modules.model_families.sd1 import CLIP_L
from modules.options import Options
from modules.textual_inversion.embedding_files import Vectors, read_embedding_file, vectors_from_data
from modules.textual_inversion.image_embedding import (  # noqa: F401  # names extensions import from here
    embedding_from_b64,
    embedding_to_b64,
    extract_image_data_embed,
    insert_image_data_embed,
)

logger = logging.getLogger(__name__)

CLIP_TOKENIZER = CLIP_L.tokenizer
"""The tokenizer whose tokens `EmbeddingDatabase.ids_lookup` has."""

UNWRITABLE = "no prompt can name the embedding {!r}: give its file another name"

FAMILY_OF_WIDTH = {768: "SD1", 1024: "SD2", 768 + 1280: "SDXL"}
"""Width of an embedding's vectors, over both encoders -> the models it is for."""


@dataclass(frozen=True)
class EmbeddingSettings:
    """What the settings say of embeddings: whether infotexts have the hashes of those that are used, whether also the
    networks of those that are bundled with one, and whether the log lists those that are loaded.
    """

    add_hashes_to_infotext: bool
    add_networks_to_infotext: bool
    print_at_load: bool

    @classmethod
    def from_opts(cls, opts: Options) -> EmbeddingSettings:
        """Reads the settings as they are for the running job."""
        return cls(
            add_hashes_to_infotext=opts.textual_inversion_add_hashes_to_infotext,
            add_networks_to_infotext=opts.lora_bundled_ti_to_infotext,
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
    hash) and sd_checkpoint_name tell of the training, if the file does. network: the one whose file it is bundled with.
    """

    def __init__(self, vec: Vectors | None, name: str, step: int | None = None):
        self.vec = vec
        self.name = name
        self.step = step
        self.vectors = max((tensor.shape[0] for tensor in self._tensors()), default=0)
        self.shape = sum(tensor.shape[-1] for tensor in self._tensors())
        self.cached_checksum: str | None = None
        self.sd_checkpoint: str | None = None
        self.sd_checkpoint_name: str | None = None
        self.filename: str | None = None
        self.hash: str | None = None
        self.shorthash: str | None = None
        self.network: str | None = None
        self.optimizer_state_dict: dict[str, Any] | None = None

    @property
    def family(self) -> str:
        """The models it is for, by the width of its vectors."""
        return FAMILY_OF_WIDTH.get(self.shape, f"models of width {self.shape}")

    def _tensors(self) -> list[torch.Tensor]:
        tensors = list(self.vec.values()) if isinstance(self.vec, dict) else [self.vec]
        return [tensor for tensor in tensors if tensor is not None]  # an extension may list words it has no vectors of

    def save(self, filename: str) -> None:
        """Writes a file as the Train tab does; for models with two encoders with a matrix for each."""
        one_matrix = {"string_to_token": {"*": 265}, "string_to_param": {"*": self.vec}}
        content = {
            **(self.vec if isinstance(self.vec, dict) else one_matrix),
            "name": self.name,
            "step": self.step,
            "sd_checkpoint": self.sd_checkpoint,
            "sd_checkpoint_name": self.sd_checkpoint_name,
        }
        with whole_files.replacing(filename, whole_files.unfinished_name(filename)) as file:
            torch.save(content, file)

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
    if name != util.sendable(name):
        raise errors.ModelLoadError(UNWRITABLE.format(name))
    embedding = Embedding(vectors_from_data(data, filename), name)
    step, checkpoint, checkpoint_name = (data.get(key) for key in ("step", "sd_checkpoint", "sd_checkpoint_name"))
    embedding.step = int(step) if isinstance(step, Integral) else None
    embedding.sd_checkpoint = checkpoint if isinstance(checkpoint, str) else None
    embedding.sd_checkpoint_name = checkpoint_name if isinstance(checkpoint_name, str) else None
    if filepath is not None:
        embedding.filename = filepath
        embedding.set_hash(hashes.sha256(filepath, f"textual_inversion/{name}") or "")
    return embedding


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


class KnownFile(NamedTuple):
    """A file as it was read, and the embedding in it, if there was one."""

    stamp: util.FileStamp
    embedding: Embedding | None


class EmbeddingDatabase:
    """The embeddings prompts may name.

    word_embeddings: name -> embedding; skipped_embeddings: those that do not fit the loaded model. bundled: those that
    active networks bring along. lookups: names as each tokenizer of the loaded model cuts them; ids_lookup: as CLIP's
    does. expected_shape: width of the vectors the loaded model takes, over all its encoders, -1 before any was asked;
    expected_widths: by embedding key. revision: another number when a file was read, or is gone.
    """

    def __init__(self) -> None:
        self.ids_lookup: Lookup = {}
        self.lookups: dict[str, Lookup] = {CLIP_TOKENIZER: self.ids_lookup}
        self.word_embeddings: dict[str, Embedding] = {}
        self.skipped_embeddings: dict[str, Embedding] = {}
        self.bundled: tuple[Embedding, ...] = ()
        self.expected_shape = -1
        self.expected_widths: dict[str, int] = {}
        self.embedding_dirs: dict[str, DirWithTextualInversionEmbeddings] = {}
        self.previously_displayed_embeddings: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self.revision = 0
        self._lock = threading.RLock()
        self._model: Any = None  # that files are read for, where it is not the loaded one
        self._begun = self._done = 0  # loads
        self._files: dict[str, KnownFile] = {}
        self._earlier_files: dict[str, KnownFile] = {}

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
        """Makes an embedding known under a name, in place of one that has it; None takes the name out.

        Raises ModelLoadError for a name that is no text to one of the model's tokenizers.
        """
        if embedding is None:
            self.word_embeddings.pop(name, None)
            for lookup in self.lookups.values():
                forget_name(lookup, name)
            return None
        for tokenizer, ids in tokens_of_name(name, model).items():
            lookup = self.lookups.setdefault(tokenizer, {})
            others = [entry for entry in lookup.get(ids[0], []) if entry[1].name != name]
            bisect.insort(others, (ids, embedding), key=lambda entry: -len(entry[0]))
            lookup[ids[0]] = others
        self.word_embeddings[name] = embedding
        return embedding

    def set_bundled(self, embeddings: Iterable[Embedding], model: Any) -> None:
        """Makes these the embeddings that active networks bring along. model: the one that is to know them.

        A word that has an embedding of its own keeps it.
        """
        with self._lock:
            for embedding in self.bundled:
                if self.word_embeddings.get(embedding.name) is embedding:
                    self.register_embedding_by_name(None, model, embedding.name)
                elif self.skipped_embeddings.get(embedding.name) is embedding:
                    del self.skipped_embeddings[embedding.name]
            self.bundled = tuple(embeddings)
            self._add_bundled(model)

    def _add_bundled(self, model: Any) -> None:
        widths = widths_of(model)
        for embedding in self.bundled:
            if embedding.name in self.word_embeddings:
                logger.warning(
                    'the embedding "%s" in %s is not used: there is another of that name',
                    embedding.name,
                    embedding.network,
                )
            elif fits(embedding, widths):
                try:
                    self.register_embedding(embedding, model)
                except errors.ModelLoadError as e:
                    errors.report(f"Error loading embedding of {embedding.network}: {e}")
            else:
                self.skipped_embeddings.setdefault(embedding.name, embedding)

    def get_expected_shape(self) -> int:
        """Returns the width of the vectors that the loaded model takes, over all its encoders."""
        return sum(self.get_expected_widths().values())

    def get_expected_widths(self) -> dict[str, int]:
        """Returns, for each encoder of the loaded model that takes embeddings, its key and the width of its vectors."""
        return widths_of(shared.sd_model)

    def load_from_file(self, path: str, filename: str) -> None:
        """Registers the embedding of a file, or puts it among the skipped ones. filename: name for messages."""
        embedding = self._read(path, filename)
        if embedding is None:
            return
        if self.expected_shape == -1 or fits(embedding, self.expected_widths):
            self.register_embedding(embedding, self._model or shared.sd_model)
        else:
            self.skipped_embeddings[embedding.name] = embedding

    def _read(self, path: str, filename: str) -> Embedding | None:
        """Returns the embedding of a file, None if it has none; reads only what has changed since the last time."""
        stamp = util.FileStamp.of(path)
        if stamp.size == 0:  # broken downloads leave such files behind
            return None
        known = self._earlier_files.get(path)
        if known is None or known.stamp != stamp:
            contents = read_embedding_file(path)
            embedding = contents and create_embedding_from_data(*contents, filename=filename, filepath=path)
            known = KnownFile(stamp, embedding)
        self._files[path] = known
        return known.embedding

    def load_from_dir(self, embdir: DirWithTextualInversionEmbeddings) -> None:
        """Loads every embedding under a directory; a file that cannot be read is reported and left out."""
        for path in embedding_files(embdir.path):
            try:
                self.load_from_file(str(path), path.name)
            except FileNotFoundError:
                logger.debug("embedding %s is not there any more", path)
            except Exception as e:  # whatever is wrong with one file of a user's, the others are to be loaded
                is_explained = isinstance(e, errors.WebuiError)
                errors.report(f"Error loading embedding {path.name}: {e}", exc_info=not is_explained)

    def load_textual_inversion_embeddings(self, force_reload: bool = False) -> None:
        """Loads all directories anew if one or the width of the loaded model's vectors has changed, or if asked to.

        Texts that are encoded meanwhile find what was there before.
        """
        if not (force_reload or self._has_changed()):
            return
        model = shared.sd_model  # now: whoever waits for a model must not hold the lock
        with self._lock:
            self._begun += 1
            begun = self._begun
        loading = EmbeddingDatabase()
        loading._model, loading._earlier_files = model, self._files
        loading.expected_widths = widths_of(model)
        loading.expected_shape = sum(loading.expected_widths.values())
        for directory in self.embedding_dirs.values():
            directory.update()
            loading.load_from_dir(directory)
        with self._lock:
            if begun < self._done:  # one that began later, maybe for another model, was faster
                return
            self._done = begun
            loading.bundled = self.bundled
            loading._add_bundled(model)
            loading._sort_by_name()
            self._take_over(loading)
        if EmbeddingSettings.from_opts(shared.opts).print_at_load:
            self._log_changes()

    def _take_over(self, loaded: EmbeddingDatabase) -> None:
        self.ids_lookup, self.lookups = loaded.ids_lookup, loaded.lookups
        for known, new in (
            (self.word_embeddings, loaded.word_embeddings),  # extensions hold on to these dictionaries
            (self.skipped_embeddings, loaded.skipped_embeddings),
        ):
            known.clear()
            known.update(new)
        self.expected_shape, self.expected_widths = loaded.expected_shape, loaded.expected_widths
        if self._files != loaded._files:
            self._files = loaded._files
            self.revision += 1

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
        if displayed == self.previously_displayed_embeddings:
            return
        self.previously_displayed_embeddings = displayed
        skipped = [f"{name} ({embedding.family})" for name, embedding in self.skipped_embeddings.items()]
        for label, names in (
            ("loaded", self.word_embeddings),
            ("skipped, because they are for other models", skipped),
        ):
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


def widths_of(model: Any) -> dict[str, int]:
    """Returns, for each encoder of a model that takes embeddings, its key and the width of its vectors."""
    return {
        encoder.embedding_key: encoder.encode_embedding_init_text(",", 1).shape[1]
        for encoder in model.cond_stage_model.encoders.values()
        if encoder.embedding_key is not None
    }


def fits(embedding: Embedding, widths: dict[str, int]) -> bool:
    """Says whether an embedding has vectors for each encoder of a model; widths: by embedding key."""
    if isinstance(embedding.vec, dict):
        return {key: tensor.shape[-1] for key, tensor in embedding.vec.items()} == widths
    return [embedding.shape] == list(widths.values())


def tokens_of_name(name: str, model: Any) -> dict[str, list[int]]:
    """Returns, for each tokenizer of a model, the tokens of an embedding's name. Raises ModelLoadError for none."""
    encoders = {
        encoder.tokenizer_name: encoder
        for encoder in model.cond_stage_model.encoders.values()
        if encoder.embedding_key is not None
    }
    tokens = {tokenizer: encoder.tokenize([name])[0] for tokenizer, encoder in encoders.items()}
    if not all(tokens.values()):
        raise errors.ModelLoadError(UNWRITABLE.format(name))
    return tokens


def forget_name(lookup: Lookup, name: str) -> None:
    """Takes the entries of a name out of a lookup."""
    for first, entries in list(lookup.items()):
        others = [entry for entry in entries if entry[1].name != name]
        if others:
            lookup[first] = others
        else:
            del lookup[first]


def embedding_files(directory: str) -> Iterator[Path]:
    """Yields the files under a directory in a fixed order."""
    for folder, subfolders, names in os.walk(directory, followlinks=True):
        subfolders.sort()
        yield from (Path(folder, name) for name in sorted(names))
