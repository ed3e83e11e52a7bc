import errno
import io
import json
import os
import re
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from modules import image_files, images, run_files, script_callbacks, shared, whole_files
from modules.errors import InvalidInput, NotSaved
from modules.images import GridAnnotation
from modules.opts_snapshot import create_opts_snapshot
from modules.upscaler import UpscalerLanczos, UpscalerNearest, UpscalerNone

GOLDEN = Path(__file__).parents[1] / "golden" / "inputs"
INFO = "red apple\nSteps: 20, Sampler: Euler a, Seed: 5"


def opened(file):
    """A picture read to its end and closed."""
    with Image.open(file) as image:
        image.load()
    return image


@pytest.fixture
def face():
    return opened(GOLDEN / "face128.png").convert("RGB")


@pytest.fixture
def upscalers():
    before = shared.sd_upscalers[:]
    shared.sd_upscalers[:] = [cls().scalers[0] for cls in (UpscalerNone, UpscalerLanczos, UpscalerNearest)]
    yield
    shared.sd_upscalers[:] = before


@pytest.fixture
def hooks():
    """Removes the callbacks that a test adds."""
    added = []
    yield added.append
    for callback in added:
        script_callbacks.remove_callbacks_for_function(callback)


def with_settings(**values):
    """A job whose snapshot has these settings."""
    with shared.opts.overlay({"save_to_dirs": False, **values}):
        return SimpleNamespace(opts_snapshot=create_opts_snapshot(shared.opts))


def names_in(folder):
    return sorted(os.listdir(folder))


def save(image, folder, p=None, **kwargs):
    arguments = {"basename": "", "seed": 5, "prompt": "a cat", "info": INFO, "p": p or with_settings()} | kwargs
    return images.save_image(image, str(folder), **arguments)


def test_saved_picture_carries_its_infotext(face, tmp_path):
    path, text = save(face, tmp_path)
    assert text is None
    assert names_in(tmp_path) == ["00000-5-a cat.png"]
    saved = opened(path)
    assert images.read_info_from_image(saved)[0] == INFO
    assert np.array_equal(np.asarray(saved), np.asarray(face))
    assert face.already_saved_as == path


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "webp", "avif", "gif", "png"])
def test_every_format_gives_its_infotext_back(face, tmp_path, extension):
    path, _ = save(face, tmp_path, extension=extension)
    assert path.endswith(f".{extension}")
    assert images.read_info_from_image(opened(path))[0] == INFO


def test_numbers_go_up_and_basenames_count_for_themselves(face, tmp_path):
    for _ in range(2):
        save(face, tmp_path)
    save(face, tmp_path, basename="grid", short_filename=True)
    save(face, tmp_path, short_filename=True, suffix="-mask")
    assert names_in(tmp_path) == ["00000-5-a cat.png", "00001-5-a cat.png", "00002--mask.png", "grid-0000.png"]


def test_pattern_without_number_overwrites_or_gets_a_suffix(face, tmp_path):
    p = with_settings(save_images_add_number=False, samples_filename_pattern="[seed]")
    save(face, tmp_path, p)
    save(Image.new("RGB", (8, 8)), tmp_path, p)
    assert names_in(tmp_path) == ["5.png"]
    assert opened(tmp_path / "5.png").size == (8, 8)

    p = with_settings(
        save_images_add_number=False,
        samples_filename_pattern="[seed]",
        save_images_replace_action="Add number suffix",
    )
    save(face, tmp_path, p)
    save(face, tmp_path, p)
    assert names_in(tmp_path) == ["5-1.png", "5-2.png", "5.png"]


def test_empty_decoration_always_has_a_number(face, tmp_path):
    save(face, tmp_path, with_settings(save_images_add_number=False), seed=None)
    assert names_in(tmp_path) == ["00000.png"]


