"""engine: the table of text encoder kinds; the row of an encoder in `modules.model_families` names one of them.

A new kind is a file with its network, how its weights are called, and a row here.
"""

from __future__ import annotations

from modules.text_encoders import clip, t5
from modules.text_encoders.base import Encoded, Kind, TextNetwork

__all__ = ["KINDS", "Encoded", "Kind", "TextNetwork"]

KINDS: dict[str, Kind] = {"clip": clip.KIND, "t5": t5.KIND}
"""Name of a kind -> how its encoders are made."""
