"""Images through functions that stand for scripts, and what of it is saved."""

import os
from contextlib import ExitStack

import pytest
from PIL import Image

from modules import bounds, image_files, images, shared
from modules.errors import InvalidInput
from modules.job import postprocess
from modules.job.postprocess import PostprocessingSettings, Source, Wanted

pytestmark = pytest.mark.usefixtures("fresh_state")


@pytest.fixture
def settings():
    with ExitStack() as stack:

        def overlaid(**values):
            stack.enter_context(shared.opts.overlay(values))
            return PostprocessingSettings.from_opts(shared.opts)

        yield overlaid


def run(run_scripts, *wanted):
    """What scripts make of the images that are wanted."""
    return postprocess.run(run_scripts, Wanted(*wanted))


def halve(pp):
    pp.info["halved"] = "yes"
    pp.image = pp.image.reduce(2)


def test_images_come_back_with_what_was_done():
    done = run(halve, 1, None, [Image.new("RGB", (8, 6)), Image.new("RGBA", (4, 4))], "", "", True, False)
    assert [image.size for image in done.images] == [(4, 3), (2, 2)]
    assert done.infotext == "halved: yes"
    assert done.images[0].info["postprocessing"] == "halved: yes"


def test_other_modes_become_rgb_before_scripts():
    seen = []
    run(lambda pp: seen.append(pp.image.mode), 0, Image.new("L", (2, 2)), [], "", "", True, False)
    assert seen == ["RGB"]


def test_settings_hold_from_the_start_of_a_run(settings, tmp_path):
    settings(samples_format="png", outdir_samples=str(tmp_path))

    def change(pp):
        settings(samples_format="jpg", outdir_samples="/nowhere", use_original_name_batch=False)

    run(change, 1, None, [str(saved(tmp_path / "in" / "a.png"))], "", "", True, True)
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

    run(describe, 1, None, [str(saved(tmp_path / "in" / "a.png"))], "", "", True, True)
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
    run(halve, mode, Image.open(path), [str(path)], str(path.parent), "", True, True)
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
    run(halve, 1, None, [str(path)], "", "", True, True)
    (name,) = os.listdir(tmp_path / "out")
    found, items = images.read_info_from_image(Image.open(tmp_path / "out" / name))
    assert found.startswith("red apple\nSteps: 20")
    assert SWARM in (items.get(images.ORIGINAL), items.get("exif comment"))


def colours(folder):
    """File name -> colour of its first pixel."""
    return {name: Image.open(folder / name).convert("RGB").getpixel((0, 0)) for name in sorted(os.listdir(folder))}


RED, BLUE = (255, 0, 0), (0, 0, 255)


def two_of_one_name(folder):
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), RED).save(folder / "b.bmp")
    Image.new("RGB", (8, 8), BLUE).save(folder / "b.png")
    return [str(folder / "b.bmp"), str(folder / "b.png")]


@pytest.mark.parametrize("mode", [1, 2])
def test_files_of_one_name_have_a_result_each(settings, tmp_path, mode):
    settings(samples_format="png", outdir_samples=str(tmp_path / "out"))
    files = two_of_one_name(tmp_path / "in")
    run(halve, mode, None, files, str(tmp_path / "in"), "", True, True)
    assert colours(tmp_path / "out") == {"b.png": RED, "b-1.png": BLUE}
    run(halve, mode, None, files[:1], str(tmp_path / "in"), "", True, True)
    assert set(colours(tmp_path / "out")) == {"b.png", "b-1.png"}  # an earlier run's is replaced, as the settings say


@pytest.mark.parametrize("action", ["Replace", "Add number suffix"])
def test_results_never_replace_what_is_worked_on(settings, tmp_path, action):
    settings(samples_format="png", save_images_replace_action=action)
    two_of_one_name(tmp_path)
    run(halve, 2, None, [], str(tmp_path), str(tmp_path), True, True)
    assert colours(tmp_path) == {"b.bmp": RED, "b.png": BLUE, "b-1.png": RED, "b-2.png": BLUE}


def test_texts_of_files_of_one_name_stay_apart(settings, tmp_path):
    settings(samples_format="png", outdir_samples=str(tmp_path / "out"))

    def describe(pp):
        pp.caption = "red" if pp.image.getpixel((0, 0)) == RED else "blue"

    run(describe, 1, None, two_of_one_name(tmp_path / "in"), "", "", True, True)
    assert (tmp_path / "out" / "b.txt").read_text(encoding="utf8") == "red"
    assert (tmp_path / "out" / "b-1.txt").read_text(encoding="utf8") == "blue"


def test_names_with_dots_stay_whole(settings, tmp_path):
    settings(samples_format="png", outdir_samples=str(tmp_path / "out"))
    files = [str(saved(tmp_path / "in" / name)) for name in ("my.cat.png", "my.dog.png")]
    run(halve, 1, None, files, "", "", True, True)
    assert sorted(os.listdir(tmp_path / "out")) == ["my.cat.png", "my.dog.png"]