def test_subfolders_follow_pattern_grid_and_argument(face, tmp_path):
    today = datetime.now().strftime("%Y-%m-%d")
    p = with_settings(save_to_dirs=True, grid_save_to_dirs=False)
    assert save(face, tmp_path, p)[0] == str(tmp_path / today / "00000-5.png")
    assert save(face, tmp_path, p, grid=True)[0] == str(tmp_path / "00000-5.png")
    assert save(face, tmp_path, p, no_prompt=True)[0] == str(tmp_path / "00001-5.png")
    assert save(face, tmp_path, p, grid=True, save_to_dirs=True)[0] == str(tmp_path / today / "00001-5.png")
    p = with_settings(save_to_dirs=True, directories_filename_pattern="")
    assert save(face, tmp_path, p, prompt="a red cat")[0] == str(tmp_path / "a red cat" / "00000-5.png")


def test_folders_in_a_filename_pattern_are_made(face, tmp_path):
    p = with_settings(samples_filename_pattern="[seed]/x", save_images_add_number=False)
    assert save(face, tmp_path, p)[0] == str(tmp_path / "5" / "x.png")


def test_forced_name_is_taken_as_it_is(face, tmp_path):
    save(face, tmp_path, basename=None, forced_filename="0123abc", seed=None, prompt=None)
    assert names_in(tmp_path) == ["0123abc.png"]


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        ({"samples_filename_pattern": "../../x", "save_images_add_number": False}, "samples_filename_pattern"),
        ({"samples_filename_pattern": "a\0b"}, "samples_filename_pattern"),
        ({"directories_filename_pattern": "..", "save_to_dirs": True}, "directories_filename_pattern"),
        ({"samples_filename_pattern": "x" * 300 + "/[seed]"}, "samples_filename_pattern"),
        ({"directories_filename_pattern": "\ud800", "save_to_dirs": True}, "surrogates"),
    ],
)
def test_an_image_whose_name_cannot_be_used_gets_its_number(face, tmp_path, caplog, values, setting):
    p = with_settings(**values)
    p.comments = []
    p.comment = p.comments.append
    folder = tmp_path / "out"
    paths = [save(face, folder, p)[0] for _ in range(2)]
    assert names_in(folder) == ["00000.png", "00001.png"]
    assert paths == [str(folder / name) for name in names_in(folder)]
    assert setting in caplog.text
    assert setting in p.comments[0]
    assert names_in(tmp_path) == ["out"]


def test_a_folder_that_is_a_file_and_a_file_that_is_a_folder(face, tmp_path):
    (tmp_path / "sub").touch()
    save(face, tmp_path, with_settings(directories_filename_pattern="sub", save_to_dirs=True))
    (tmp_path / "taken.png").mkdir()
    save(face, tmp_path, forced_filename="taken")
    assert [name for name in names_in(tmp_path) if name.startswith("0000")] == ["00000.png", "00001.png"]


def test_every_image_of_a_pattern_with_folders_is_saved(face, tmp_path):
    p = with_settings(samples_filename_pattern="[date]/[seed]")
    paths = [save(face, tmp_path, p)[0] for _ in range(3)]
    assert len(set(paths)) == 3
    assert sorted(name.split("-")[0] for name in names_in(tmp_path)) == ["00000", "00001", "00002"]
    assert all(opened(path).size == face.size for path in paths)


def test_unknown_format_is_refused_before_anything_is_written(face, tmp_path):
    with pytest.raises(InvalidInput, match="not a picture format"):
        save(face, tmp_path / "out", extension="xyz")
    assert not (tmp_path / "out").exists()


def test_settings_of_the_snapshot_hold_whatever_is_set_meanwhile(face, tmp_path, settings):
    p = with_settings(enable_pnginfo=False, save_txt=True)
    settings(save_txt=False)
    path, text = save(face, tmp_path, p)
    assert images.read_info_from_image(opened(path))[0] is None
    assert Path(text).read_text(encoding="utf8") == INFO + "\n"


