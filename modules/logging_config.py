"""base: sets up the program's log. Stdlib only; progress bars are looked after once tqdm is there."""

from __future__ import annotations

import logging
import os
import sys

from modules import errors

FORMAT = "%(asctime)s %(levelname)s [%(name)s] %(message)s"
OWN_LOGGERS = ("modules", "scripts")


class TqdmLoggingHandler(logging.Handler):
    """Writes above the progress bars that are on the screen; without bars it leaves the record to fallback_handler."""

    def __init__(self, fallback_handler: logging.Handler):
        super().__init__()
        self.fallback_handler = fallback_handler

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record above the progress bars, if there are any."""
        bars = getattr(sys.modules.get("tqdm"), "tqdm", None)
        if getattr(bars, "_instances", None):
            bars.write(self.fallback_handler.format(record), file=sys.stderr)
        else:
            self.fallback_handler.emit(record)


def setup_logging(loglevel: str | None) -> None:
    """Configures the log. loglevel: name of a level for everything; SD_WEBUI_LOG_LEVEL stands in for it.

    Without either the root logger is left alone, for extensions to configure; our own modules then show what is
    worth knowing as bare lines. Raises InvalidInput for a level that does not exist.
    """
    loglevel = (loglevel or os.environ.get("SD_WEBUI_LOG_LEVEL") or "").upper()
    if loglevel:
        levels = logging.getLevelNamesMapping()
        if loglevel not in levels:
            raise errors.InvalidInput(f"there is no log level {loglevel}; use one of {', '.join(levels)}", "loglevel")
        logging.basicConfig(level=loglevel, handlers=[_handler(FORMAT)])
        return

    handler = _handler("%(message)s")
    for name in OWN_LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        logger.propagate = False


def _handler(line_format: str) -> logging.Handler:
    if os.environ.get("SD_WEBUI_RICH_LOG"):
        from rich.logging import RichHandler

        return RichHandler()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(line_format, datefmt="%Y-%m-%d %H:%M:%S"))
    return TqdmLoggingHandler(handler)
