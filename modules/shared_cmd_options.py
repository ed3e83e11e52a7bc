"""base: the parsed command line, flags of extensions included.

Importing it parses; a bad command line ends the program.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from modules import script_loading
from modules.cmd_args import parser
from modules.paths_internal import (  # noqa: F401  # names extensions import from here
    data_path,
    default_sd_model_file,
    extensions_builtin_dir,
    extensions_dir,
    models_path,
    script_path,
    sd_configs_path,
    sd_default_config,
    sd_model_file,
)

logger = logging.getLogger(__name__)


def enabled_extensions(settings_file: str, *, only_builtin: bool = False, none: bool = False) -> list[str]:
    """Return the names of the extensions in <data-dir>/extensions that the settings leave enabled, sorted.

    only_builtin, none: what --disable-extra-extensions and --disable-all-extensions say.
    """
    settings = read_settings(settings_file)
    disabled = set(settings.get("disabled_extensions", []))
    switched_off = settings.get("disable_all_extensions", "none") != "none"
    if only_builtin or none or switched_off or not os.path.isdir(extensions_dir):
        return []
    return [name for name in sorted(os.listdir(extensions_dir)) if name not in disabled]


def read_settings(settings_file: str) -> dict[str, Any]:
    """Return the stored settings; a missing or damaged file counts as empty, and is reported when the settings load."""
    try:
        with open(settings_file, encoding="utf8") as file:
            settings = json.load(file)
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _parse() -> Any:
    known, _ = parser.parse_known_args()
    extensions = enabled_extensions(
        known.ui_settings_file, only_builtin=known.disable_extra_extensions, none=known.disable_all_extensions
    )
    script_loading.preload_extensions(extensions_dir, parser, extensions)
    script_loading.preload_extensions(extensions_builtin_dir, parser)

    if os.environ.get("IGNORE_CMD_ARGS_ERRORS") is None:
        options = parser.parse_args()
    else:
        options, _ = parser.parse_known_args()

    options.webui_is_non_local = any([options.share, options.listen, options.ngrok, options.server_name])
    options.disable_extension_access = options.webui_is_non_local and not options.enable_insecure_extension_access
    options.styles_file = options.styles_file or [os.path.join(data_path, "styles.csv")]
    return options


cmd_opts = _parse()