def test_existing_chunks_are_kept_beside_the_new_one(face, tmp_path):
    path, _ = save(face, tmp_path, existing_info={"parameters": "old"}, pnginfo_section_name="extras", info="new")
    assert opened(path).text == {"parameters": "old", "extras": "new"}


def test_callbacks_may_change_picture_name_and_text(face, tmp_path, hooks):
    saved = []

    def change(params):
        params.image = params.image.resize((16, 16))
        params.filename = str(tmp_path / "elsewhere" / "x.webp")
        params.pnginfo["parameters"] = "changed"

    script_callbacks.on_before_image_saved(change)
    hooks(change)
    script_callbacks.on_image_saved(saved.append)
    hooks(saved.append)
    path, _ = save(face, tmp_path)
    assert path == str(tmp_path / "elsewhere" / "x.webp")
    image = opened(path)
    assert image.size == (16, 16)
    assert images.read_info_from_image(image)[0] == "changed"
    assert names_in(tmp_path) == ["elsewhere"]


def test_large_pictures_get_a_small_copy(face, tmp_path):
    save(face, tmp_path, with_settings(target_side_length=64))
    assert names_in(tmp_path) == ["00000-5-a cat.jpg", "00000-5-a cat.png"]
    copy = opened(tmp_path / "00000-5-a cat.jpg")
    assert copy.size == (64, 64)
    assert images.read_info_from_image(copy)[0] == INFO


def test_large_files_get_a_copy_of_their_own_size(face, tmp_path):
    save(face, tmp_path, with_settings(img_downscale_threshold=0.001))
    assert opened(tmp_path / "00000-5-a cat.jpg").size == face.size


@pytest.mark.parametrize("values", [{"export_for_4chan": False, "target_side_length": 8}, {}])
def test_no_copy_when_off_or_small(face, tmp_path, values):
    save(face, tmp_path, with_settings(**values))
    assert names_in(tmp_path) == ["00000-5-a cat.png"]


def test_copy_never_replaces_the_picture(face, tmp_path):
    path, _ = save(face, tmp_path, with_settings(target_side_length=8), extension="jpg")
    assert opened(path).size == face.size


def test_full_disk_leaves_no_file_and_no_reservation(face, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_files.os, "replace", fail)
    with pytest.raises(Exception, match="the disk is full"):
        save(face, tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("values", [{}, {"save_images_add_number": False}])
def test_a_folder_that_is_closed_to_the_program_is_named(face, tmp_path, monkeypatch, values):
    def refuse(path, mode):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(whole_files, "open", refuse, raising=False)
    with pytest.raises(NotSaved, match=f"{re.escape(str(tmp_path))}.*: Read-only.*choose another folder"):
        save(face, tmp_path, with_settings(**values))


def test_sent_pictures_carry_their_texts(face):
    face.info = {"parameters": INFO, "postprocessing": "x", "dpi": (72, 72)}
    sent = opened(io.BytesIO(images.encode(face, "png", INFO)))
    assert sent.text == {"parameters": INFO, "postprocessing": "x"}
    assert images.read_info_from_image(opened(io.BytesIO(images.encode(face, "webp", INFO))))[0] == INFO


def test_grid_uses_settings_and_lets_callbacks_rearrange(settings, hooks):
    settings(n_rows=1)
    cells = [Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4)), Image.new("RGB", (2, 2))]
    assert images.image_grid(cells).size == (12, 4)
    assert images.image_grid(cells, rows=3).size == (4, 12)

    def rearrange(params):
        params.rows, params.cols = 3, 1

    script_callbacks.on_image_grid(rearrange)
    hooks(rearrange)
    assert images.image_grid(cells).size == (4, 12)


def test_grid_of_a_job_uses_its_own_settings(settings):
    with shared.opts.overlay({"n_rows": 2}):
        snapshot = create_opts_snapshot(shared.opts)
    settings(n_rows=1)
    assert images.image_grid([Image.new("RGB", (4, 4))] * 2, options=snapshot).size == (4, 8)


