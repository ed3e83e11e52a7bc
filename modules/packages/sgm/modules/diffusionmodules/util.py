"""engine: `sgm.modules.diffusionmodules.util` is that module of ldm itself."""

import sys

from ldm.modules.diffusionmodules import util

sys.modules[__name__] = util
