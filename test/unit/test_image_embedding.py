import base64
import json

import numpy as np
import pytest
import torch
from PIL import Image

from modules.textual_inversion import image_embedding
from modules.textual_inversion.image_embedding import extract_image_data_embed, insert_image_data_embed


@pytest.fixture
def data():
    vectors = torch.randn(2, 64, generator=torch.Generator().manual_seed(1))
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "thing", "step": 5}


@pytest.fixture
def picture():
    noise = np.random.default_rng(1).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_text_carrier_keeps_the_tensor(data):
    text = image_embedding.embedding_to_b64(data)
    assert (
        json.loads(base64.b64decode(text))["string_to_param"]["*"]["TORCHTENSOR"][0][0]
        == data["string_to_param"]["*"][0, 0]
    )
    read = image_embedding.embedding_from_b64(text)
    assert torch.equal(read["string_to_param"]["*"], data["string_to_param"]["*"])
    assert read["name"] == "thing"


def test_only_tensors_are_encoded_specially():
    with pytest.raises(TypeError):
        image_embedding.embedding_to_b64({"x": object()})


def test_text_that_is_no_json_is_a_value_error():
    with pytest.raises(ValueError):
        image_embedding.embedding_from_b64(base64.b64encode(b"not json"))


def test_generator_yields_the_sequence_the_format_defines():
    generator = image_embedding.lcg()
    states = [1013904223]
    for _ in range(4):
        states.append((1664525 * states[-1] + 1013904223) % 2**32)
    assert [next(generator) for _ in range(5)] == [state % 255 for state in states]
    assert states[0] % 255 == 253


def test_scrambling_touches_low_bits_only_and_undoes_itself():
    block = np.random.default_rng(2).integers(0, 256, (8, 5, 3), dtype=np.uint8)
    scrambled = image_embedding.xor_block(block)
    assert not np.array_equal(scrambled, block)
    assert np.array_equal(scrambled & 0xF0, block & 0xF0)
    assert np.array_equal(image_embedding.xor_block(scrambled), block)


def test_pixel_carrier_keeps_data_and_picture(data, picture):
    carrier = insert_image_data_embed(picture, data)
    read = extract_image_data_embed(carrier)
    assert torch.equal(read["string_to_param"]["*"], data["string_to_param"]["*"])
    assert read["step"] == 5
    strip = (carrier.width - picture.width) // 2
    assert np.array_equal(np.array(carrier)[:, strip : strip + picture.width], np.array(picture))


def test_pixel_carrier_survives_a_black_frame(data, picture):
    carrier = insert_image_data_embed(picture, data)
    framed = Image.new("RGB", (carrier.width + 30, carrier.height + 20))
    framed.paste(carrier, (20, 10))
    assert extract_image_data_embed(framed)["name"] == "thing"


@pytest.mark.parametrize("color", [(0, 0, 0), (16, 32, 48), (200, 100, 50)], ids=["black", "no low bits", "plain"])
def test_plain_picture_carries_nothing(color):
    assert extract_image_data_embed(Image.new("RGB", (40, 30), color)) is None


def test_picture_with_dark_columns_carries_nothing(picture):
    pixels = np.array(picture)
    pixels[:, [20, 40]] = 0
    assert extract_image_data_embed(Image.fromarray(pixels)) is None  # strips of different width
    pixels[:, [20, 43]] = 0
    assert extract_image_data_embed(Image.fromarray(pixels)) is None  # no deflated data


def test_data_broken_off_count_as_none(data, picture):
    low_strip_and_more = insert_image_data_embed(picture, {**data, "filler": "x" * 3000})
    broken = np.array(low_strip_and_more)
    first_zero = np.flatnonzero(~(broken & 0x0F).any(axis=(0, 2)))[0]
    broken[40:, :first_zero] ^= 0x0F
    assert extract_image_data_embed(Image.fromarray(broken)) is None
