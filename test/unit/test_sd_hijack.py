import pytest
import torch
from torch import nn

from modules import attention, sd_hijack, sd_hijack_optimizations, shared, shared_items
from modules.sd_hijack import EmbeddingsWithFixes, StableDiffusionModelHijack
from modules.sd_hijack_clip import EncoderExchange
from modules.textual_inversion.textual_inversion import Embedding
from test.unit.tiny_networks import ToyEncoder, TwoClips, model_with, tiny_clip


class Optimization(sd_hijack_optimizations.SdOptimization):
    def __init__(self, name, priority=0, cmd_opt=None, available=True):
        self.name, self.priority, self.cmd_opt, self.available = name, priority, cmd_opt, available
        self.log = []

    def is_available(self):
        return self.available

    def apply(self):
        self.log.append("apply")

    def undo(self):
        self.log.append("undo")


@pytest.fixture
def optimizers(monkeypatch):
    """Three ways, of which a flag can choose the second."""
    rows = [Optimization("first"), Optimization("second", cmd_opt="opt_sdp_attention"), Optimization("third")]
    monkeypatch.setattr(sd_hijack, "optimizers", rows)
    return rows


@pytest.fixture
def hijack(optimizers):
    return StableDiffusionModelHijack()


@pytest.fixture
def model():
    return model_with(tiny_clip())


def embed(layer, ids, fixes):
    layer.embeddings.fixes = fixes
    return layer(torch.tensor([ids]))[0]


@pytest.fixture
def layer():
    return EmbeddingsWithFixes(nn.Embedding(10, 2), EncoderExchange())


def test_vectors_replace_the_rows_after_the_start_token(layer):
    embedding = Embedding(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "x")
    with torch.no_grad():
        out = embed(layer, [9, 5, 0, 0, 6], [[(1, embedding)]])
        assert torch.equal(out[[0, 1, 4]], layer.wrapped.weight[[9, 5, 6]])
    assert out[2:4].tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(("offset", "rows"), [(2, 2), (3, 1), (4, 0), (7, 0)])
def test_vectors_beyond_the_end_are_left_out(layer, offset, rows):
    embedding = Embedding(torch.full((3, 2), 99.0), "x")
    with torch.no_grad():
        out = embed(layer, [1, 2, 3, 4, 5], [[(offset, embedding)]])
    assert out.shape == (5, 2)
    assert (out == 99).all(dim=1).sum() == rows


def test_fixes_count_once(layer):
    layer.embeddings.fixes = [[(0, Embedding(torch.full((1, 2), 99.0), "x"))]]
    ids = torch.tensor([[1, 2]])
    with torch.no_grad():
        assert (layer(ids)[0, 1] == 99).all()
        assert torch.equal(layer(ids)[0], layer.wrapped.weight[[1, 2]])
    assert layer.embeddings.fixes is None


def test_encoder_takes_its_own_matrix():
    vec = {"clip_l": torch.full((1, 3), 1.0), "clip_g": torch.full((1, 2), 2.0)}
    layer = EmbeddingsWithFixes(nn.Embedding(10, 2), EncoderExchange(), textual_inversion_key="clip_g")
    with torch.no_grad():
        assert embed(layer, [1, 2], [[(0, Embedding(vec, "x"))]])[1].tolist() == [2.0, 2.0]


def test_hijacked_model_knows_embeddings_and_undo_restores_it(hijack, model):
    encoder = model.cond_stage_model
    token_embedding = encoder.wrapped.transformer.text_model.embeddings.token_embedding
    keys = list(model.state_dict())
    plain = encoder(["red"])

    hijack.hijack(model)
    hijack.hijack(model)
    hijack.embedding_db.register_embedding(Embedding(torch.randn(2, 16), "red"), model)
    assert not torch.equal(encoder(["red"]), plain)
    assert torch.equal(encoder(["a"]), encoder(["a"]))
    assert hijack.clip is encoder and model.model[0] in hijack.layers

    hijack.undo_hijack(model)
    assert encoder.wrapped.transformer.text_model.embeddings.token_embedding is token_embedding
    assert list(model.state_dict()) == keys
    assert torch.equal(encoder(["red"]), plain)
    assert (hijack.clip, hijack.layers) == (None, None)
    hijack.undo_hijack(model)


def test_each_encoder_of_a_model_gets_its_own_vectors(hijack):
    encoders = TwoClips()
    model = model_with(encoders)
    layers = [encoder.token_embedding() for encoder in encoders.encoders.values()]
    plain = [encoders.first(["red"]), encoders.second(["red"])]
    hijack.hijack(model)
    vec = {"clip_l": torch.full((1, 16), 1.0), "clip_g": torch.full((1, 24), 2.0)}
    hijack.embedding_db.register_embedding(Embedding(vec, "red"), model)
    keys = [encoder.token_embedding().textual_inversion_key for encoder in encoders.encoders.values()]
    assert keys == ["clip_l", "clip_g"]
    assert not torch.equal(encoders.first(["red"]), plain[0])
    assert not torch.equal(encoders.second(["red"]).tokens, plain[1].tokens)

    hijack.undo_hijack(model)
    assert [encoder.token_embedding() for encoder in encoders.encoders.values()] == layers
    assert torch.equal(encoders.first(["red"]), plain[0])
    assert torch.equal(encoders.second(["red"]).pooled, plain[1].pooled)


def test_encoder_without_embedding_layer_is_left_alone(hijack):
    toy = ToyEncoder()
    model = model_with(toy)
    hijack.hijack(model)
    assert toy.hijack is hijack
    hijack.undo_hijack(model)
    assert toy.hijack is not hijack


