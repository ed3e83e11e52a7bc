import errno
import io
import json
import multiprocessing
import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import piexif
import piexif.helper
import pytest
import sd_parsers
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modules import image_files
from modules.errors import InvalidInput, NotSaved
from modules.image_files import ImageEncoding

TEXT = "añ, 日本 😀\nSteps: 1"


@pytest.fixture
def image():
    return Image.fromarray(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3))


def encoded(image, extension, settings=None, infotext=TEXT):
    file = io.BytesIO()
    image_files.encode_image(image, file, extension, settings or ImageEncoding(), infotext, {"parameters": infotext})
    read = Image.open(io.BytesIO(file.getvalue()))
    read.load()
    return read


@pytest.mark.parametrize("extension", [".jpg", ".jpeg", ".webp", ".avif", ".JPG"])
def test_exif_formats_keep_the_infotext(image, extension):
    assert image_files.user_comment(encoded(image, extension).info["exif"]) == TEXT


def test_png_keeps_text_chunks_and_gif_a_comment(image):
    assert encoded(image, ".png").info["parameters"] == TEXT
    assert encoded(image, ".gif").info["comment"].decode("utf8") == TEXT


def test_a_png_is_packed_at_another_level_and_hardly_larger_than_by_default():
    with Image.open(Path(__file__).parents[1] / "golden/pictures/alwayson_hypertile.png") as generated:
        ours, default = io.BytesIO(), io.BytesIO()
        image_files.encode_image(generated, ours, ".png", ImageEncoding())
        generated.save(default, "PNG")
        assert ours.getvalue() != default.getvalue(), "another level"
        assert len(ours.getvalue()) < 1.03 * len(default.getvalue())
        assert Image.open(ours).tobytes() == generated.tobytes()


def test_nothing_is_embedded_when_switched_off(image):
    settings = ImageEncoding(enable_pnginfo=False)
    assert "parameters" not in encoded(image, ".png", settings).info
    assert "exif" not in encoded(image, ".jpg", settings).info
    assert "comment" not in encoded(image, ".gif", settings).info


def test_quality_and_lossless_settings_reach_the_encoder(image):
    assert np.array_equal(np.asarray(encoded(image, ".webp", ImageEncoding(webp_lossless=True))), np.asarray(image))
    assert not np.array_equal(np.asarray(encoded(image, ".webp")), np.asarray(image))
    low, high = io.BytesIO(), io.BytesIO()
    image_files.encode_image(image, low, ".jpg", ImageEncoding(jpeg_quality=5))
    image_files.encode_image(image, high, ".jpg", ImageEncoding(jpeg_quality=95))
    assert len(low.getvalue()) < len(high.getvalue())


def test_formats_without_text_are_written(image):
    assert encoded(image, ".bmp").format == "BMP"


@pytest.mark.parametrize(
    ("mode", "extension", "expected"),
    [
        ("RGBA", ".jpg", "RGB"),
        ("RGBA", ".webp", "RGB"),
        ("RGBA", ".avif", "RGBA"),
        ("P", ".jpg", "RGB"),
        ("L", ".jpg", "L"),
    ],
)
def test_modes_a_format_cannot_hold_are_converted(image, mode, extension, expected):
    image = image.convert(mode)
    if mode == "RGBA":
        image.putalpha(100)
    assert encoded(image, extension).mode == expected


def test_sixteen_bit_depth_maps_are_scaled():
    depth = Image.fromarray(np.full((8, 8), 65535, dtype=np.uint16))
    assert depth.mode == "I;16"
    assert encoded(depth, ".jpg").getpixel((0, 0)) >= 253
    assert encoded(depth, ".webp").mode == "RGB"


def test_infotext_too_long_for_jpeg_is_left_out(image, caplog):
    assert "exif" not in encoded(image, ".jpg", infotext="x" * 40000).info
    assert "too long for a JPEG" in caplog.text


