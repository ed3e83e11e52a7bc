import datetime as real_datetime
import json
import multiprocessing
import os
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from modules import image_names, sd_vae, shared
from modules.errors import WebuiError
from modules.image_names import NOTHING_AND_SKIP_PREVIOUS_TEXT, FilenameGenerator
from modules.opts_snapshot import create_opts_snapshot
from modules.styles import PromptStyle

DATA = Path(__file__).parents[1] / "data"
VECTORS = json.loads((DATA / "filename_vectors.json").read_text(encoding="utf8"))
TESTS = json.loads((DATA / "test_vectors.json").read_text(encoding="utf8"))
IMAGE = Image.new("RGB", (4, 2), (1, 2, 3))


class FixedClock(real_datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        utc = cls(2024, 3, 5, 6, 7, 8, tzinfo=real_datetime.UTC)
        return utc.astimezone(tz) if tz else utc.replace(tzinfo=None)


@pytest.fixture
def surroundings(monkeypatch):
    """The clock, model, styles and job time of the golden vectors."""
    monkeypatch.setattr(image_names.datetime, "datetime", FixedClock)
    model = SimpleNamespace(sd_model_hash="ffffffffff", sd_checkpoint_info=SimpleNamespace(name_for_extra="my model"))
    monkeypatch.setattr(shared.model_access, "get", lambda: model)
    monkeypatch.setattr(shared.state, "job_timestamp", "20240101000000")
    monkeypatch.setitem(
        shared.prompt_styles.styles, "StyleA", PromptStyle("StyleA", "{prompt}, oil painting", "", None)
    )
    with shared.opts.overlay({"CLIP_stop_at_last_layers": 2, "directories_max_prompt_words": 8}):
        yield


def job(**changes):
    fields = VECTORS["job"] | {"job_timestamp": "20240101000000"} | changes
    return SimpleNamespace(**fields)


@pytest.mark.parametrize("row", VECTORS["default_job"], ids=lambda row: row["pattern"])
def test_pattern_vectors(surroundings, row):
    names = FilenameGenerator(job(), 8, "a Cat, red hat, oil painting", IMAGE)
    assert names.apply(row["pattern"]) == row["out"]


@pytest.mark.parametrize("row", VECTORS["single image, no styles, no denoising"], ids=lambda row: row["pattern"])
def test_pattern_vectors_of_a_single_image(surroundings, row):
    p = job(batch_size=1, n_iter=1, styles=[], denoising_strength=None)
    assert FilenameGenerator(p, 8, "a cat", IMAGE).apply(row["pattern"]) == row["out"]


@pytest.mark.parametrize("row", VECTORS["empty prompt"], ids=lambda row: row["pattern"])
def test_pattern_vectors_of_an_empty_prompt(surroundings, row):
    assert FilenameGenerator(job(), 8, "", IMAGE).apply(row["pattern"]) == row["out"]


@pytest.mark.parametrize("row", VECTORS["no job object"], ids=lambda row: row["pattern"])
def test_pattern_vectors_without_a_job(surroundings, row):
    assert FilenameGenerator(None, 8, "p", IMAGE).apply(row["pattern"]) == row["out"]


@pytest.mark.parametrize("row", VECTORS["zip mode"], ids=lambda row: row["pattern"])
def test_pattern_vectors_of_an_archive(surroundings, row):
    assert FilenameGenerator(job(), 8, "p", IMAGE, zip=True).apply(row["pattern"]) == row["out"]


def test_characters_a_file_name_cannot_have_are_replaced(surroundings):
    names = FilenameGenerator(job(), 8, 'a:b "c" <d> | e?\nf\\g', IMAGE)
    assert names.apply("[prompt_spaces]") == "a_b _c_ _d_ _ e__f_g"
    assert names.apply("[prompt_words]") == "a b c d e f_g"


@pytest.mark.parametrize("row", TESTS["sanitize"], ids=lambda row: row["in"][:10])
def test_sanitize_vectors(row):
    assert image_names.sanitize_filename_part(row["in"], row["replace_spaces"]) == row["out"]


def test_sanitize_of_nothing():
    assert image_names.sanitize_filename_part(None) is None


def test_samplers_and_schedules(surroundings):
    names = FilenameGenerator(job(scheduler="Automatic"), 8, "p", IMAGE)
    assert names.apply("[sampler_scheduler]|[scheduler]") == "DPM++ 2M Karras|Karras"
    exact = FilenameGenerator(job(scheduler="SGM Uniform"), 8, "p", IMAGE)
    assert exact.apply("[scheduler]") == "Sgm uniform"
    assert FilenameGenerator(job(), 8, "p", IMAGE).apply("x-[scheduler]y") == "y"
    assert image_names.get_sampler_scheduler(job(), True) is NOTHING_AND_SKIP_PREVIOUS_TEXT


def test_vae_name_ends_at_its_first_dot(surroundings, monkeypatch):
    names = FilenameGenerator(job(), 8, "p", IMAGE)
    monkeypatch.setattr(sd_vae, "loaded_vae_file", None, raising=False)
    assert names.get_vae_filename() == "NoneType"
    monkeypatch.setattr(sd_vae, "loaded_vae_file", "/models/VAE/kl.f8.safetensors")
    assert names.get_vae_filename() == "kl"


def test_time_zones_and_formats(surroundings):
    names = FilenameGenerator(job(), 8, "p", IMAGE)
    assert names.apply("[datetime<%H%M><Asia/Tokyo>]") == "1507"
    assert names.apply("[datetime<%H%M><Nowhere/Land>]") == "0607"
    assert names.apply("[datetime<><UTC>]") == "20240305060708"


def test_failing_token_stays_as_it_is(surroundings, monkeypatch, caplog):
    monkeypatch.setitem(FilenameGenerator.replacements, "broken", lambda self: 1 / 0)
    assert FilenameGenerator(job(), 8, "p", IMAGE).apply("a[broken<x>]b") == "a[broken]b"
    assert "Error adding [broken] to filename" in caplog.text


def test_settings_come_from_the_snapshot_of_the_job(surroundings):
    with shared.opts.overlay({"directories_max_prompt_words": 1}):
        snapshot = create_opts_snapshot(shared.opts)
    assert FilenameGenerator(job(opts_snapshot=snapshot), 8, "one two three", IMAGE).apply("[prompt_words]") == "one"
    assert FilenameGenerator(job(opts_snapshot=None), 8, "one two", IMAGE).apply("[prompt_words]") == "one two"


@pytest.mark.parametrize("row", TESTS["next_sequence_number"], ids=lambda row: str(row["files"]))
def test_number_vectors(tmp_path, row):
    for name in row["files"]:
        (tmp_path / name).touch()
    assert image_names.get_next_sequence_number(str(tmp_path), row["basename"]) == row["out"]


def test_folders_have_no_number_and_no_basename_is_an_empty_one(tmp_path):
    (tmp_path / "00004.png").touch()
    (tmp_path / "2024-03-05").mkdir()
    assert image_names.get_next_sequence_number(str(tmp_path), None) == 5
    assert image_names.number_prefix(4, None) == "00004"
    assert image_names.number_prefix(4, "grid") == "grid-0004"


def test_folders_of_a_pattern_are_counted_and_tested_alike(tmp_path):
    """The pattern [date]/[seed] makes a folder for each number; a folder of another kind never stands in the way."""
    for name in ("2024-03-05", "20240305-x", "grid-0002-old"):
        (tmp_path / name).mkdir()
    for expected in range(3):
        with image_names.reserved_number(str(tmp_path), "") as number:
            assert number == expected
            (tmp_path / f"{number:05}-2024-03-05").mkdir()
    with image_names.reserved_number(str(tmp_path), "grid") as number:
        assert number == 3


def take_number(folder):
    with image_names.reserved_number(folder, "") as number:
        Path(folder, f"{number:05}-{os.getpid()}-{threading.get_ident()}.png").touch()


def take_numbers(folder, count):
    for _ in range(count):
        take_number(folder)


def test_threads_and_processes_never_share_a_number(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=take_numbers, args=(str(tmp_path), 15)) for _ in range(2)]
    threads = [threading.Thread(target=take_numbers, args=(str(tmp_path), 15)) for _ in range(4)]
    for worker in processes + threads:
        worker.start()
    for worker in processes + threads:
        worker.join()
    names = sorted(os.listdir(tmp_path))
    assert len(names) == 90
    assert len({name.split("-")[0] for name in names}) == 90


