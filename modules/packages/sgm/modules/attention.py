"""engine: `sgm.modules.attention` is that module of ldm itself."""

import sys

from ldm.modules import attention

sys.modules[__name__] = attention