def test_annotations_use_colours_and_font_of_the_settings(settings, caplog):
    settings(grid_background_color="#00ff00", font="/nowhere.ttf")
    grid = images.draw_grid_annotations(
        Image.new("RGB", (64, 64)), 64, 64, [[GridAnnotation("text")]], [[GridAnnotation("")]]
    )
    assert grid.getpixel((0, 0)) == (0, 255, 0)
    assert "/nowhere.ttf" in caplog.text
    matrix = images.draw_prompt_matrix(Image.new("RGB", (128, 64)), 64, 64, ["always", "sometimes"])
    assert matrix.width == 128 and matrix.height > 64


def test_resizing_uses_the_named_upscaler_only_to_enlarge(upscalers):
    checks = Image.fromarray(np.tile(np.array([[0, 255], [255, 0]], dtype=np.uint8), (4, 4))).convert("RGB")
    nearest = images.resize_image(0, checks, 16, 16, upscaler_name="Nearest")
    assert set(np.unique(np.asarray(nearest))) == {0, 255}
    assert len(np.unique(np.asarray(images.resize_image(0, checks, 16, 16)))) > 2
    reduced = images.resize_image(0, checks, 4, 4, upscaler_name="Nearest")
    assert np.array_equal(np.asarray(reduced), np.asarray(checks.resize((4, 4), images.LANCZOS)))
    assert images.resize_image(0, checks, 17, 13, upscaler_name="Nearest").size == (17, 13)


def test_resizing_falls_back_to_setting_and_to_the_first_upscaler(upscalers, settings, caplog):
    settings(upscaler_for_img2img="Nearest")
    checks = Image.fromarray(np.tile(np.array([[0, 255], [255, 0]], dtype=np.uint8), (4, 4))).convert("RGB")
    assert set(np.unique(np.asarray(images.resize_image(0, checks, 16, 16)))) == {0, 255}
    grey = images.resize_image(0, checks.convert("L"), 16, 16)
    assert len(np.unique(np.asarray(grey))) > 2
    assert images.resize_image(0, checks, 16, 16, upscaler_name="Nope").size == (16, 16)
    assert "'Nope'" in caplog.text


def test_info_of_the_golden_picture_with_parameters():
    geninfo, items = images.read_info_from_image(opened(GOLDEN / "with-parameters.png"))
    assert "Steps: " in geninfo
    assert "parameters" not in items


def test_exif_comment_wins_over_png_text():
    image = Image.new("RGB", (4, 4))
    image.info = {"parameters": "png", "exif": image_files.infotext_exif("exif"), "dpi": (1, 1)}
    assert images.read_info_from_image(image) == ("exif", {"exif comment": "exif"})
    image.info = {"comment": b"gif \xff"}
    assert images.read_info_from_image(image)[0] == "gif "
    image.info = {"comment": "text"}
    assert images.read_info_from_image(image)[0] == "text"


def test_novelai_pictures_are_understood(caplog):
    image = Image.new("RGB", (64, 32))
    comment = {"steps": 28, "sampler": "k_euler", "scale": 11.0, "seed": 7, "uc": "bad"}
    image.info = {"Software": "NovelAI", "Description": "a cat", "Comment": json.dumps(comment)}
    assert images.read_info_from_image(image)[0] == (
        "a cat\nNegative prompt: bad\n"
        "Steps: 28, Sampler: Euler, CFG scale: 11.0, Seed: 7, Size: 64x32, Clip skip: 2, ENSD: 31337"
    )
    image.info["Comment"] = "{}"
    assert images.read_info_from_image(image)[0] is None
    assert "NovelAI" in caplog.text


def test_caller_is_told_of_every_file(face, tmp_path):
    saved = save(face, tmp_path, with_settings(save_txt=True, target_side_length=100))
    path, text = saved
    assert saved == (path, text)
    assert [os.path.basename(name) for name in saved.all] == [
        "00000-5-a cat.png",
        "00000-5-a cat.jpg",
        "00000-5-a cat.txt",
    ]
    assert sorted(saved.all) == sorted(str(tmp_path / name) for name in names_in(tmp_path))
    alone = save(face, tmp_path, with_settings(export_for_4chan=False))
    assert alone[1] is None
    assert alone.all == (alone[0],)


