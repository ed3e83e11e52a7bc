"""state: what extensions can ask about the names they may rely on: their version, the hooks there are, and which names
have a better one.
"""

from __future__ import annotations

import functools
import logging

from modules.hooks import CALLBACK_HOOKS, SCRIPT_HOOKS

logger = logging.getLogger(__name__)

EXTENSION_API_VERSION = (1, 0)
"""The second number grows when something is added, the first when something is taken away or works otherwise."""

SUPPORTED_CALLBACKS: tuple[str, ...] = tuple(spec.registrar for spec in CALLBACK_HOOKS.values())
"""The functions of modules.script_callbacks that register a callback."""

SUPPORTED_SCRIPT_METHODS: tuple[str, ...] = tuple(SCRIPT_HOOKS)
"""The methods of a script that are called during a job and while its tab is built."""

DEPRECATED: dict[str, str] = {
    "modules.sd_samplers_compvis": "modules.sd_samplers_timesteps",
}
"""Name that still works -> the name to use instead."""


@functools.cache
def warn_deprecated(name: str) -> None:
    """Says once, in the log, what is to be used instead of a name. Raises KeyError for one that is not deprecated."""
    logger.warning("%s is deprecated: use %s", name, DEPRECATED[name])
