import logging
import sys
from types import SimpleNamespace

import pytest

from modules import errors, logging_config


@pytest.fixture(autouse=True)
def restored_loggers(monkeypatch):
    """Leaves the loggers as they were."""
    monkeypatch.delenv("SD_WEBUI_LOG_LEVEL", raising=False)
    monkeypatch.delenv("SD_WEBUI_RICH_LOG", raising=False)
    loggers = [logging.getLogger(name) for name in (None, *logging_config.OWN_LOGGERS)]
    before = [(logger, logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    yield
    for logger, level, handlers, propagate in before:
        logger.level, logger.handlers, logger.propagate = level, handlers, propagate
        logger.manager._clear_cache()


def set_up(loglevel):
    """setup_logging as in a program of its own: pytest's handlers on the root logger are taken away."""
    logging.getLogger().handlers = []
    logging_config.setup_logging(loglevel)


def test_without_a_level_only_our_modules_speak(capsys):
    set_up(None)
    logging.getLogger("modules.x").info("ours")
    logging.getLogger("somebody").info("theirs")
    assert capsys.readouterr().err == "ours\n"
    assert logging.getLogger().handlers == []


@pytest.mark.parametrize("where", ["argument", "environment"])
def test_level_configures_everything(capsys, monkeypatch, where):
    if where == "environment":
        monkeypatch.setenv("SD_WEBUI_LOG_LEVEL", "info")
    set_up("info" if where == "argument" else None)
    logging.getLogger("somebody").info("theirs")
    logging.getLogger("somebody").debug("too small")
    printed = capsys.readouterr().err
    assert "INFO [somebody] theirs" in printed and "too small" not in printed


def test_unknown_level_is_refused_with_the_known_ones():
    with pytest.raises(errors.InvalidInput, match="no log level LOUD.*DEBUG"):
        set_up("loud")


def test_rich_log_on_request(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("SD_WEBUI_RICH_LOG", "1")
    set_up("INFO")
    assert type(logging.getLogger().handlers[0]).__name__ == "RichHandler"


def test_lines_go_above_progress_bars_while_there_are_some(monkeypatch, capsys):
    written = []

    class Bars:
        _instances = []

        @staticmethod
        def write(text, file):
            written.append(text)

    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=Bars))
    set_up(None)
    logger = logging.getLogger("modules.x")
    logger.info("no bar")
    Bars._instances.append("a bar")
    logger.info("above the bar")
    assert written == ["above the bar"]
    assert capsys.readouterr().err == "no bar\n"
