import doctest
import json
from pathlib import Path

import numpy as np
import pytest

from modules import rng_philox

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "test_vectors.json").read_text(encoding="utf8"))


def test_gives_the_numbers_of_an_nvidia_gpu():
    row = VECTORS["philox_nv_rng"]
    generator = rng_philox.Generator(row["seed"])
    for request in ("first_(2,3)", "second_(2,3)"):
        numbers = generator.randn((2, 3))
        assert numbers.dtype == np.float32
        assert numbers == pytest.approx(np.array(row[request]), rel=1e-6)


def test_known_answer_of_the_cipher():
    """The vector of ones published with the algorithm."""
    ones = 0xFFFFFFFF
    counter = np.full((4, 1), ones, dtype=np.uint64)
    words = rng_philox.philox4_32(counter, (ones, ones))[:, 0]
    assert [f"{int(word):08x}" for word in words] == ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]


def test_example_of_the_docstring():
    assert doctest.testmod(rng_philox).failed == 0


def test_negative_and_large_seeds_use_their_low_64_bits():
    assert (rng_philox.Generator(-1).randn((3,)) == rng_philox.Generator(2**64 - 1).randn((3,))).all()
