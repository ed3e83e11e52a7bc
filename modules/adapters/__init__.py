"""pure: the table of network kinds of the LoRA family: what a file holds for a layer -> how it changes the layer.

A new kind is a file with its class, and its place here. Tensors are of the first kind they fit.
"""

from __future__ import annotations

from modules.adapters.base import COMMON_NAMES, Adapter, AdapterError, Delta, Operation, Tensors
from modules.adapters.full import Full
from modules.adapters.glora import Glora
from modules.adapters.ia3 import Ia3
from modules.adapters.loha import Loha
from modules.adapters.lokr import Lokr
from modules.adapters.lora import Lora
from modules.adapters.norm import Norm
from modules.adapters.oft import Oft
from modules.adapters.rows import Rows

__all__ = ["COMMON_NAMES", "KINDS", "NAMES", "Adapter", "AdapterError", "Delta", "Operation", "Rows", "Tensors", "read"]

KINDS: tuple[type[Adapter], ...] = (Lora, Loha, Ia3, Lokr, Full, Norm, Glora, Oft)

NAMES = frozenset(COMMON_NAMES).union(*(kind.names for kind in KINDS))
"""All short names that some kind reads."""

NUMBERS = frozenset({"on_input"})
"""Those that are a number for the whole layer."""

MAY_BE_EMPTY = frozenset({"bias_indices", "bias_values"})
"""Those that list elements, of which there may be none."""


def read(tensors: Tensors) -> Adapter:
    """Returns what a file holds for a layer, as a network of the first kind that it fits.

    Raises AdapterError if it is of no kind, or holds nothing, or a number, where it needs a tensor.
    """
    kind = next((kind for kind in KINDS if kind.is_kind(tensors)), None)
    if kind is None:
        raise AdapterError(f"{', '.join(sorted(tensors))} are the tensors of no known kind of network")
    numbers = [name for name in kind.names - NUMBERS if name in tensors and tensors[name].ndim == 0]
    if numbers:
        raise AdapterError(f"{', '.join(sorted(numbers))} of the {kind.kind} holds a single number")
    empty = [name for name in tensors if name not in MAY_BE_EMPTY and tensors[name].numel() == 0]
    if empty:
        raise AdapterError(f"{', '.join(sorted(empty))} of the {kind.kind} holds nothing")
    return kind(dict(tensors))
