"""CLIP's text encoder: what its row says of layers, norms and pooled vectors."""

from dataclasses import replace

import pytest
import torch

from modules import torchvision_ops, weights
from modules.model_families import SD1, shapes
from modules.text_encoders import KINDS, clip
from test.unit.tiny_networks import END, START, tiny_clip_network

FACTS = SD1.text_encoders[0]
TOKENS = torch.tensor([[START, 320, 736] + [END] * 74, [START, 320] + [END] * 75])


@pytest.fixture(scope="module")
def network():
    return tiny_clip_network()


def with_facts(network, **changes):
    """The same network under another row."""
    made = tiny_clip_network(replace(FACTS, **changes))
    made.load_state_dict(network.state_dict(), strict=False)
    return made


def test_last_layer_goes_through_the_final_norm(network):
    encoded = network.encode(TOKENS)
    assert torch.equal(encoded.tokens, network.transformer(input_ids=TOKENS).last_hidden_state)
    assert encoded.pooled is None
    assert encoded.plain() is encoded.tokens


def test_row_may_want_an_earlier_layer_without_norm(network):
    hidden = network.transformer(input_ids=TOKENS, output_hidden_states=True).hidden_states
    assert torch.equal(with_facts(network, layer=2, final_norm=False).encode(TOKENS).tokens, hidden[-2])
    norm = network.transformer.text_model.final_layer_norm
    assert torch.equal(with_facts(network, layer=2).encode(TOKENS).tokens, norm(hidden[-2]))
    assert torch.equal(with_facts(network, layer=2).encode(TOKENS, layer=3).tokens, norm(hidden[-3]))


def test_last_layer_without_norm(network):
    raw = with_facts(network, final_norm=False).encode(TOKENS).tokens
    assert not torch.equal(raw, network.encode(TOKENS).tokens)
    assert torch.equal(network.transformer.text_model.final_layer_norm(raw), network.encode(TOKENS).tokens)


def test_pooled_vector_is_that_of_the_first_end_token(network):
    last = network.encode(TOKENS).tokens
    encoded = with_facts(network, pooled=True, layer=2).encode(TOKENS)
    assert torch.equal(encoded.pooled, torch.stack([last[0, 3], last[1, 2]]))
    tokens, pooled = encoded.plain()
    assert (tokens.shape, pooled.shape) == ((2, 77, 16), (2, 16))


def test_projection_takes_the_pooled_vector_to_its_own_width():
    projecting = tiny_clip_network(replace(FACTS, pooled=True, projection=True), projection_dim=6)
    encoded = projecting.encode(TOKENS)
    weight = projecting.state_dict()["transformer.text_projection.weight"]
    assert encoded.pooled.shape == (2, 6)
    assert torch.allclose(encoded.pooled[0], encoded.tokens[0, 3] @ weight.T, atol=1e-6)


def test_token_embedding_can_be_replaced():
    network = tiny_clip_network()
    layer = torch.nn.Embedding(49408, 16)
    network.set_token_embedding(layer)
    assert network.token_embedding() is network.transformer.text_model.embeddings.token_embedding is layer


def test_builder_makes_the_network_of_a_file():
    facts = replace(FACTS, prefix="text.", head_width=8, projection=True)
    source = tiny_clip_network(facts, projection_dim=6)
    names = {name: name.removeprefix("transformer.") for name in source.state_dict()}
    stored = {f"text.{names[name]}": tensor for name, tensor in source.state_dict().items()}

    kind = KINDS[facts.kind]
    built = kind.build(facts, weights.shapes_of(stored))
    assert all(parameter.is_meta for parameter in built.parameters())
    converted = kind.convert(facts, stored)
    built.load_state_dict(converted, assign=True)
    assert {tensor.data_ptr() for tensor in converted.values()} == {tensor.data_ptr() for tensor in stored.values()}
    assert torch.equal(built.encode(TOKENS).tokens, source.encode(TOKENS).tokens)
    assert built.layers == 2
    with pytest.raises(shapes.UnreadableShapes, match="token_embedding.weight is missing"):
        kind.build(facts, {})


def test_sd1_keeps_the_names_of_its_parameters():
    torchvision_ops.declare_missing()
    assert "transformer.text_model.encoder.layers.0.self_attn.q_proj.weight" in tiny_clip_network().state_dict()
    assert clip.convert(FACTS, {FACTS.prefix + "text_model.a": torch.zeros(1)}).keys() == {"transformer.text_model.a"}


def test_tokens_can_be_read_letter_by_letter():
    """As transformers had it before version 5: extensions show how a prompt is cut."""
    tokenizer = tiny_clip_network().tokenizer
    ids = tokenizer("a Löwe", add_special_tokens=False)["input_ids"]
    tokens = [tokenizer.decoder[number] for number in ids]
    letters = "".join(token.removesuffix("</w>") for token in tokens)
    assert bytes(tokenizer.byte_decoder[letter] for letter in letters).decode() == "alöwe"
    assert [tokenizer.encoder[token] for token in tokens] == ids
    assert [tokenizer._convert_token_to_id(token) for token in tokens] == ids
    assert [tokenizer._convert_id_to_token(number) for number in ids] == tokens
    assert tokenizer.encoder == tokenizer.get_vocab()
    assert {tokenizer.byte_decoder[letter] for letter in tokenizer.byte_encoder.values()} == set(range(256))
    assert tokenizer.decode(ids) == "a löwe"