@pytest.mark.parametrize("extension", [".jpg", ".webp", ".avif"])
@pytest.mark.parametrize("texts", [{}, {"parameters": TEXT}])
def test_the_comment_is_of_the_type_that_other_readers_take(image, extension, texts):
    file = io.BytesIO()
    image_files.encode_image(image, file, extension, ImageEncoding(), "beside" if texts else TEXT, texts)
    file.seek(0)
    exif = piexif.load(Image.open(file).info["exif"])
    assert piexif.helper.UserComment.load(exif["Exif"][piexif.ExifIFD.UserComment]) == TEXT
    assert exif["0th"].get(piexif.ImageIFD.ImageDescription, b"").rstrip(b"\0") == (b"beside" if texts else b"")


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp"])
def test_sd_parsers_reads_what_is_written(image, extension, tmp_path):
    path = tmp_path / f"image{extension}"
    text = "añ, 日本\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 16x16"
    with path.open("wb") as file:
        image_files.encode_image(image, file, extension, ImageEncoding(), text, {"parameters": text})
    found = sd_parsers.ParserManager().parse(path)
    assert [prompt.value for prompt in found.prompts] == ["añ, 日本"]
    assert [(sampler.name, sampler.parameters["seed"]) for sampler in found.samplers] == [("Euler", "1")]


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("extension", [".jpg", ".webp", ".avif"])
def test_exiftool_reads_and_writes_the_comment(image, extension, tmp_path):
    path = tmp_path / f"image{extension}"
    with path.open("wb") as file:
        image_files.encode_image(image, file, extension, ImageEncoding(), "red\nSteps: 1")
    said = subprocess.run(["exiftool", "-j", "-UserComment", path], capture_output=True, check=True).stdout
    assert json.loads(said)[0]["UserComment"].replace("\r", "") in ("red\nSteps: 1", "red.Steps: 1")
    subprocess.run(["exiftool", "-q", "-UserComment=añ, 日本", path], check=True)
    assert image_files.user_comment(Image.open(path).info["exif"]) == "añ, 日本"


def test_a_description_that_makes_jpeg_data_too_long_goes_first(image):
    file = io.BytesIO()
    image_files.encode_image(image, file, ".jpg", ImageEncoding(), "x" * 60000, {"parameters": "y" * 30000})
    exif = Image.open(file).getexif()
    assert image_files.comment_of(exif) == "y" * 30000
    assert image_files.IMAGE_DESCRIPTION not in exif


@pytest.mark.parametrize("description", [None, "", "a", "abc", "abcde", "größer"])
@pytest.mark.parametrize("comment", ["", "a", TEXT, "lone \ud800 half"])
def test_exif_blocks_read_as_they_were_written(comment, description):
    exif = image_files.exif_of(image_files.infotext_exif(comment, description))
    assert image_files.comment_of(exif) == comment.replace("\ud800", "?")
    found = exif.get(image_files.IMAGE_DESCRIPTION, "").encode("latin_1").decode("utf8").rstrip("\0")
    assert found == (description or "")


MARK = b"UNICODE\0"


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode("utf_16_le"),
        TEXT.encode("utf_16_be"),
        b"\xff\xfe" + TEXT.encode("utf_16_le"),
        b"\xfe\xff" + TEXT.encode("utf_16_be"),
        TEXT.encode("utf8"),
        b"\xef\xbb\xbf" + TEXT.encode("utf8"),
        TEXT.encode("utf_16_le") + b"\0\0",
        TEXT.encode("utf8") + b"\0",
    ],
)
def test_unicode_comments_are_read_in_every_form(data, byte_order):
    assert image_files.comment_text(MARK + data, byte_order) == TEXT


def test_a_comment_without_latin_signs_has_the_byte_order_of_its_block():
    assert image_files.comment_text(MARK + "日本語版".encode("utf_16_le"), "<") == "日本語版"
    assert image_files.comment_text(MARK + "日本語版".encode("utf_16_be"), ">") == "日本語版"


