import logging
import os

import pytest
import safetensors.torch
import torch
from PIL import Image, PngImagePlugin

from modules import shared
from modules.shared import opts
from modules.textual_inversion import textual_inversion
from modules.textual_inversion.image_embedding import embedding_to_b64, insert_image_data_embed
from modules.textual_inversion.textual_inversion import Embedding, EmbeddingDatabase, create_embedding_from_data
from test.unit.tiny_networks import TwoClips, model_with, tiny_clip

WIDTH = 16


@pytest.fixture(scope="module")
def model():
    return model_with(tiny_clip())


@pytest.fixture
def database(tmp_path, model, monkeypatch):
    """A database of one directory, for a model of 16 channels."""
    monkeypatch.setattr(shared.model_access, "get", lambda: model)
    result = EmbeddingDatabase()
    result.add_embedding_dir(str(tmp_path))
    return result


def vectors(count=2, width=WIDTH, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def trained(tensor, **more):
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": "inner name", "step": 7, **more}


def test_file_of_the_train_tab(database, tmp_path):
    tensor = vectors()
    torch.save(trained(tensor, sd_checkpoint="abc", sd_checkpoint_name="model"), tmp_path / "word.pt")
    database.load_textual_inversion_embeddings()
    embedding = database.word_embeddings["word"]
    assert torch.equal(embedding.vec, tensor)
    assert (embedding.vectors, embedding.shape, embedding.step) == (2, WIDTH, 7)
    assert (embedding.sd_checkpoint, embedding.sd_checkpoint_name) == ("abc", "model")
    assert embedding.filename == str(tmp_path / "word.pt")
    assert len(embedding.hash) == 64 and embedding.shorthash == embedding.hash[:12]


@pytest.mark.parametrize("vec", [vectors(), {"clip_l": vectors(2, 6), "clip_g": vectors(2, 10)}])
def test_saved_file_is_read_as_it_was(database, tmp_path, vec):
    written = Embedding(vec, "inner name", step=7)
    written.sd_checkpoint, written.sd_checkpoint_name = "abc", "model"
    written.save(str(tmp_path / "word.pt"))
    database.load_textual_inversion_embeddings()
    (read,) = [*database.word_embeddings.values(), *database.skipped_embeddings.values()]
    assert read.checksum() == written.checksum()
    assert (read.step, read.sd_checkpoint, read.sd_checkpoint_name) == (7, "abc", "model")


@pytest.mark.parametrize("told", [{"step": "many", "sd_checkpoint": 5, "sd_checkpoint_name": [1]}, {"step": vectors()}])
def test_what_a_file_tells_wrongly_is_not_told_on(told):
    embedding = create_embedding_from_data({"string_to_param": {"*": vectors()}, **told}, "name")
    assert (embedding.step, embedding.sd_checkpoint, embedding.sd_checkpoint_name) == (None, None, None)


def test_parameter_dict_of_the_first_training_program(database, tmp_path):
    tensor = vectors()
    torch.save({"string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(tensor)})}, tmp_path / "word.pt")
    database.load_textual_inversion_embeddings()
    assert torch.equal(database.word_embeddings["word"].vec, tensor)


def test_concept_file_of_one_vector(database, tmp_path):
    tensor = vectors(1)[0]
    torch.save({"<word>": tensor}, tmp_path / "word.bin")
    safetensors.torch.save_file({"emb_params": vectors(3)}, tmp_path / "other.safetensors")
    database.load_textual_inversion_embeddings()
    assert torch.equal(database.word_embeddings["word"].vec, tensor[None])
    assert database.word_embeddings["other"].vectors == 3


def test_embedding_of_another_width_is_skipped(database, tmp_path):
    both = {"clip_l": vectors(2, 8), "clip_g": vectors(2, 12)}
    safetensors.torch.save_file(both, tmp_path / "xl.safetensors")
    database.load_textual_inversion_embeddings()
    assert not database.word_embeddings
    skipped = database.skipped_embeddings["xl"]
    assert (skipped.vectors, skipped.shape) == (2, 20)
    assert torch.equal(skipped.vec["clip_g"], both["clip_g"])


def test_pictures_carry_embeddings_under_their_stored_name(database, tmp_path):
    noise = Image.effect_noise((64, 64), 40).convert("RGB")
    info = PngImagePlugin.PngInfo()
    info.add_text("sd-ti-embedding", embedding_to_b64(trained(vectors(), name="in text")).decode())
    noise.save(tmp_path / "a.png", pnginfo=info)
    insert_image_data_embed(noise, trained(vectors(), name="in pixels")).save(tmp_path / "b.png")
    insert_image_data_embed(noise, trained(vectors(), name="in webp")).save(tmp_path / "c.webp", lossless=True)
    insert_image_data_embed(noise, trained(vectors(), name="in preview")).save(tmp_path / "d.preview.png")
    noise.save(tmp_path / "plain.png")
    database.load_textual_inversion_embeddings()
    assert list(database.word_embeddings) == ["in pixels", "in text", "in webp"]


def test_broken_empty_and_foreign_files_do_not_stop_the_others(database, tmp_path, caplog):
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "sub").mkdir()
    torch.save({"word": vectors()}, tmp_path / "sub" / "word.pt")
    database.load_textual_inversion_embeddings()
    assert list(database.word_embeddings) == ["word"]
    (record,) = [record for record in caplog.records if record.name == "modules.errors"]
    assert "broken.pt" in record.message


def test_embedding_without_file_has_no_hash():
    embedding = create_embedding_from_data({"a": vectors()}, "name")
    assert embedding.hash is None and embedding.filename is None


def test_checksum_folds_all_values():
    embedding = Embedding(torch.tensor([[0.01, -0.02]]), "x")
    state = (0 * 281 ^ 1 * 997) & 0xFFFFFFFF
    state = (state * 281 ^ -2 * 997) & 0xFFFFFFFF
    assert embedding.checksum() == f"{state & 0xFFFF:04x}"
    assert embedding.checksum() is embedding.cached_checksum
    assert (
        Embedding({"clip_l": torch.tensor([[0.01]]), "clip_g": torch.tensor([[-0.02]])}, "y").checksum()
        == embedding.checksum()
    )


def touch(directory):
    os.utime(directory, (0, os.path.getmtime(directory) + 10))


def test_directories_are_looked_through_again_when_they_change(database, tmp_path):
    torch.save({"w": vectors()}, tmp_path / "word.pt")
    database.load_textual_inversion_embeddings()
    first, revision = database.word_embeddings["word"], database.revision
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "seen.pt").write_bytes((tmp_path / "word.pt").read_bytes())
    touch(tmp_path)
    database.load_textual_inversion_embeddings()
    assert sorted(database.word_embeddings) == ["seen", "word"] and database.revision == revision + 1

    (tmp_path / "sub" / "late.pt").write_bytes((tmp_path / "word.pt").read_bytes())
    database.load_textual_inversion_embeddings()
    assert "late" not in database.word_embeddings
    database.load_textual_inversion_embeddings(force_reload=True)
    assert "late" in database.word_embeddings
    assert database.word_embeddings["word"] is first  # its file was not read again
    revision = database.revision
    database.load_textual_inversion_embeddings(force_reload=True)
    assert database.revision == revision

    torch.save({"w": vectors(3)}, tmp_path / "word.pt")
    (tmp_path / "sub" / "late.pt").unlink()
    database.load_textual_inversion_embeddings(force_reload=True)
    assert database.word_embeddings["word"].vectors == 3
    assert "late" not in database.word_embeddings
    assert database.revision == revision + 1


def test_what_was_loaded_stays_known_until_all_files_are_read(database, tmp_path, model, monkeypatch):
    torch.save({"w": vectors()}, tmp_path / "red.pt")
    database.load_textual_inversion_embeddings()
    (tokens,) = model.cond_stage_model.tokenize(["red"])
    seen, held = [], database.word_embeddings
    read = textual_inversion.read_embedding_file

    def reading(path):
        seen.append(database.find_embedding_at_position(tokens, 0)[1])
        return read(path)

    monkeypatch.setattr(textual_inversion, "read_embedding_file", reading)
    torch.save({"w": vectors(5)}, tmp_path / "red.pt")
    database.load_textual_inversion_embeddings(force_reload=True)
    assert seen == [1]
    assert database.word_embeddings is held and held["red"].vectors == 5


def test_load_for_the_model_before_does_not_replace_a_later_one(database, tmp_path, model, monkeypatch):
    torch.save({"w": vectors()}, tmp_path / "narrow.pt")
    torch.save({"w": vectors(width=32)}, tmp_path / "wide.pt")
    wide_model = model_with(tiny_clip(width=32))
    read = textual_inversion.read_embedding_file

    def reading(path):
        monkeypatch.setattr(textual_inversion, "read_embedding_file", read)
        monkeypatch.setattr(shared.model_access, "get", lambda: wide_model)
        database.load_textual_inversion_embeddings(force_reload=True)
        return read(path)

    monkeypatch.setattr(textual_inversion, "read_embedding_file", reading)
    database.load_textual_inversion_embeddings()
    assert list(database.word_embeddings) == ["wide"]


def test_refresh_while_a_model_is_loaded_waits_for_nobody(database, tmp_path, model, monkeypatch):
    """A thread that loads a model holds the lock of models, and reads the embeddings for it."""
    torch.save({"w": vectors()}, tmp_path / "word.pt")
    calls = []
    monkeypatch.setattr(shared.model_access, "get", lambda: calls.append(database._lock._is_owned()) or model)
    database.load_textual_inversion_embeddings()
    assert calls and not any(calls)


def test_model_of_another_width_gets_its_own_embeddings(database, tmp_path, model, monkeypatch):
    torch.save({"w": vectors()}, tmp_path / "narrow.pt")
    torch.save({"w": vectors(width=32)}, tmp_path / "wide.pt")
    database.load_textual_inversion_embeddings()
    assert (list(database.word_embeddings), list(database.skipped_embeddings)) == (["narrow"], ["wide"])

    wide_model = model_with(tiny_clip(width=32))
    monkeypatch.setattr(shared.model_access, "get", lambda: wide_model)
    database.load_textual_inversion_embeddings()
    assert (list(database.word_embeddings), list(database.skipped_embeddings)) == (["wide"], ["narrow"])


def test_model_of_two_encoders_wants_a_matrix_for_each(database, tmp_path, monkeypatch):
    model = model_with(TwoClips())
    monkeypatch.setattr(shared.model_access, "get", lambda: model)
    save = safetensors.torch.save_file
    save({"clip_l": vectors(width=16), "clip_g": vectors(width=24)}, tmp_path / "both.safetensors")
    save({"clip_l": vectors(width=24), "clip_g": vectors(width=16)}, tmp_path / "swapped.safetensors")
    torch.save({"w": vectors(width=40)}, tmp_path / "wide.pt")
    database.load_textual_inversion_embeddings()
    assert (database.expected_shape, database.expected_widths) == (40, {"clip_l": 16, "clip_g": 24})
    assert list(database.word_embeddings) == ["both"]
    assert sorted(database.skipped_embeddings) == ["swapped", "wide"]


def test_each_tokenizer_finds_names_in_its_own_tokens(database):
    two = TwoClips()
    two.second.tokenizer_name = "letters"
    two.second.tokenize = lambda texts: [[ord(letter) for letter in text] for text in texts]
    embedding = Embedding(vectors(), "red")
    database.register_embedding(embedding, model_with(two))
    assert database.find_embedding_at_position([ord(letter) for letter in "red"], 0, "letters") == (embedding, 3)
    assert database.find_embedding_at_position([736], 0) == (embedding, 1)
    assert database.find_embedding_at_position([736], 0, "letters") == (None, None)
    assert database.find_embedding_at_position([736], 0, "unknown") == (None, None)
    assert list(database.ids_lookup) == [736]
    database.register_embedding_by_name(None, model_with(two), "red")
    assert not any(database.lookups.values())


def test_missing_directory_is_no_change(database, model):
    database.clear_embedding_dirs()
    database.add_embedding_dir("/no/such/directory")
    database.load_textual_inversion_embeddings()
    assert database.expected_shape == -1
    database.load_textual_inversion_embeddings(force_reload=True)
    assert database.expected_shape == WIDTH


def test_longest_name_is_found_first(database, model):
    short, long = Embedding(vectors(), "red"), Embedding(vectors(), "red apple")
    for embedding in (short, long):
        database.register_embedding(embedding, model)
    (tokens,) = model.cond_stage_model.tokenize(["a red apple, red"])
    assert database.find_embedding_at_position(tokens, 0) == (None, None)
    assert database.find_embedding_at_position(tokens, 1) == (long, 2)
    assert database.find_embedding_at_position(tokens, 4) == (short, 1)


def test_name_is_replaced_and_taken_out(database, model):
    first, second = Embedding(vectors(), "red"), Embedding(vectors(), "red")
    database.register_embedding(first, model)
    database.register_embedding(second, model)
    assert database.word_embeddings == {"red": second}
    ((entries),) = database.ids_lookup.values()
    assert [embedding for _, embedding in entries] == [second]
    database.register_embedding_by_name(None, model, "red")
    assert not database.word_embeddings and not database.ids_lookup


def test_changes_are_logged_once_if_wished(database, tmp_path, caplog):
    torch.save({"w": vectors()}, tmp_path / "word.pt")
    torch.save({"w": vectors(width=3)}, tmp_path / "other.pt")
    with opts.overlay({"textual_inversion_print_at_load": True}), caplog.at_level(logging.INFO):
        database.load_textual_inversion_embeddings()
        database.load_textual_inversion_embeddings(force_reload=True)
    assert caplog.text.count("embeddings loaded (1): word") == 1
    assert caplog.text.count("(1): other (models of width 3)") == 1


@pytest.mark.parametrize(
    ("vec", "family"),
    [
        (torch.zeros(1, 768), "SD1"),
        (torch.zeros(1, 1024), "SD2"),
        ({"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(2, 1280)}, "SDXL"),
    ],
)
def test_family_is_told_by_the_width(vec, family):
    assert Embedding(vec, "x").family == family


def test_name_that_no_prompt_can_write_is_reported(database, tmp_path, caplog):
    torch.save({"w": vectors()}, tmp_path / " .pt")
    torch.save({"w": vectors()}, os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.pt"))
    torch.save({"w": vectors()}, tmp_path / "word.pt")
    database.load_textual_inversion_embeddings()
    assert list(database.word_embeddings) == ["word"]
    assert caplog.text.count("give its file another name") == 2


def test_last_file_of_a_name_counts(database, tmp_path):
    for folder, count in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        torch.save({"w": vectors(count)}, tmp_path / folder / "word.pt")
    database.load_textual_inversion_embeddings()
    assert database.word_embeddings["word"].vectors == 2


def test_templates_are_listed_by_name(tmp_path, monkeypatch):
    (tmp_path / "style.txt").write_text("a picture in the style of [name]")
    monkeypatch.setattr(shared.cmd_opts, "textual_inversion_templates_dir", str(tmp_path))
    templates = textual_inversion.list_textual_inversion_templates()
    assert templates == {"style.txt": ("style.txt", str(tmp_path / "style.txt"))}


def test_extension_may_list_a_word_without_vectors(database, model):
    listed = Embedding(None, "remote")
    assert (listed.vec, listed.vectors, listed.shape) == (None, 0, 0)
    database.word_embeddings["remote"] = listed
    database.load_textual_inversion_embeddings(force_reload=True)
    assert not database.word_embeddings
