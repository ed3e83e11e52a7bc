"""base: images to train with: what their file names say."""

from __future__ import annotations

import re

re_numbers_at_start = re.compile(r"^[-\d]+\s*")
"""The number before the words of an image's file name, as in `00012-a red apple.png`; no part of its caption."""
