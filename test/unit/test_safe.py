"""Reading pickled tensors without running code."""

import collections
import io
import os
from pathlib import Path

import numpy
import pytest
import torch

from modules import safe
from modules.errors import ModelLoadError
from modules.shared_cmd_options import cmd_opts


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("made_by_a_pickle",)


class Config:
    """A class of a training program."""


def save(tmp_path, content, **kwargs):
    path = str(tmp_path / "file.pt")
    torch.save(content, path, **kwargs)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_and_plain_values_are_read(tmp_path, zipped):
    content = {
        "tensor": torch.arange(3.0),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "ordered": collections.OrderedDict(a=1),
        "scalar": numpy.float64(2.5),
        "array": numpy.arange(3),
        "nested": [(1, "x", None, True)],
    }
    path = save(tmp_path, content, _use_new_zipfile_serialization=zipped)
    loaded = safe.load(path)
    assert torch.equal(loaded["tensor"], content["tensor"])
    assert loaded["scalar"] == 2.5
    assert loaded["nested"] == content["nested"]
    assert (loaded["array"] == content["array"]).all()
    safe.check_pt(path)


def test_a_file_object_will_do():
    buffer = io.BytesIO()
    torch.save({"x": torch.ones(1)}, buffer)
    buffer.seek(0)
    assert safe.load(buffer)["x"] == 1


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_not_run_and_named(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path, {"x": Harmful()}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelLoadError, match=r"mkdir.*--disable-safe-unpickle") as caught:
        safe.load(path)
    assert path in str(caught.value)
    with pytest.raises(ModelLoadError):
        safe.check_pt(path)
    assert not os.path.exists("made_by_a_pickle")


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04garbage", b"text", b"\x80\x02X\x01"])
def test_a_damaged_file_is_called_so(tmp_path, content):
    path = tmp_path / "file.pt"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match="damaged"):
        safe.load(path)


@pytest.mark.parametrize("length", [100, 4500])
def test_a_download_that_was_cut_off_is_damaged(tmp_path, length):
    path = Path(save(tmp_path, {"w": torch.zeros(4000)}))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelLoadError, match="damaged"):
        safe.load(path)


def test_a_missing_file_is_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError):
        safe.load(str(tmp_path / "missing.pt"))


def test_old_checkpoints_may_mention_their_trainer(tmp_path, monkeypatch):
    module = type(os)("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(__import__("sys").modules, name, type(os)(name))
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    path = save(tmp_path, {"callbacks": {module.ModelCheckpoint: {"epoch": 1}}, "w": torch.ones(1)})
    monkeypatch.undo()
    assert safe.load(path)["w"] == 1


class TestExtra:
    @staticmethod
    def trust_config(module, name):
        return Config if (module, name) == (Config.__module__, "Config") else None

    def test_what_the_caller_trusts_is_read(self, tmp_path):
        path = save(tmp_path, {"config": Config()})
        with pytest.raises(ModelLoadError, match="Config"):
            safe.load(path)
        assert isinstance(safe.load_with_extra(path, self.trust_config)["config"], Config)

    def test_inside_the_block_only(self, tmp_path):
        path = save(tmp_path, {"config": Config()})
        with safe.Extra(self.trust_config):
            assert isinstance(safe.load(path)["config"], Config)
        with pytest.raises(ModelLoadError):
            safe.load(path)

    def test_nothing_else_is_trusted(self, tmp_path):
        path = save(tmp_path, {"config": Config(), "x": Harmful()})
        with pytest.raises(ModelLoadError, match="mkdir"):
            safe.load_with_extra(path, self.trust_config)


def test_the_flag_and_the_unsafe_loader_read_anything(tmp_path, monkeypatch):
    path = save(tmp_path, {"config": Config()})
    assert isinstance(safe.unsafe_torch_load(path)["config"], Config)
    monkeypatch.setattr(cmd_opts, "disable_safe_unpickle", True)
    assert isinstance(safe.load(path, map_location="cpu")["config"], Config)
