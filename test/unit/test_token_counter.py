"""Tokens are counted for the chosen checkpoint without its networks, as long as the file can be read."""

from pathlib import Path

import pytest

from modules import checkpoints, sd_models, token_counter
from modules.checkpoints import CheckpointInfo
from modules.sd_hijack import model_hijack


@pytest.fixture
def chosen(loaded_program, monkeypatch):
    """Makes a file the chosen checkpoint."""
    return lambda path: monkeypatch.setattr(sd_models, "select_checkpoint", lambda: CheckpointInfo(str(path)))


def test_the_embedded_checkpoint(chosen):
    chosen(checkpoints.embedded_checkpoint)
    reader = token_counter.of_chosen_checkpoint()
    assert not list(reader.parameters())
    assert model_hijack.get_prompt_lengths("a (red:1.3) cat, " * 20, reader) == (80, 150)
    assert token_counter.of_chosen_checkpoint() is reader


def test_a_file_that_changes_or_is_gone(chosen, tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(Path(checkpoints.embedded_checkpoint).read_bytes())
    chosen(file)
    assert token_counter.of_chosen_checkpoint() is not None
    file.write_bytes(b"no checkpoint")
    assert token_counter.of_chosen_checkpoint() is None
    file.unlink()
    assert token_counter.of_chosen_checkpoint() is None
