"""Images through functions that stand for scripts, and what of it is saved."""

import os
from contextlib import ExitStack

import pytest
from PIL import Image

from modules import image_files, images, shared
from modules.errors import InvalidInput
from modules.job import postprocess
from modules.job.postprocess import PostprocessingSettings, Source

pytestmark = pytest.mark.usefixtures("fresh_state")


@pytest.fixture
def settings():
    with ExitStack() as stack:

        def overlaid(**values):
            stack.enter_context(shared.opts.overlay(values))
            return PostprocessingSettings.from_opts(shared.opts)

        yield overlaid


def halve(pp):
    pp.info["halved"] = "yes"
    pp.image = pp.image.reduce(2)


def test_images_come_back_with_what_was_done():
    done = postprocess.run(halve, 1, None, [Image.new("RGB", (8, 6)), Image.new("RGBA", (4, 4))], "", "", True, False)
    assert [image.size for image in done.images] == [(4, 3), (2, 2)]
    assert done.infotext == "halved: yes"
    assert done.images[0].info["postprocessing"] == "halved: yes"


def test_other_modes_become_rgb_before_scripts():
    seen = []
    postprocess.run(lambda pp: seen.append(pp.image.mode), 0, Image.new("L", (2, 2)), [], "", "", True, False)
    assert seen == ["RGB"]


def test_settings_hold_from_the_start_of_a_run(settings, tmp_path):
    settings(samples_format="png", outdir_samples=str(tmp_path))

    def change(pp):
        settings(samples_format="jpg", outdir_samples="/nowhere", use_original_name_batch=False)

    postprocess.run(change, 1, None, [str(saved(tmp_path / "in" / "a.png"))], "", "", True, True)
    assert sorted(os.listdir(tmp_path)) == ["a.png", "in"]


def saved(path):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)
    return path


def test_directory_is_read_in_natural_order(tmp_path):
    for name in ("p10.png", "p9.png"):
        saved(tmp_path / name)
    found = postprocess.find_images(2, None, [], str(tmp_path))
    assert found == [Source(str(tmp_path / name), str(tmp_path / name)) for name in ("p9.png", "p10.png")]


@pytest.mark.parametrize("image", [None, ""])
def test_no_image_is_refused(image):
    with pytest.raises(InvalidInput, match="image not selected") as caught:
        postprocess.find_images(0, image, [], "")
    assert caught.value.field == "image"


@pytest.mark.parametrize(
    ("mode", "given", "common", "expected"),
    [(2, "out", "all", "out"), (2, "", "all", "all"), (0, "out", "all", "all"), (0, "", "", "extras")],
)
def test_output_folder(settings, mode, given, common, expected):
    values = settings(outdir_samples=common, outdir_extras_samples="extras")
    assert postprocess.output_folder(mode, given, values) == expected


@pytest.mark.parametrize(
    ("action", "expected"),
    [("Ignore", "new"), ("Keep", "old"), ("Prepend", "old new"), ("Append", "new old")],
)
def test_captions_join_as_asked(tmp_path, action, expected):
    path = tmp_path / "a.txt"
    path.write_text("old\n", encoding="utf8")
    postprocess.save_caption(str(path), "new", action)
    assert path.read_text(encoding="utf8") == expected
    postprocess.save_caption(str(tmp_path / "fresh.txt"), " new ", action)
    assert (tmp_path / "fresh.txt").read_text(encoding="utf8") == "new"


def test_caption_is_written_as_the_setting_says(settings, tmp_path):
    settings(outdir_samples=str(tmp_path), postprocessing_existing_caption_action="Append")
    (tmp_path / "a.txt").write_text("old", encoding="utf8")

    def describe(pp):
        pp.caption = "new"

    postprocess.run(describe, 1, None, [str(saved(tmp_path / "in" / "a.png"))], "", "", True, True)
    assert (tmp_path / "a.txt").read_text(encoding="utf8") == "new old"


def test_progress_is_shown(monkeypatch):
    names = []
    monkeypatch.setattr(shared.state, "job_no", 0)
    image = Image.new("RGB", (2, 2))
    settings = PostprocessingSettings.from_opts(shared.opts)
    sources = [Source(image, "one"), Source(image, "two")]
    postprocess.process_images(sources, lambda pp: names.append(shared.state.textinfo), None, True, settings)
    assert names == ["one", "two"]
    assert (shared.state.job_count, shared.state.job_no) == (2, 2)


TEXT = "red apple\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 8x8"
SWARM = '{"sui_image_params": {"prompt": "red apple", "steps": 20, "seed": 1}}'


def with_text(path, text):
    """Writes an image that says `text`, in the format of its name."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        settings = image_files.ImageEncoding()
        image_files.encode_image(Image.new("RGB", (8, 8)), file, path.suffix, settings, text, {"parameters": text})
    return path


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("source", ["png", "jpg", "webp", "avif"])
@pytest.mark.parametrize("result", ["png", "jpg", "webp", "avif", "gif"])
def test_parameters_are_kept_from_every_format_to_every_format(settings, tmp_path, mode, source, result):
    settings(samples_format=result, outdir_samples=str(tmp_path / "out"))
    path = with_text(tmp_path / "in" / f"a.{source}", TEXT)
    postprocess.run(halve, mode, Image.open(path), [str(path)], str(path.parent), "", True, True)
    (name,) = os.listdir(tmp_path / "out")
    found, items = images.read_info_from_image(Image.open(tmp_path / "out" / name))
    assert name.endswith(result)
    assert found == TEXT
    if result != "gif":
        assert "halved: yes" in (items.get("extras"), items.get("exif description"))


@pytest.mark.parametrize("source", ["png", "jpg"])
@pytest.mark.parametrize("result", ["png", "webp"])
def test_words_of_other_programs_are_kept_as_they_wrote_them(settings, tmp_path, source, result):
    settings(samples_format=result, outdir_samples=str(tmp_path / "out"))
    path = with_text(tmp_path / "in" / f"a.{source}", SWARM)
    postprocess.run(halve, 1, None, [str(path)], "", "", True, True)
    (name,) = os.listdir(tmp_path / "out")
    found, items = images.read_info_from_image(Image.open(tmp_path / "out" / name))
    assert found.startswith("red apple\nSteps: 20")
    assert SWARM in (items.get(images.ORIGINAL), items.get("exif comment"))
