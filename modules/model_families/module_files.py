"""pure: files of a VAE or of text encoders: what is in them, and which module of a family each is for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from modules.model_families.base import VAE, Family, Shapes, TextEncoder

MARKS: tuple[tuple[str, str, int], ...] = (
    (VAE, "decoder.conv_in.weight", 1),
    ("clip", "text_model.encoder.layers.0.mlp.fc1.weight", 1),
    ("clip", "transformer.resblocks.0.mlp.c_fc.weight", 1),
    ("t5", "encoder.block.0.layer.0.SelfAttention.q.weight", 1),
)
"""Kind of module, the end of a key that only it has, and which side of that weight tells its width."""

OTHER_HALVES = ("visual.", "vision_model.", "decoder.block.")
"""What a key begins with that belongs to a half of a network which nothing here needs."""

FULL_WIDTHS = (768, 1024, 1280, 4096)
"""Widths of encoders in full size, each of one encoder (`TextEncoder.file_width`): never taken for another."""


@dataclass(frozen=True)
class ModuleWeights:
    """A module that is in a file.

    kind: "vae", or that of a text encoder. prefix: first part of its keys there, empty in a file of it alone. width: of
    its vectors; of a VAE, the channels of its latents.
    """

    kind: str
    prefix: str
    width: int


@dataclass(frozen=True)
class Source:
    """Where a module is: the place of its file in a list, and the first part of its keys there."""

    file: int
    prefix: str


def contents(shapes: Shapes) -> list[ModuleWeights]:
    """Returns the modules that are in a file of these shapes, also those of whole checkpoints."""
    ends = tuple(mark for _, mark, _ in MARKS)
    found = []
    for key in shapes:
        if not key.endswith(ends):
            continue
        kind, mark, axis = next(row for row in MARKS if key.endswith(row[1]))
        prefix = key.removesuffix(mark)
        if prefix and not prefix.endswith(".") or any(half in prefix for half in OTHER_HALVES):
            continue
        if len(shapes[key]) > axis:
            found.append(ModuleWeights(kind, prefix, shapes[key][axis]))
    return found


def chosen(family: Family, files: Sequence[Sequence[ModuleWeights]], own: Collection[str] = ()) -> dict[str, Source]:
    """Returns for which module of a family which file is, by the names of the modules.

    files: what is in each. own: modules that the checkpoint has itself; files are for them too, but for others first.
    Files of one kind are told apart by their widths. Where that is none of a full-sized encoder, the narrower is for
    the encoder that stands earlier in the family's row. A VAE is for latents of its channels; of two the last
    counts.
    """
    candidates = [(module, Source(i, module.prefix)) for i, modules in enumerate(files) for module in modules]
    channels = family.latent_format.channels
    vaes = [source for module, source in candidates if module.kind == VAE and module.width == channels]
    found = {VAE: vaes[-1]} if vaes else {}
    for kind in dict.fromkeys(encoder.kind for encoder in family.text_encoders):
        rows = [encoder for encoder in family.text_encoders if encoder.kind == kind]
        of_kind = sorted((pair for pair in candidates if pair[0].kind == kind), key=lambda pair: pair[0].width)
        found |= _encoders(rows, of_kind, own)
    return found


def _encoders(
    rows: Sequence[TextEncoder], files: Sequence[tuple[ModuleWeights, Source]], own: Collection[str]
) -> dict[str, Source]:
    """Returns for which of the text encoders of one kind which file is. files: of this kind, the narrowest first."""
    found = {row.name: source for row in rows for module, source in files if module.width == row.file_width}
    rest = [source for module, source in files if module.width not in FULL_WIDTHS]
    open_rows = [row.name for row in rows if row.name not in found]
    if len(rest) < len(open_rows):
        open_rows.sort(key=lambda name: name in own)
        open_rows = open_rows[: len(rest)]
        open_rows.sort(key=[row.name for row in rows].index)
    return found | dict(zip(open_rows, rest, strict=False))
