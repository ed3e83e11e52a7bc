"""engine: `sgm.modules.diffusionmodules.openaimodel` is that module of ldm itself."""

import sys

from ldm.modules.diffusionmodules import openaimodel

sys.modules[__name__] = openaimodel
