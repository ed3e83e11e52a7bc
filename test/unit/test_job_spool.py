"""The folder of images that were not saved: written whole, cleared by its own rule."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from modules.job.spool import DAY, MEGABYTE, Spool


@pytest.fixture
def opts():
    return SimpleNamespace(jobs_spool_size=0, jobs_spool_days=0)


@pytest.fixture
def spool(tmp_path, opts):
    return Spool(str(tmp_path / "files"), opts)


def test_files_are_written_read_and_removed(spool):
    path = spool.put(7, "0.png", b"image")
    assert os.path.basename(path) == "0.png" and spool.read(7, "0.png") == b"image"
    assert spool.read(7, "1.png") is None and spool.read(8, "0.png") is None
    assert spool.numbers() == [7] and spool.size() == 5
    spool.put(7, "request.json", b"{}")
    spool.put(10, "0.png", b"more")
    assert spool.size() == 11 and Spool(spool.folder, spool._opts).size() == 11
    spool.remove(7)
    assert spool.numbers() == [10] and spool.size() == 4


def test_files_that_a_job_works_on_are_kept_as_they_are(spool, tmp_path, monkeypatch):
    file = tmp_path / "cat.jpg"
    file.write_bytes(b"a cat")
    assert spool.size() == 0
    linked = spool.keep(7, "uploads/0/cat.jpg", str(file))

    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    copied = spool.keep(7, "uploads/1/cat.jpg", str(file))
    file.unlink()
    assert [Path(path).read_bytes() for path in (linked, copied)] == [b"a cat"] * 2
    spool.put(7, "0.png", b"lost")
    spool.tidy(7, keep=["uploads"])
    assert spool.read(7, "0.png") is None and spool.path(7, "uploads/0/cat.jpg") == linked
    assert Spool(spool.folder, spool._opts).size() == 10
    spool.remove(7)
    assert spool.numbers() == []


def test_without_limits_nothing_goes(spool):
    spool.put(1, "0.png", b"x" * 2 * MEGABYTE)
    assert spool.clear() == []


def test_the_oldest_goes_until_the_rest_fits(spool, opts):
    for number in (9, 10, 11, 12):
        spool.put(number, "0.png", b"x" * (MEGABYTE // 2))
    opts.jobs_spool_size = 1
    assert spool.clear(keep=[9]) == [10, 11]
    assert spool.numbers() == [9, 12]


def test_what_is_older_than_the_days_goes(spool, opts):
    for number in (1, 2, 3):
        spool.put(number, "0.png", b"x")
    long_ago = time.time() - 3 * DAY
    for number in (1, 2):
        os.utime(os.path.join(spool.folder, str(number)), (long_ago, long_ago))
    opts.jobs_spool_days = 2
    assert spool.clear(keep=[1]) == [2]
    assert spool.numbers() == [1, 3]


def test_folders_of_others_are_left_alone(spool, opts, tmp_path):
    spool.put(1, "0.png", b"x" * 2 * MEGABYTE)
    (tmp_path / "files" / "holiday").mkdir()
    opts.jobs_spool_size = 1
    assert spool.clear() == [1]
    assert os.listdir(tmp_path / "files") == ["holiday"]