def test_init_text_is_read_below_the_attached_layer(hijack, model):
    encoder = model.cond_stage_model
    before = encoder.encode_embedding_init_text("red", 1)
    hijack.hijack(model)
    assert torch.equal(encoder.encode_embedding_init_text("red", 1), before)


def test_circular_padding_wraps_and_is_undone(hijack, model):
    convolution = model.model[0]
    picture = torch.randn(1, 4, 5, 5)
    plain = convolution(picture)
    shifted = torch.roll(picture, 2, dims=3)

    hijack.hijack(model)
    hijack.apply_circular(True)
    torch.testing.assert_close(torch.roll(convolution(picture), 2, dims=3), convolution(shifted))
    assert hijack.circular_enabled

    hijack.undo_hijack(model)
    assert not hijack.circular_enabled
    assert torch.equal(convolution(picture), plain)


def test_padding_of_the_current_model_outlasts_attaching_it_again(hijack, model):
    hijack.hijack(model)
    hijack.apply_circular(True)
    hijack.hijack(model)
    assert model.model[0].padding_mode == "circular"
    hijack.redo_hijack(model)
    assert model.model[0].padding_mode == "zeros"


def test_model_that_was_replaced_is_undone_alone(hijack, model):
    new = model_with(tiny_clip())
    hijack.hijack(model)
    hijack.apply_circular(True)
    hijack.hijack(new)
    assert model.model[0].padding_mode == "zeros"
    hijack.undo_hijack(model)
    assert hijack.clip is new.cond_stage_model and hijack.layers
    assert hijack.optimization_method == "first"


def test_prompt_lengths(hijack, model):
    assert hijack.get_prompt_lengths("a") == ("-", "-")
    assert hijack.get_prompt_lengths("a red apple", model.cond_stage_model) == (3, 75)
    hijack.hijack(model)
    assert hijack.get_prompt_lengths("") == (0, 75)
    assert hijack.get_prompt_lengths("a BREAK b") == (76, 150)
    assert hijack.tokenize(["a red apple"]) == [[320, 736, 3055]]


def test_comments_are_cleared(hijack):
    hijack.comments.append("x")
    hijack.extra_generation_params["Emphasis"] = "No norm"
    hijack.clear_comments()
    assert (hijack.comments, hijack.extra_generation_params) == ([], {})


def test_embeddings_directory_of_the_flag_is_known():
    assert list(sd_hijack.model_hijack.embedding_db.embedding_dirs) == [shared.cmd_opts.embeddings_dir]


@pytest.mark.parametrize(
    ("option", "flags", "chosen"),
    [
        ("Automatic", {}, "first"),
        ("Automatic", {"opt_sdp_attention": True}, "second"),
        ("Automatic", {"disable_opt_split_attention": True}, ""),
        ("third", {"opt_sdp_attention": True}, "third"),
        ("no such", {}, "first"),
        ("None", {}, ""),
    ],
)
def test_attention_is_chosen_by_setting_and_flags(hijack, monkeypatch, option, flags, chosen):
    for name, value in flags.items():
        monkeypatch.setattr(shared.cmd_opts, name, value)
    with shared.opts.overlay({"cross_attention_optimization": option}):
        hijack.apply_optimizations()
    assert hijack.optimization_method == chosen


def test_another_attention_undoes_the_one_before(hijack, optimizers):
    hijack.apply_optimizations("first")
    hijack.apply_optimizations("second")
    hijack.undo_optimizations()
    assert [o.log for o in optimizers] == [["apply", "undo"], ["apply", "undo"], []]
    assert (hijack.current_optimizer, hijack.optimization_method) == (None, None)


def test_no_optimizers_yet(monkeypatch):
    monkeypatch.setattr(sd_hijack, "optimizers", [])
    hijack = StableDiffusionModelHijack()
    hijack.apply_optimizations("Automatic")
    assert hijack.optimization_method == ""


def test_optimizers_of_extensions_join_the_built_in_ones(monkeypatch):
    own = [
        Optimization("mine", priority=1000),
        Optimization("broken", available=False),
        Optimization("last", priority=-1),
    ]
    monkeypatch.setattr(sd_hijack, "optimizers", [])
    monkeypatch.setattr(sd_hijack.script_callbacks, "list_optimizers_callback", lambda: own)
    sd_hijack.list_optimizers()
    titles = [optimizer.title() for optimizer in sd_hijack.optimizers]
    assert titles[0] == "mine" and titles[-1] == "last" and "broken" not in titles
    assert "Doggettx" in titles
    assert shared_items.cross_attention_optimizations() == ["Automatic", *titles, "None"]


def test_built_in_attention_is_in_use_after_it_was_applied(monkeypatch):
    monkeypatch.setattr(sd_hijack, "optimizers", [])
    monkeypatch.setattr(sd_hijack.script_callbacks, "list_optimizers_callback", list)
    sd_hijack.list_optimizers()
    hijack = StableDiffusionModelHijack()
    hijack.apply_optimizations("V1 - original v1")
    assert sd_hijack_optimizations.selection.kernel is attention.per_head
    hijack.undo_optimizations()
    assert sd_hijack_optimizations.selection.kernel is attention.scaled_dot_product


def test_encoder_that_replaced_another_is_attached_too(hijack, model):
    old, plain = model.cond_stage_model, model.cond_stage_model.token_embedding()
    hijack.hijack(model)
    model.cond_stage_model = new = tiny_clip()
    hijack.hijack(model)
    assert isinstance(new.token_embedding(), EmbeddingsWithFixes) and new.hijack is hijack
    assert old.token_embedding() is plain and old.hijack is not hijack
