"""Names of NumPy, Pillow and huggingface_hub that older versions had."""

import numpy
import pytest
from huggingface_hub import constants
from PIL import Image, ImageDraw, ImageFont

from modules import dropped_names


@pytest.fixture(autouse=True)
def installed():
    dropped_names.install()


def test_numpy_has_its_old_names():
    assert [name for name in dropped_names.NUMPY if not hasattr(numpy, name)] == []
    assert numpy.float_ is numpy.float64 and -numpy.inf == numpy.NINF
    assert numpy.in1d([[1, 2], [3, 4]], [2, 3]).tolist() == [False, True, True, False]
    assert numpy.asfarray([1, 2]).dtype == numpy.float64
    assert numpy.product([2, 3]) == 6 and numpy.trapz([0, 2]) == 1


def test_pillow_has_its_old_filters():
    assert Image.ANTIALIAS == Image.LANCZOS and Image.LINEAR == Image.BILINEAR and Image.CUBIC == Image.BICUBIC


@pytest.mark.parametrize("font", [ImageFont.load_default(12), ImageFont.load_default_imagefont()])
def test_sizes_of_texts(font):
    draw = ImageDraw.Draw(Image.new("RGB", (9, 9)))
    left, _, right, bottom = font.getbbox("apple")
    assert font.getsize("apple") == draw.textsize("apple", font) == (right - left, bottom)
    line = font.getsize("A")[1]
    assert draw.textsize("apple\ny", font, spacing=5) == (font.getsize("apple")[0], 2 * line + 5)
    assert draw.textsize("y") == draw.getfont().getsize("y")


def test_an_outline_makes_a_text_larger():
    font = ImageFont.load_default(12)
    (width, height), (wide, high) = font.getsize("apple"), font.getsize("apple", stroke_width=2)
    assert (wide - width, high - height) == (4, 4)


def test_token_of_the_model_hub(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hub" / "token"))
    folder = dropped_names.HfFolder
    assert folder.get_token() is None
    folder.save_token("secret")
    assert folder.get_token() == "secret"
    folder.delete_token()
    folder.delete_token()
    assert folder.get_token() is None
