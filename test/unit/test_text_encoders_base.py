"""What encoders give, and what a kind of them has to say."""

import pytest
import torch

from modules.model_families import SD1
from modules.text_encoders import Encoded, TextNetwork


def test_what_is_plain_and_back():
    tokens = torch.zeros(1, 77, 4)
    assert Encoded(tokens).plain() is tokens
    assert Encoded.of(Encoded(tokens).plain()) == Encoded(tokens)
    both = Encoded(tokens, torch.zeros(1, 4))
    assert Encoded.of(both.plain()) is both


def test_base_class_leaves_all_to_the_kinds():
    network = TextNetwork(SD1.text_encoders[0], tokenizer=None)
    calls = [("tokenize", [[]]), ("encode", [None]), ("token_embedding", []), ("set_token_embedding", [None])]
    for method, arguments in calls:
        with pytest.raises(NotImplementedError):
            getattr(network, method)(*arguments)
