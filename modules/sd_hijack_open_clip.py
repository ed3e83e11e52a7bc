"""engine: the classes by which extensions tell text encoders that come from OpenCLIP; they read prompts as all do."""

from __future__ import annotations

from modules.sd_hijack_clip import FrozenCLIPEmbedderWithCustomWords


class FrozenOpenCLIPEmbedderWithCustomWords(FrozenCLIPEmbedderWithCustomWords):
    """Reads prompts for Stable Diffusion 2."""


class FrozenOpenCLIPEmbedder2WithCustomWords(FrozenCLIPEmbedderWithCustomWords):
    """Reads prompts for the second encoder of XL, and for its refiner: it sums texts up as well."""
