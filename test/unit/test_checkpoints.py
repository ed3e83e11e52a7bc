"""The registry of checkpoint files."""

import os
import random

import pytest

from modules import checkpoints, hashes, shared
from modules.checkpoints import CheckpointInfo, checkpoint_aliases, checkpoints_list

SHA256 = "9576f7e89fdb5e82ea8a0c3cdba646116bd7c528c6e236ff8730f7f5ea77732d"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A --ckpt-dir with two checkpoints, a VAE and a text; the registry is as before afterwards."""
    before = dict(checkpoints_list), dict(checkpoint_aliases)
    monkeypatch.setattr(shared.cmd_opts, "ckpt_dir", str(tmp_path))
    (tmp_path / "sub").mkdir()
    for name in ("Zoo.ckpt", "sub/model.safetensors", "sub/model.vae.safetensors", "readme.txt"):
        (tmp_path / name).write_bytes(b"not really")
    yield tmp_path
    for registry, content in zip((checkpoints_list, checkpoint_aliases), before, strict=True):
        registry.clear()
        registry.update(content)


def test_only_the_embedded_checkpoint_without_others(folder):
    for path in ("Zoo.ckpt", "sub/model.safetensors"):
        (folder / path).unlink()
    checkpoints.scan()
    (info,) = checkpoints_list.values()
    assert info.name == "demo-emoji.safetensors"
    assert checkpoints.first() is info


def test_users_checkpoints_come_first(folder):
    checkpoints.scan()
    names = [info.name for info in checkpoints_list.values()]
    assert names == [os.path.join("sub", "model.safetensors"), "Zoo.ckpt", "demo-emoji.safetensors"]
    assert checkpoints.first().name == os.path.join("sub", "model.safetensors")


@pytest.mark.parametrize("is_listed", [True, False])
def test_hidden_folders_are_a_setting(folder, monkeypatch, is_listed):
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "secret.ckpt").write_bytes(b"not really")
    monkeypatch.setitem(shared.opts.data, "list_hidden_files", is_listed)
    assert any("secret" in path for path in checkpoints.find_files()) == is_listed


def test_broken_links_are_left_out(folder):
    (folder / "link.ckpt").symlink_to(folder / "gone.ckpt")
    checkpoints.scan()
    assert "link" not in checkpoint_aliases


def test_file_of_the_same_name_as_the_embedded_one_is_the_users(folder):
    (folder / "demo-emoji.safetensors").write_bytes(b"other")
    checkpoints.scan()
    assert checkpoints.find("demo-emoji").filename == str(folder / "demo-emoji.safetensors")


def test_ckpt_flag_selects_its_file(folder, tmp_path_factory, monkeypatch):
    path = tmp_path_factory.mktemp("elsewhere") / "chosen.ckpt"
    path.write_bytes(b"x")
    monkeypatch.setattr(shared.cmd_opts, "ckpt", str(path))
    monkeypatch.setitem(shared.opts.data, "sd_model_checkpoint", None)
    checkpoints.scan()
    assert next(iter(checkpoints_list.values())).name == "chosen.ckpt"
    assert shared.opts.sd_model_checkpoint == "chosen.ckpt"


def test_ckpt_flag_without_its_file_is_reported(folder, monkeypatch, caplog):
    monkeypatch.setattr(shared.cmd_opts, "ckpt", str(folder / "gone.ckpt"))
    checkpoints.scan()
    assert "gone.ckpt" in caplog.text


def test_configured_title_brings_a_hash_that_is_not_known_here(folder, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "sd_model_checkpoint", "Zoo.ckpt [0123456789]")
    checkpoints.scan()
    assert checkpoint_aliases["Zoo.ckpt [0123456789]"] is checkpoint_aliases["Zoo.ckpt"]


def test_configured_title_of_another_content_is_not_taken(folder, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "sd_model_checkpoint", "Zoo.ckpt [0123456789]")
    monkeypatch.setattr(hashes, "sha256_from_cache", lambda *args, **kwargs: SHA256)
    checkpoints.scan()
    assert "Zoo.ckpt [0123456789]" not in checkpoint_aliases


def test_names_of_a_file(folder):
    info = CheckpointInfo(str(folder / "sub" / "model.safetensors"))
    assert info.name == info.title == os.path.join("sub", "model.safetensors")
    assert (info.model_name, info.name_for_extra, info.short_title) == ("sub_model", "model", "model")
    assert info.shorthash is None
    assert info.is_safetensors
    assert info.metadata == {}
    assert f"{info.name} [{info.hash}]" in info.ids
    assert str(info) == info.title


def test_metadata_of_the_embedded_checkpoint():
    info = CheckpointInfo(checkpoints.embedded_checkpoint)
    assert info.metadata["modelspec.resolution"] == "128x128"
    assert info.modelspec_thumbnail is None


def test_hash_changes_title_in_place(folder):
    checkpoints.scan()
    info = checkpoints.find("model")
    assert info.calculate_shorthash() == info.sha256[:10]
    assert info.title == f"{info.name} [{info.shorthash}]"
    assert next(iter(checkpoints_list)) == info.title
    for name in (info.shorthash, info.sha256, info.title, info.short_title, "model"):
        assert checkpoint_aliases[name] is info
    assert CheckpointInfo(info.filename).title == info.title, "the hash is remembered"


def test_embedded_hash():
    info = CheckpointInfo(checkpoints.embedded_checkpoint)
    info.calculate_shorthash()
    assert info.sha256 == SHA256
    assert info.title == "demo-emoji.safetensors [9576f7e89f]"


def test_no_hashing_leaves_titles_without_hash(folder, monkeypatch):
    monkeypatch.setattr(hashes.cmd_opts, "no_hashing", True)
    info = CheckpointInfo(str(folder / "Zoo.ckpt"))
    assert info.calculate_shorthash() is None
    assert info.title == "Zoo.ckpt"


def test_old_hash_covers_64_kib_after_the_first_mib(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"a" * 0x100000 + b"b" * 0x10000 + b"c")
    same = tmp_path / "b.ckpt"
    same.write_bytes(b"x" * 0x100000 + b"b" * 0x10000)
    assert checkpoints.model_hash(str(path)) == checkpoints.model_hash(str(same))
    assert len(checkpoints.model_hash(str(path))) == 8
    assert checkpoints.model_hash(str(tmp_path / "gone")) == "NOFILE"


def test_titles_long_and_short(folder):
    checkpoints.scan()
    assert os.path.join("sub", "model.safetensors") in checkpoints.checkpoint_tiles()
    assert "model" in checkpoints.checkpoint_tiles(use_short=True)


def test_closest_match(folder):
    (folder / "model-v2-long.ckpt").write_bytes(b"x")
    checkpoints.scan()
    assert checkpoints.find("model").name_for_extra == "model", "an alias"
    assert checkpoints.find("odel-v2").name_for_extra == "model-v2-long", "part of a title"
    assert checkpoints.find("odel").name_for_extra == "model-v2-long", "the shortest title with it"
    assert checkpoints.find("Zoo.ckpt [0123456789]").name_for_extra == "Zoo", "a foreign hash"
    assert checkpoints.find("no-such-model") is None
    assert checkpoints.find("[abc]") is None
    assert checkpoints.find(None) is None


def test_the_hash_at_the_end_of_a_title_is_no_part_of_its_name():
    draw = random.Random(1)
    for _ in range(2000):
        title = "".join(draw.choices("[] ]a\n[", k=draw.randrange(10)))
        assert checkpoints.without_checksum(title) == checkpoints.re_strip_checksum.sub("", title), title
    for text in ("[" * 100_000, " " * 100_000 + "x"):
        assert checkpoints.without_checksum(text) == text


def test_a_path_on_another_drive_is_not_inside(monkeypatch, tmp_path):
    def common(paths):
        raise ValueError("Paths don't have the same drive")

    assert checkpoints.is_inside(str(tmp_path / "a" / "b.ckpt"), str(tmp_path))
    assert not checkpoints.is_inside(f"{tmp_path}x", str(tmp_path))
    monkeypatch.setattr(os.path, "commonpath", common)
    assert not checkpoints.is_inside(str(tmp_path / "a"), str(tmp_path))


def test_replaced_keys_keep_their_place():
    d = {"a": 1, "b": 2, "c": 3}
    checkpoints.replace_key(d, "b", "x", 9)
    assert list(d.items()) == [("a", 1), ("x", 9), ("c", 3)]
