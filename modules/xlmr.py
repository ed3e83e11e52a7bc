"""engine: the text encoders of AltDiffusion, which this program does not load, for those who ask for their classes."""

from __future__ import annotations

from typing import Any

from modules.errors import NotSupported


class BertSeriesModelWithTransformation:
    """What no text encoder here is an instance of."""

    def __init__(self, config: Any = None, **kargs: Any):
        raise NotSupported(
            "AltDiffusion's text encoder (XLM-RoBERTa) is not part of this program: "
            "transformers.XLMRobertaModel is the network it is made of"
        )


class RobertaSeriesModelWithTransformation(BertSeriesModelWithTransformation):
    """Likewise."""