def test_settings_of_saving_come_from_a_snapshot_too():
    with shared.opts.overlay({"jpeg_quality": 7, "save_to_dirs": False, "grid_save_to_dirs": True}):
        snapshot = create_opts_snapshot(shared.opts)
    settings = images.SaveSettings.from_opts(snapshot)
    assert settings.encoder.jpeg_quality == 7
    assert settings.name_pattern() == "[seed]-[prompt_spaces]"
    assert [settings.uses_subfolder(grid, False) for grid in (False, True)] == [False, True]
    assert images.SaveSettings.from_opts(shared.opts).encoder == image_files.ImageEncoding()
    assert images.SaveSettings.from_opts(shared.opts).name_pattern() == "[seed]"
    assert not images.SaveSettings.from_opts(shared.opts).uses_subfolder(False, True)


def test_flatten_and_read():
    rgba = images.read(GOLDEN / "face128-rgba.png")
    assert rgba.mode == "RGBA"
    assert images.flatten(rgba, "#ffffff").mode == "RGB"


def test_names_extensions_import_are_there():
    for name in ("Grid", "split_grid", "combine_grid", "FilenameGenerator", "sanitize_filename_part", "LANCZOS"):
        assert hasattr(images, name)
    assert images.max_filename_part_length == 128


def test_results_of_one_run_never_replace_one_another(tmp_path, face):
    values = {"save_images_add_number": False, "samples_filename_pattern": "same", "save_to_dirs": False}
    with shared.opts.overlay(values | {"save_images_replace_action": "Replace"}):
        for _ in range(2):
            with run_files.one_run():
                for seed in range(3):
                    images.save_image(face, str(tmp_path), "", seed, "apple")
    assert sorted(os.listdir(tmp_path)) == ["same-1.png", "same-2.png", "same.png"]


def test_folders_in_a_pattern_are_made_for_names_with_a_suffix_too(tmp_path, face):
    values = {"save_images_add_number": False, "samples_filename_pattern": "sub/same", "save_to_dirs": False}
    with shared.opts.overlay(values | {"save_images_replace_action": "Add number suffix"}):
        paths = [images.save_image(face, str(tmp_path), "", 1, "apple")[0] for _ in range(2)]
    assert paths == [str(tmp_path / "sub" / name) for name in ("same.png", "same-1.png")]


def test_text_beside_an_image_is_that_of_the_image(tmp_path, face):
    with shared.opts.overlay({"save_txt": True, "save_to_dirs": False}), run_files.one_run():
        for extension in ("png", "webp"):
            images.save_image(face, str(tmp_path), "", extension=extension, info=extension, forced_filename="x")
    assert sorted(os.listdir(tmp_path)) == ["x-1.txt", "x-1.webp", "x.png", "x.txt"]
    assert (tmp_path / "x-1.txt").read_text(encoding="utf8") == "webp\n"


def test_small_copy_never_replaces_a_result_of_its_run(tmp_path, face):
    values = {"export_for_4chan": True, "target_side_length": 16, "save_to_dirs": False}
    with shared.opts.overlay(values), run_files.one_run():
        images.save_image(face, str(tmp_path), "", extension="jpg", forced_filename="x")
        images.save_image(face, str(tmp_path), "", extension="png", forced_filename="x")
    assert {name: Image.open(tmp_path / name).size for name in os.listdir(tmp_path)} == {
        "x.jpg": face.size,
        "x.png": face.size,
        "x-1.jpg": (16, 16),
    }


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n", b"BM" + b"\xff" * 60, b"GIF89a\1"])
def test_damaged_image_is_an_os_error(data):
    with pytest.raises(OSError):
        images.read(io.BytesIO(data))
