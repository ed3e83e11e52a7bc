"""engine: the same names as in `modules.xlmr`, for AltDiffusion-m18."""

from modules.xlmr import BertSeriesModelWithTransformation, RobertaSeriesModelWithTransformation

__all__ = ["BertSeriesModelWithTransformation", "RobertaSeriesModelWithTransformation"]
