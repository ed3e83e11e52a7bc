"""base: what the version that wrote an infotext changes in how it is read.

Each rule turns the setting on that gives images of that age their old look; it is a row of `RULES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from packaging import version

v160 = version.parse("1.6.0")
v170_tsnr = version.parse("v1.7.0-225")
v180 = version.parse("1.8.0")
v180_hr_styles = version.parse("1.8.0-139")

re_development_version = re.compile(r"([^-]+-[^-]+)-.*")


@dataclass(frozen=True)
class Rule:
    """Parameters written by a version before `before` get `key` = True where `applies` holds."""

    before: version.Version
    applies: Callable[[MutableMapping[str, Any]], bool]
    key: str


RULES = (
    Rule(v160, lambda params: "[" in params.get("Prompt", ""), "Old prompt editing timelines"),
    Rule(v160, lambda params: params.get("Sampler", "") in ("DDIM", "PLMS"), "Pad conds v0"),
    Rule(v170_tsnr, lambda params: True, "Downcast alphas_cumprod"),
    Rule(v180, lambda params: "Refiner" in params, "Refiner switch by sampling steps"),
)


def parse_version(text: str | None) -> version.Version | None:
    """Returns the version that text names, None if it names none; "v1.7.0-225-gabc" is 1.7.0 and 225 commits."""
    if text is None:
        return None
    development = re_development_version.match(text)
    try:
        return version.parse(development.group(1) if development else text)
    except version.InvalidVersion:
        return None


def backcompat(d: MutableMapping[str, Any]) -> None:
    """Adds the settings that parameters of an older version need; none if they do not say their version."""
    written_by = parse_version(d.get("Version"))
    if written_by is None:
        return
    for rule in RULES:
        if written_by < rule.before and rule.applies(d):
            d[rule.key] = True
