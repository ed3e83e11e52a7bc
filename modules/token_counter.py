"""engine: what counts the tokens of prompts while the networks of the chosen checkpoint are in other processes."""

from __future__ import annotations

import functools
import logging

from modules import model_load, sd_models, sd_modules
from modules.errors import ModelLoadError
from modules.sd_hijack_clip import TextConditionalModel
from modules.util import FileStamp

logger = logging.getLogger(__name__)


def of_chosen_checkpoint() -> TextConditionalModel | None:
    """Returns what cuts prompts as the encoders of the chosen checkpoint do, but encodes none; None where the file
    cannot be read. The names of embeddings count as any words.
    """
    filename = sd_models.select_checkpoint().filename
    files = sd_modules.files_of(filename)
    try:
        return _of_file(filename, FileStamp.of(filename), files.chosen, files.beside)
    except (ModelLoadError, OSError) as e:
        logger.info("tokens are not counted: %s", e)
        return None


@functools.lru_cache(maxsize=4)
def _of_file(filename: str, stamp: FileStamp, modules: tuple[str, ...], spare: tuple[str, ...]) -> TextConditionalModel:
    """Returns what cuts prompts for a file as it was at its stamp."""
    del stamp
    return model_load.token_reader(model_load.family_of(filename, modules, spare))
