"""Files of networks: which there are, under which names, and what their headers say."""

import importlib.util
import json
import os
import struct
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modules import cache, shared, weights

PATH = Path(__file__).resolve().parents[2] / "extensions-builtin" / "Lora" / "network_files.py"


def load():
    """Imports the file as the program does, once."""
    if "network_files" not in sys.modules:
        spec = importlib.util.spec_from_file_location("network_files", PATH)
        sys.modules["network_files"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["network_files"])
    return sys.modules["network_files"]


network_files = load()


def write(path, **metadata):
    """Writes a file with this metadata and no weights."""
    header = json.dumps({"__metadata__": metadata} if metadata else {}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b" " * 8)
    return str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch, program):
    """The folder of networks, empty, with a cache of its own."""
    monkeypatch.setattr(shared.cmd_opts, "lora_dir", str(tmp_path / "Lora"))
    monkeypatch.setattr(shared.cmd_opts, "lyco_dir_backcompat", str(tmp_path / "LyCORIS"))
    store = cache.Store(str(tmp_path / "cache.sqlite3"))
    monkeypatch.setattr(cache, "default_store", lambda: store)
    yield tmp_path / "Lora"
    store.close()


def found():
    return {name: os.path.basename(filename) for name, filename, _ in network_files.find()}


class TestFind:
    def test_no_folder(self, folder):
        assert network_files.find() == []

    def test_endings_and_order(self, folder):
        for name in ("b10.safetensors", "b9.PT", "sub/a.ckpt", "notes.txt", "../LyCORIS/last.pt"):
            write(folder / name)
        assert list(found()) == ["b9", "b10", "a", "last"]

    def test_a_name_is_the_last_files_and_the_others_have_longer_ones(self, folder):
        for name in ("a.pt", "a.safetensors", "sub/a.pt", "../LyCORIS/a.pt"):
            write(folder / name)
        networks = {name: Path(path).relative_to(folder.parent).as_posix() for name, path, _ in network_files.find()}
        assert networks == {
            "a.pt": "Lora/a.pt",
            "a.safetensors": "Lora/a.safetensors",
            "sub/a": "Lora/sub/a.pt",
            "a": "LyCORIS/a.pt",
        }

    @pytest.mark.skipif(sys.platform == "win32", reason="names that Windows has not")
    def test_odd_names(self, folder, caplog):
        names = ["a:b", "a, b", "<x>", "quo\"te's", "日本語", "emoji 🎨", "a&amp;b", " ", "new\nline"]
        for name in names:
            write(folder / f"{name}.safetensors")
        with open(os.fsencode(folder) + b"/\xff.safetensors", "wb"):
            pass
        assert sorted(found()) == sorted(names)
        assert "no text in UTF-8" in caplog.text

    @pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
    def test_links_and_what_is_no_file(self, folder, caplog):
        write(folder.parent / "elsewhere" / "there.safetensors")
        folder.mkdir()
        (folder / "linked").symlink_to(folder.parent / "elsewhere")
        (folder / "alone.safetensors").symlink_to(folder.parent / "elsewhere" / "there.safetensors")
        (folder / "broken.safetensors").symlink_to(folder / "nothing")
        (folder / "circle").symlink_to(folder)
        (folder / "folder.safetensors").mkdir()
        assert list(found()) == ["alone", "there"]
        assert "broken.safetensors is left out" in caplog.text

    def test_damaged_files_are_listed_and_named(self, folder, caplog):
        write(folder / "good.safetensors", ss_output_name="alias")
        for name, content in (("empty", b""), ("page", b"<html>"), ("cut", struct.pack("<Q", 99) + b'{"__m')):
            (folder / f"{name}.safetensors").write_bytes(content)
        networks = {name: facts for name, _, facts in network_files.find()}
        assert networks["cut"] == networks["empty"] == networks["page"] == network_files.HeaderFacts()
        assert networks["good"].alias == "alias"
        assert all(f"{name}.safetensors is not a safetensors file" in caplog.text for name in ("empty", "page", "cut"))

    def test_a_file_that_vanishes_meanwhile(self, folder, monkeypatch):
        gone = write(folder / "gone.safetensors")
        write(folder / "here.safetensors")

        def remove_first(filename):
            Path(gone).unlink(missing_ok=True)
            return network_files.read_facts(filename)

        real = cache.facts_of_files
        monkeypatch.setattr(cache, "facts_of_files", lambda section, names, _: real(section, names, remove_first))
        assert list(found()) == ["here"]

    def test_no_file_is_opened_the_second_time(self, folder, monkeypatch):
        for name in ("a", "b"):
            write(folder / f"{name}.safetensors", ss_output_name=f"alias of {name}")
        first = network_files.find()
        monkeypatch.setattr(weights, "read_plain_metadata", None)
        assert network_files.find() == first
        assert network_files.facts_of(first[0].filename) == first[0].facts

    def test_hidden_folders_are_for_those_who_want_them(self, folder, settings):
        write(folder / ".secret" / "a.safetensors")
        assert list(found()) == ["a"]
        settings(list_hidden_files=False)
        assert found() == {}