def test_number_taken_while_it_was_reserved_is_not_used(tmp_path, monkeypatch):
    claimed = image_names.claimed

    def claimed_late(path):
        if path.endswith("00000.tmp"):
            (tmp_path / "00000-other.png").touch()
        return claimed(path)

    monkeypatch.setattr(image_names, "claimed", claimed_late)
    with image_names.reserved_number(str(tmp_path), "") as number:
        assert number == 1
    assert os.listdir(tmp_path) == ["00000-other.png"]


def test_no_number_to_be_had_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(image_names, "claimed", lambda path: nullcontext(False))
    with pytest.raises(WebuiError, match="no free number"), image_names.reserved_number(str(tmp_path), ""):
        pass


def test_used_names_get_a_suffix(tmp_path):
    path = str(tmp_path / "a.png")
    with image_names.unused_name(path) as name, image_names.unused_name(path) as other:
        assert (name, other) == (path, str(tmp_path / "a-1.png"))
    Path(path).touch()
    with image_names.unused_name(path) as name:
        assert name == str(tmp_path / "a-1.png")
    assert os.listdir(tmp_path) == ["a.png"]


def test_long_names_are_shortened():
    assert image_names.shorten_filename(f"/out/{'x' * 300}.png") == f"/out/{'x' * 251}.png"
