from types import SimpleNamespace

import pytest
import torch

from modules import model_patches, shared
from modules.sd_hijack import model_hijack
from modules.shared import opts
from modules.textual_inversion import bundled
from modules.textual_inversion.textual_inversion import Embedding, EmbeddingDatabase
from test.unit.tiny_networks import model_with, tiny_clip

WIDTH = 16


def vectors(count=2, width=WIDTH):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count))


@pytest.fixture
def database(tmp_path, monkeypatch):
    """The program's database, of one directory, with a tiny model current."""
    model = model_with(tiny_clip())
    monkeypatch.setattr(shared.model_access, "get", lambda: model)
    monkeypatch.setattr(model_hijack, "embedding_db", EmbeddingDatabase())
    model_hijack.embedding_db.add_embedding_dir(str(tmp_path))
    with model_patches.job_wishes():
        yield model_hijack.embedding_db


def test_every_layout_is_read():
    pair = {"clip_l": vectors(2, 4), "clip_g": vectors(2, 6)}
    tensors = {
        "lora_unet_x.alpha": torch.tensor(1.0),
        "bundle_emb.kohya.string_to_param.*": vectors(1),
        "bundle_emb.one.clip_l": vectors(2),
        "bundle_emb.one.clip_l_out": vectors(1),
        "bundle_emb.a v1.2.emb_params": vectors(3),
        **{f"bundle_emb.two.{key}": value for key, value in pair.items()},
        "bundle_emb.two.clip_g_out": vectors(1),
    }
    found = bundled.read(tensors, "net")
    assert list(found) == ["kohya", "one", "a v1.2", "two"]
    assert torch.equal(found["kohya"].vec, vectors(1))
    assert torch.equal(found["one"].vec, vectors(2))
    assert found["a v1.2"].vectors == 3
    assert torch.equal(found["two"].vec["clip_g"], pair["clip_g"])
    assert {(e.network, e.shorthash, e.filename, e.hash) for e in found.values()} == {("net", "net", None, None)}


def test_network_without_any_has_none():
    assert bundled.read({"lora_unet_x.alpha": torch.tensor(1.0)}, "net") == {}


def test_damaged_ones_are_named_and_left_out(caplog):
    tensors = {"bundle_emb.bad.a": vectors(), "bundle_emb.bad.b": vectors(), "bundle_emb.good.clip_l": vectors()}
    assert list(bundled.read(tensors, "net")) == ["good"]
    assert 'the embedding "bad" in net' in caplog.text


def test_words_are_known_while_wished_for(database):
    first, second = bundled.read(
        {"bundle_emb.red.clip_l": vectors(), "bundle_emb.red apple.clip_l": vectors()}, "net"
    ).values()
    (tokens,) = shared.sd_model.cond_stage_model.tokenize(["red apple"])
    bundled.wish_for([first])
    bundled.wish_for([first, second])
    assert database.word_embeddings == {"red": first, "red apple": second}
    assert database.find_embedding_at_position(tokens, 0) == (second, 2)
    bundled.wish_for([first])
    assert database.find_embedding_at_position(tokens, 0) == (first, 1)
    bundled.wish_for(())
    assert not database.word_embeddings and not database.ids_lookup


def test_same_words_again_change_nothing(database, monkeypatch):
    words = list(bundled.read({"bundle_emb.red.clip_l": vectors()}, "net").values())
    bundled.wish_for(words)
    with monkeypatch.context() as patches:
        patches.setattr(EmbeddingDatabase, "set_bundled", None)
        bundled.wish_for(words)


def test_words_end_with_the_job(database):
    with model_patches.job_wishes():
        bundled.wish_for(bundled.read({"bundle_emb.red.clip_l": vectors()}, "net").values())
        assert "red" in database.word_embeddings
    assert not database.word_embeddings


def test_words_go_along_to_a_model_they_fit(database, monkeypatch):
    narrow, wide = shared.sd_model, model_with(tiny_clip(width=32))
    tensors = {"bundle_emb.red.clip_l": vectors(), "bundle_emb.blue.clip_l": vectors(width=32)}
    red, blue = bundled.read(tensors, "net").values()
    bundled.wish_for([red, blue])
    assert (database.word_embeddings, database.skipped_embeddings) == ({"red": red}, {"blue": blue})
    for model, word in ((wide, "blue"), (narrow, "red")):
        monkeypatch.setattr(shared.model_access, "get", lambda model=model: model)
        model_patches.move_wishes(model)
        database.load_textual_inversion_embeddings()
        assert list(database.word_embeddings) == [word]
        assert len(database.skipped_embeddings) == 1
    bundled.wish_for(())
    assert not database.word_embeddings and not database.skipped_embeddings


def test_words_outlive_a_reload_of_the_folder(database, tmp_path):
    bundled.wish_for(bundled.read({"bundle_emb.red.clip_l": vectors()}, "net").values())
    torch.save({"w": vectors()}, tmp_path / "apple.pt")
    database.load_textual_inversion_embeddings(force_reload=True)
    assert list(database.word_embeddings) == ["apple", "red"]
    bundled.wish_for(())
    assert list(database.word_embeddings) == ["apple"]


def test_file_of_the_folder_wins_over_a_word_of_its_name(database, tmp_path, caplog):
    torch.save({"w": vectors(3)}, tmp_path / "red.pt")
    database.load_textual_inversion_embeddings()
    bundled.wish_for(bundled.read({"bundle_emb.red.clip_l": vectors()}, "net").values())
    assert database.word_embeddings["red"].vectors == 3
    assert '"red" in net is not used' in caplog.text
    bundled.wish_for(())
    assert list(database.word_embeddings) == ["red"]


@pytest.mark.parametrize(("setting", "params"), [(True, {"TI hashes": "red: a net"}), (False, {})])
def test_infotext_names_the_network(database, setting, params):
    encoder = shared.sd_model.cond_stage_model
    encoder.hijack = SimpleNamespace(embedding_db=database, fixes=None, extra_generation_params={}, comments=[])
    bundled.wish_for(bundled.read({"bundle_emb.red.clip_l": vectors()}, "a: net").values())
    with opts.overlay({"lora_bundled_ti_to_infotext": setting}):
        encoder(["a red apple"])
    assert encoder.hijack.extra_generation_params == params


def test_hash_that_an_extension_gave_is_kept():
    embedding = Embedding(vectors(), "x")
    embedding.shorthash = "name of a network"
    assert embedding.network is None and embedding.shorthash == "name of a network"
