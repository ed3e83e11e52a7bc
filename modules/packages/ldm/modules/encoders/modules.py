"""engine: `ldm.modules.encoders.modules`: what `cond_stage_model.wrapped` is."""

from __future__ import annotations

from modules.text_encoders.clip import ClipNetwork as FrozenCLIPEmbedder
from modules.text_encoders.clip import OpenClipNetwork as FrozenOpenCLIPEmbedder

__all__ = ["FrozenCLIPEmbedder", "FrozenOpenCLIPEmbedder"]
