"""engine: `sgm.modules`: the parts of networks."""

from modules.sd_models_xl import GeneralConditioner

__all__ = ["GeneralConditioner"]