def palette_with_a_transparent_colour():
    image = Image.new("P", (8, 8))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.info["transparency"] = 0
    return image


@pytest.mark.parametrize("result", ["png", "jpg", "webp", "avif", "gif"])
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_palette_with_a_transparent_colour(settings, tmp_path, mode, result):
    settings(samples_format=result, outdir_samples=str(tmp_path / "out"))
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.png"
    palette_with_a_transparent_colour().save(path)
    done = run(halve, mode, Image.open(path), [str(path)], str(tmp_path / "in"), "", True, True)
    assert [(image.mode, image.getpixel((0, 0))[3]) for image in done.images] == [("RGBA", 0)]
    assert len(os.listdir(tmp_path / "out")) == 1


def damaged(folder):
    """Files that are no images, or end too early, each in its own way; and a good one on both sides."""
    folder.mkdir()
    whole = saved(folder / "a.png").read_bytes()
    noisy = Image.effect_noise((64, 64), 90)
    noisy.save(folder / "whole.jpg")
    files = {
        "b.png": whole[:40],
        "c.png": whole[: len(whole) // 2],
        "d.png": b"",
        "e.jpg": (folder / "whole.jpg").read_bytes()[:700],
        "f.png": b"no image",
        "g.gif": b"GIF89a",
        "h.png": whole[:37] + b"\xff" * 8 + whole[45:],
        "notes.txt": b"no image either",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    os.rename(folder / "whole.jpg", folder / "z.jpg")
    return ["a.png", *files, "z.jpg"]


@pytest.mark.parametrize("mode", [1, 2])
def test_bad_files_are_named_and_all_others_made(settings, tmp_path, mode, caplog):
    settings(samples_format="png", outdir_samples=str(tmp_path / "out"))
    names = damaged(tmp_path / "in")
    paths = [str(tmp_path / "in" / name) for name in names]
    done = run(halve, mode, None, paths, str(tmp_path / "in"), "", True, True)
    assert sorted(os.listdir(tmp_path / "out")) == ["a.png", "z.png"]
    assert [image.size for image in done.images] == [(2, 2), (32, 32)]
    assert [line.split(":")[0] for line in done.left_out] == [
        "b.png",
        "c.png",
        "d.png",
        "e.jpg",
        "f.png",
        "g.gif",
        "h.png",
    ]
    assert "notes.txt is left out" in caplog.text


def test_a_batch_of_nothing_but_bad_files_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InvalidInput, match="not a picture that can be read"):
        run(halve, 1, None, [str(tmp_path / "a.png")], "", "", True, False)


def test_image_on_which_a_script_fails_does_not_end_a_batch():
    def fail(pp):
        if pp.image.width == 4:
            raise RuntimeError("too small")

    sizes = [8, 4, 16]
    done = run(fail, 1, None, [Image.new("RGB", (n, n)) for n in sizes], "", "", True, False)
    assert [image.width for image in done.images] == [8, 16]
    assert done.left_out == ["picture 2: too small"]
    with pytest.raises(RuntimeError, match="too small"):
        run(fail, 1, None, [Image.new("RGB", (4, 4))] * 2, "", "", True, False)
    with pytest.raises(RuntimeError, match="too small"):
        run(fail, 0, Image.new("RGB", (4, 4)), [], "", "", True, False)


def test_a_batch_shows_no_more_than_may_be_held(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(bounds, "SQUARES_IN_ALL", 2)
    settings(api_max_size=4, outdir_samples=str(tmp_path / "out"), use_original_name_batch=True)
    files = [str(saved(tmp_path / "in" / f"{name}.png")) for name in "abc"]
    done = run(lambda pp: None, 1, None, files, "", "", True, True)
    assert len(done.images) == 2
    assert sorted(os.listdir(tmp_path / "out")) == ["a.png", "b.png", "c.png"], "what is not shown is saved"
    assert [line.split(":")[0] for line in done.left_out] == ["c.png"] and "api_max_size" in done.left_out[0]
    assert run(lambda pp: None, 2, None, [], str(tmp_path / "in"), "", False, True).left_out == []


def test_a_batch_shows_no_more_images_than_a_job_may_make(tmp_path, settings):
    settings(api_max_images=2, outdir_samples=str(tmp_path / "out"))
    files = [str(saved(tmp_path / "in" / f"{name}.png")) for name in "abc"]
    with pytest.raises(InvalidInput, match="api_max_images"):
        run(halve, 1, None, files, "", "", True, True)
    assert not (tmp_path / "out").exists()
    run(halve, 2, None, [], str(tmp_path / "in"), "", False, True)
    assert len(os.listdir(tmp_path / "out")) == 3, "what is not shown takes no memory"
