"""Which files a run keeps."""

import os

import pytest

from modules import image_files, run_files


def test_kept_by_place_not_by_name(tmp_path):
    (tmp_path / "a").mkdir()
    os.symlink(tmp_path / "a", tmp_path / "b")
    with run_files.one_run():
        run_files.keep([str(tmp_path / "a" / "x.png")])
        assert run_files.is_kept(str(tmp_path / "b" / ".." / "b" / "x.png"))
        assert not run_files.is_kept(str(tmp_path / "a" / "y.png"))


def test_a_run_inside_another_is_part_of_it():
    with run_files.one_run():
        with run_files.one_run():
            run_files.keep(["x"])
        assert run_files.is_kept("x")
    assert not run_files.is_kept("x")


def test_outside_of_a_run_nothing_is_kept():
    run_files.keep(["x"])
    assert not run_files.is_kept("x")
    with run_files.one_run():
        assert not run_files.is_kept("x")


def test_new_files_are_told_of_before_they_appear(tmp_path):
    told = []
    new, old = tmp_path / "new.png", tmp_path / "old.png"
    old.write_bytes(b"old")
    token = run_files.told.set(lambda path: told.append((path, os.path.exists(path))))
    try:
        for path in (new, old):
            with image_files.atomic_file(str(path)) as file:
                file.write(b"content")
        with pytest.raises(KeyError), image_files.atomic_file(str(tmp_path / "broken.png")):
            raise KeyError
    finally:
        run_files.told.reset(token)
    assert told == [(str(new), False)] and new.read_bytes() == old.read_bytes() == b"content"
