"""engine: `sgm.modules.diffusionmodules.model` is that module of ldm itself."""

import sys

from ldm.modules.diffusionmodules import model

sys.modules[__name__] = model