def test_a_little_endian_block_as_exiftool_writes_it_is_read(image):
    comment = MARK + TEXT.encode("utf_16_le")
    block = b"Exif\0\0II*\0" + struct.pack("<L", 8)
    block += struct.pack("<HHHLLL", 1, image_files.EXIF_IFD, 4, 1, 26, 0)
    block += struct.pack("<HHHLLL", 1, image_files.USER_COMMENT, 7, len(comment), 44, 0) + comment
    file = io.BytesIO()
    image.save(file, format="JPEG", exif=block)
    assert image_files.user_comment(Image.open(file).info["exif"]) == TEXT


@pytest.mark.filterwarnings("ignore:.*EXIF:UserWarning")
@given(st.binary(max_size=200))
def test_no_exif_block_raises(data):
    assert isinstance(image_files.user_comment(data), str)
    assert isinstance(image_files.user_comment(b"Exif\0\0MM\0*\0\0\0\x08" + data), str)
    assert isinstance(image_files.comment_text(data, "<"), str)


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        (b"ASCII\0\0\0hello", "hello"),
        (b"\0\0\0\0\0\0\0\0caf\xc3\xa9", "café"),
        (b"JIS\0\0\0\0\0" + "日本".encode("shift_jis"), "日本"),
        (b"", ""),
    ],
)
def test_comments_of_other_programs_are_read(comment, expected):
    exif = Image.Exif()
    exif.get_ifd(image_files.EXIF_IFD)[image_files.USER_COMMENT] = comment
    assert image_files.user_comment(exif.tobytes()) == expected


def test_damaged_exif_has_no_comment(caplog):
    assert image_files.user_comment(b"Exif\0\0garbage") == ""
    assert "cannot be read" in caplog.text


def test_unknown_format_is_refused_by_name():
    with pytest.raises(InvalidInput, match="'xyz' is not a picture format") as caught:
        image_files.pillow_format(".xyz")
    assert caught.value.field == "samples_format"


@pytest.mark.parametrize(
    ("size", "extension", "expected"),
    [
        ((65536, 1), "jpg", "png"),
        ((65535, 1), "jpeg", "jpeg"),
        ((1, 16384), "webp", "png"),
        ((16383, 1), "webp", "webp"),
        ((70000, 1), "avif", "avif"),
    ],
)
def test_pictures_too_large_for_a_format_become_png(size, extension, expected):
    assert image_files.fitting_extension(Image.new("1", size), extension) == expected


def test_names_are_cut_between_characters():
    assert image_files.cut_name("a" * 300, ".png") == "a" * 251
    cut = image_files.cut_name("日" * 300, ".jpeg")
    assert cut == "日" * 83 and len(cut.encode()) <= 250


def test_atomic_file_appears_whole(tmp_path):
    path = tmp_path / "sub" / "a.txt"
    with image_files.atomic_file(str(path)) as file:
        file.write(b"hello")
        assert not path.exists()
    assert path.read_bytes() == b"hello"
    assert os.listdir(path.parent) == ["a.txt"]


def test_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), image_files.atomic_file(str(tmp_path / "a.txt")) as file:
        file.write(b"half")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def write_slowly(path, started):
    with image_files.atomic_file(path) as file:
        file.write(b"half")
        file.flush()
        started.set()
        time.sleep(60)


def test_killed_process_leaves_no_file_of_that_name(tmp_path):
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=write_slowly, args=(str(tmp_path / "a.png"), started))
    process.start()
    assert started.wait(60)
    os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.join()
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (errno.ENOSPC, NotSaved, "disk is full"),
        (errno.ENAMETOOLONG, InvalidInput, "samples_filename_pattern"),
        (errno.EACCES, NotSaved, "Permission denied"),
    ],
)
def test_errors_of_the_system_are_explained(tmp_path, code, error, message):
    with pytest.raises(error, match=message), image_files.atomic_file(str(tmp_path / "a.png")):
        raise OSError(code, os.strerror(code))


def test_other_errors_pass():
    with pytest.raises(OSError, match="cannot write mode"), image_files.translated_errors("a"):
        raise OSError("cannot write mode F as JPEG")
