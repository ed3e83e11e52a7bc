"""pure: `k_diffusion.sampling` is the module `modules.sampling` itself, so what an extension puts there counts."""

import sys

from modules import sampling

sys.modules[__name__] = sampling
