"""engine: the table of networks that look at an image for a denoiser; a family's row names one of them.

A new kind is a file with its network, how its weights are called, and a row here.
"""

from __future__ import annotations

from modules.image_readers import clip_vision
from modules.image_readers.base import Kind
from modules.image_readers.depth import depth_map

__all__ = ["KINDS", "Kind", "depth_map"]

KINDS: dict[str, Kind] = {"clip_vision": clip_vision.KIND, "noise_augmentor": clip_vision.NOISE_AUGMENTOR}
"""Name of a kind -> how its networks are made."""
