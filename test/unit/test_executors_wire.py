"""What goes between server and workers: images with what is known of them, errors with their fields."""

import threading

import pytest
from PIL import Image

from modules.errors import InvalidInput
from modules.executors import wire
from modules.job.records import keep_record, record_of


def sent(value):
    return wire.unpacked(wire.packed(value))


def test_an_image_keeps_its_pixels_texts_record_and_file():
    image = Image.effect_noise((8, 6), 50).convert("RGB")
    image.info["parameters"] = "a text"
    image.already_saved_as = "here.png"
    keep_record(image, "grid", "a text", seed=3)
    (found,) = sent([image])
    assert found.tobytes() == image.tobytes() and found.size == (8, 6) and found.info == image.info
    assert record_of(found) == record_of(image) and record_of(found).file == "here.png"


def test_an_error_keeps_its_class_field_and_place():
    with pytest.raises(InvalidInput) as raised:
        raise InvalidInput("too large", "width")
    found = sent(wire.portable_error(raised.value))
    assert isinstance(found, InvalidInput) and (str(found), found.field) == ("too large", "width")
    assert "test_executors_wire" in found.__notes__[0]


def test_an_error_that_nobody_else_knows_becomes_one_with_its_text():
    class Own(Exception):
        """Of an extension."""

    found = sent(wire.portable_error(Own("oh")))
    assert type(found) is RuntimeError and str(found) == "Own: oh"


def test_what_cannot_be_sent_is_known():
    assert wire.is_packable({"a": [1]})
    assert not wire.is_packable({"a": threading.Lock()})
