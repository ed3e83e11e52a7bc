import errno
import io
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from PIL import Image

from modules import image_files
from modules.errors import InvalidInput, WebuiError
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


def test_a_name_is_claimed_once(tmp_path):
    assert image_files.claim(str(tmp_path / "a"))
    assert not image_files.claim(str(tmp_path / "a"))


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
        (errno.ENOSPC, WebuiError, "disk is full"),
        (errno.ENAMETOOLONG, InvalidInput, "samples_filename_pattern"),
        (errno.EACCES, WebuiError, "Permission denied"),
    ],
)
def test_errors_of_the_system_are_explained(tmp_path, code, error, message):
    with pytest.raises(error, match=message), image_files.atomic_file(str(tmp_path / "a.png")):
        raise OSError(code, os.strerror(code))


def test_other_errors_pass():
    with pytest.raises(OSError, match="cannot write mode"), image_files.translated_errors("a"):
        raise OSError("cannot write mode F as JPEG")
