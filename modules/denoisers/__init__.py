"""engine: the table of denoisers: how each kind of network is built from the shapes of its weights, and called.

A new kind is a class of facts in `modules.model_families.base`, a file here, and its row in KINDS.
"""

from __future__ import annotations

from modules.denoisers import mmdit, unet
from modules.denoisers.base import Convert, Kind, Told
from modules.model_families import Family, Mmdit, Unet
from modules.model_families.base import Denoiser

__all__ = ["KINDS", "Convert", "Kind", "Told", "kind_of"]

KINDS: dict[type[Denoiser], Kind] = {Unet: unet.KIND, Mmdit: mmdit.KIND}
"""Class of the facts in a family's row -> how such a network is made and called."""


def kind_of(family: Family) -> Kind:
    """Returns what is known of the denoiser of a family."""
    return KINDS[type(family.denoiser)]
