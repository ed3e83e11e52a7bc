import os
import subprocess
import sys
from pathlib import Path

import pytest
from gradio import processing_utils
from gradio import utils as gradio_utils
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from modules import patches, paths_internal, shared, ui_tempdir


@pytest.fixture
def temp_dir(tmp_path):
    """The setting temp_dir for one test."""
    before = shared.opts.data.get("temp_dir")
    shared.opts.data["temp_dir"] = str(tmp_path / "tmp")
    yield tmp_path / "tmp"
    shared.opts.data["temp_dir"] = before or ""


def picture(**info):
    image = Image.new("RGB", (4, 3), "red")
    image.info.update(info)
    return image


def test_saved_picture_is_shown_from_where_it_is(tmp_path):
    path = tmp_path / "00001-1.png"
    image = picture()
    image.save(path)
    image.already_saved_as = str(path)
    assert ui_tempdir.save_pil_to_file(image, str(tmp_path / "cache")) == str(path)
    assert gradio_utils.is_static_file(str(path))
    assert not (tmp_path / "cache").exists()


def test_other_pictures_become_png_with_their_infotext(tmp_path):
    path = ui_tempdir.save_pil_to_file(picture(parameters="Steps: 20"), str(tmp_path), format="webp")
    assert path.startswith(str(tmp_path)) and path.endswith(".png")
    assert Image.open(path).info["parameters"] == "Steps: 20"


def test_picture_whose_file_is_gone_is_written_anew(tmp_path):
    image = picture()
    image.already_saved_as = str(tmp_path / "gone.png")
    assert ui_tempdir.save_pil_to_file(image, str(tmp_path)) != image.already_saved_as


def test_an_image_that_is_shown_again_is_not_written_again(tmp_path):
    """A browser may be reading it."""
    path = ui_tempdir.save_pil_to_file(picture(parameters="Steps: 20"), str(tmp_path))
    before = os.stat(path)
    assert ui_tempdir.save_pil_to_file(picture(parameters="Steps: 20"), str(tmp_path)) == path
    after = os.stat(path)
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_only_pictures_are_registered(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("{}")
    ui_tempdir.register_tmp_file(None, str(path))
    assert not gradio_utils.is_static_file(str(path))


def test_override_is_installed_once(program):
    ui_tempdir.install_ui_tempdir_override()
    patches.undo(ui_tempdir.__name__, processing_utils, "save_pil_to_cache")
    assert processing_utils.save_pil_to_cache is ui_tempdir.original_save_pil_to_cache
    ui_tempdir.install_ui_tempdir_override()
    assert processing_utils.save_pil_to_cache is ui_tempdir.save_pil_to_file
    ui_tempdir.install_ui_tempdir_override()
    assert processing_utils.save_pil_to_cache is ui_tempdir.save_pil_to_file


def test_temp_dir_of_the_settings(temp_dir):
    ui_tempdir.on_tmpdir_changed()
    assert temp_dir.is_dir()
    path = ui_tempdir.save_pil_to_file(picture(), "elsewhere")
    assert path.startswith(str(temp_dir)) and ui_tempdir.is_gradio_temp_path(path)
    assert ui_tempdir.check_tmp_file(None, path)
    (temp_dir / "keep.txt").write_text("x")
    assert not ui_tempdir.check_tmp_file(None, str(temp_dir / "keep.txt"))
    ui_tempdir.cleanup_tmpdr()
    assert not os.path.exists(path) and (temp_dir / "keep.txt").exists()


def test_without_temp_dir_nothing_is_removed(tmp_path):
    assert not shared.opts.temp_dir
    ui_tempdir.cleanup_tmpdr()
    ui_tempdir.on_tmpdir_changed()
    assert ui_tempdir.is_gradio_temp_path(os.path.join(gradio_utils.get_upload_folder(), "a", "b.png"))
    assert not ui_tempdir.is_gradio_temp_path(str(tmp_path / "b.png"))


def test_png_text_of_the_page_survives(tmp_path):
    info = PngInfo()
    info.add_text("parameters", "Seed: 1")
    path = tmp_path / "in.png"
    picture().save(path, pnginfo=info)
    again = ui_tempdir.save_pil_to_file(Image.open(path), str(tmp_path / "cache"))
    assert Image.open(again).info["parameters"] == "Seed: 1"


RUN = """
import sys, time
folder, how = sys.argv.pop(), sys.argv.pop()
import os
os.environ["GRADIO_TEMP_DIR"] = folder
from modules import ui_tempdir
own = ui_tempdir.use_own_folder()
assert ui_tempdir.use_own_folder() == own
open(os.path.join(own, "upload.bin"), "w").close()
print(own, flush=True)
time.sleep(60 if how == "stay" else 0)
"""


def run_of_the_page(folder, how):
    """Another program with a page; returns it and the folder of its uploads."""
    command = [sys.executable, "-c", RUN, how, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=paths_internal.script_path, text=True)
    return process, Path(process.stdout.readline().strip())


def test_uploads_go_with_the_program(tmp_path):
    process, own = run_of_the_page(tmp_path, "end")
    assert own.parent == tmp_path
    assert process.wait() == 0
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_uploads_of_a_killed_program_go_at_the_next_start(tmp_path):
    process, own = run_of_the_page(tmp_path, "stay")
    (tmp_path / "webui-page-without-lock").mkdir()
    (tmp_path / "other").mkdir()
    os.utime(own, (0, 0))
    try:
        assert ui_tempdir.remove_left_folders(str(tmp_path)) == []
        assert (own / "upload.bin").exists()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert ui_tempdir.remove_left_folders(str(tmp_path)) == [str(own)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "webui-page-without-lock"]
