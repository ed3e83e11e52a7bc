"""base: the parsed command line, flags of extensions included.

Importing it parses; a bad command line ends the program.
"""

from __future__ import annotations

import argparse
import logging
import os

from modules import script_loading, settings_file
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


def _complete(options: argparse.Namespace) -> argparse.Namespace:
    """Adds what follows from the flags."""
    options.webui_is_non_local = any([options.share, options.listen, options.ngrok, options.server_name])
    options.disable_extension_access = options.webui_is_non_local and not options.enable_insecure_extension_access
    options.styles_file = options.styles_file or [os.path.join(data_path, "styles.csv")]
    return options


def _preload() -> None:
    """Has extensions add their flags."""
    if not (cmd_opts.disable_extra_extensions or cmd_opts.disable_all_extensions):
        enabled = settings_file.enabled_extensions(cmd_opts.ui_settings_file, extensions_dir)
        script_loading.preload_extensions(extensions_dir, parser, enabled)
    script_loading.preload_extensions(extensions_builtin_dir, parser)


def _parse() -> argparse.Namespace:
    if os.environ.get("IGNORE_CMD_ARGS_ERRORS") is None:
        options = parser.parse_args()
    else:
        options, _ = parser.parse_known_args()
    for flag, reason in parser.obsolete_given.items():
        logger.warning("%s has no effect%s; it can be left out", flag, f": {reason}" if reason else " in this version")
    return _complete(options)


# There before the flags of extensions are, for a preload.py that imports modules.shared.
cmd_opts = _complete(parser.parse_known_args()[0])
_preload()
vars(cmd_opts).update(vars(_parse()))
