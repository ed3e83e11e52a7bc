import hashlib
import io
import json
import os

import pytest

from modules import cache, hashes

CONTENT = b"weights" * 1000


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cache_dir", str(tmp_path / "cache"))
    cache.default_store.cache_clear()
    path = tmp_path / "model.safetensors"
    path.write_bytes(CONTENT)
    yield path
    cache.default_store().close()
    cache.default_store.cache_clear()


def safetensors(metadata):
    header = json.dumps({"__metadata__": metadata}).encode()
    return len(header).to_bytes(8, "little") + header + CONTENT


def test_sha256_is_that_of_the_bytes(model):
    assert hashes.calculate_sha256(str(model)) == hashlib.sha256(CONTENT).hexdigest()
    assert hashes.sha256(str(model), "checkpoint/model") == hashlib.sha256(CONTENT).hexdigest()


def test_known_hash_is_not_computed_again(model, monkeypatch):
    assert hashes.sha256_from_cache(str(model), "checkpoint/model") is None
    expected = hashes.sha256(str(model), "checkpoint/model")
    monkeypatch.delattr(hashes, "calculate_sha256")
    assert hashes.sha256(str(model), "checkpoint/model") == expected
    assert hashes.sha256_from_cache(str(model), "checkpoint/model") == expected
    assert hashes.partial_hash_from_cache(str(model), "checkpoint/model") == expected[:12]


@pytest.mark.parametrize("change", ["older", "newer", "other size at the same time"])
def test_changed_file_has_no_known_hash(model, change):
    hashes.sha256(str(model), "checkpoint/model")
    stat = model.stat()
    if change == "other size at the same time":
        model.write_bytes(CONTENT + b"!")
    seconds = {"older": -100, "newer": 100}.get(change, 0)
    os.utime(model, ns=(stat.st_mtime_ns + seconds * 10**9,) * 2)
    assert hashes.sha256_from_cache(str(model), "checkpoint/model") is None
    assert hashes.partial_hash_from_cache(str(model), "checkpoint/model") is None


def test_entry_of_an_older_version_counts(model):
    cache.cache("hashes")["checkpoint/model"] = {"mtime": model.stat().st_mtime, "sha256": "abc"}
    assert hashes.sha256(str(model), "checkpoint/model") == "abc"


def test_missing_file_has_no_known_hash(model):
    hashes.sha256(str(model), "checkpoint/model")
    model.unlink()
    assert hashes.sha256_from_cache(str(model), "checkpoint/model") is None


def test_no_hashing_computes_nothing(model, monkeypatch):
    monkeypatch.setattr(hashes.cmd_opts, "no_hashing", True)
    assert hashes.sha256(str(model), "checkpoint/model") is None


def test_addnet_hash_does_not_depend_on_metadata(model):
    values = set()
    for number in range(2):
        model.write_bytes(safetensors({"name": "x" * number}))
        values.add(hashes.sha256(str(model), f"lora/{number}", use_addnet_hash=True))
    assert values == {hashlib.sha256(CONTENT).hexdigest()}
    assert hashes.addnet_hash_safetensors(io.BytesIO(safetensors({}))) in values


def test_kinds_of_hash_are_kept_apart(model):
    model.write_bytes(safetensors({}))
    whole = hashes.sha256(str(model), "lora/model")
    assert hashes.sha256_from_cache(str(model), "lora/model", use_addnet_hash=True) is None
    assert hashes.sha256(str(model), "lora/model", use_addnet_hash=True) != whole