class TestFacts:
    def test_what_a_header_says(self, folder):
        path = write(folder / "a.safetensors", ss_output_name="b", sshs_model_hash="0f", ssmd_cover_images="[]")
        assert network_files.facts_of(path) == network_files.HeaderFacts("b", "0f", "SD1", True, True)

    def test_a_file_that_is_not_there(self, folder):
        assert network_files.facts_of(str(folder / "none.pt")) == network_files.HeaderFacts()

    @pytest.mark.parametrize(("metadata", "version"), [
        ({}, "Unknown"),
        ({"format": "pt"}, "SD1"),
        ({"ss_v2": "False"}, "SD1"),
        ({"ss_v2": "True", "ss_base_model_version": "sd_v2"}, "SD2"),
        ({"ss_base_model_version": "sd_v1"}, "SD1"),
        ({"ss_base_model_version": "sdxl_base_v1-0", "ss_v2": "False"}, "SDXL"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "SDXL"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v/lora"}, "SD2"),
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, "SD1"),
        ({"ss_base_model_version": "flux1"}, "Unknown"),
        ({"ss_base_model_version": "something new"}, "SD1"),
    ])  # fmt: skip
    def test_version(self, folder, metadata, version):
        assert network_files.facts_of(write(folder / "a.safetensors", **metadata)).version == version

    @pytest.mark.parametrize(("key", "shape", "version"), [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", (4, 2048), "SDXL"),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", (4, 1024), "SD2"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", (4, 1280), "SDXL"),
        ("transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight", (4, 3072), "Unknown"),
        ("lora_unet_conv_in.alpha", (), "SD1"),
    ])  # fmt: skip
    def test_layers_tell_the_version_that_metadata_do_not(self, folder, key, shape, version):
        folder.mkdir()
        path = str(folder / "a.safetensors")
        save_file({key: torch.zeros(shape)}, path, {"format": "pt"})
        assert network_files.facts_of(path).version == version

    def test_damaged_layers(self, folder):
        header = b'{"__metadata__": {"format": "pt"}, "x": 5}'
        folder.mkdir()
        path = folder / "a.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        assert network_files.facts_of(str(path)) == network_files.HeaderFacts()

    def test_metadata_in_the_order_they_are_shown(self, folder):
        path = write(
            folder / "a.safetensors", other="1", ss_tag_frequency='{"d": {"cat": 2}}', ss_sd_model_name="base", odd="{"
        )
        assert list(network_files.read_metadata(path).items()) == [
            ("ss_sd_model_name", "base"), ("other", "1"), ("odd", "{"), ("ss_tag_frequency", {"d": {"cat": 2}})
        ]  # fmt: skip
        (folder / "b.pt").write_bytes(b"weights")
        for name in ("b.pt", "gone.safetensors"):
            assert network_files.read_metadata(str(folder / name)) == {}
