"""face: the old name of infotext_utils, which most extensions import: both names are one module."""

import sys

from modules import infotext_utils

sys.modules[__name__] = infotext_utils
