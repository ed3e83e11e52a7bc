"""engine: what would read prompts for AltDiffusion, which this program does not load."""

from __future__ import annotations

from typing import Any

from modules import xlmr
from modules.sd_hijack_clip import FrozenCLIPEmbedderWithCustomWords


class FrozenXLMREmbedderWithCustomWords(FrozenCLIPEmbedderWithCustomWords):
    """What no text encoder here is an instance of."""

    def __init__(self, wrapped: Any, hijack: Any):
        xlmr.BertSeriesModelWithTransformation()
