"""Files that are whole or not there, and what is left of those that a killed program was writing."""

import os
import signal
import subprocess
import sys
import time

import pytest

from modules import paths_internal, util, whole_files

WRITER = """
import sys, time
folder = sys.argv.pop()
from modules import image_files, util, whole_files
with whole_files.claimed(f"{folder}/00007.tmp"), image_files.atomic_file(f"{folder}/a.png") as file:
    with whole_files.replacing(f"{folder}/config.json", f"{folder}/config.json.0123abcd.tmp"):
        file.write(b"half")
        file.flush()
        print("ready", flush=True)
        time.sleep(60)
"""


def age(folder, seconds=10):
    """Makes all files of a folder older."""
    then = time.time() - seconds
    for entry in os.scandir(folder):
        os.utime(entry.path, (then, then))


@pytest.fixture
def writer(tmp_path):
    """Another process that is writing two files into tmp_path/out."""
    folder = tmp_path / "out"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, cwd=paths_internal.script_path, text=True
    )
    assert process.stdout.readline() == "ready\n"
    yield folder, process
    process.kill()
    process.wait()
    process.stdout.close()


def test_what_is_being_written_stays_and_what_a_killed_program_left_goes(writer):
    folder, process = writer
    age(folder)
    assert whole_files.remove_abandoned(str(folder)) == []
    assert len(os.listdir(folder)) == 3
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(whole_files.remove_abandoned(str(folder))) == 3
    assert os.listdir(folder) == []


def test_files_of_others_stay(tmp_path):
    for name in (
        "tmp-1.tmp",
        "notes.tmp",
        "tmp-" + "0" * 32 + ".tmp.png",
        "a.png",
        "config.json.xyz.tmp",
        "b.0123abcd.tmp",
    ):
        (tmp_path / name).write_text("x")
    (tmp_path / "00012.tmp").write_text("not a reservation, as it holds something")
    (tmp_path / ("tmp-" + "a" * 32 + ".tmp")).symlink_to(tmp_path / "a.png")
    age(tmp_path)
    assert whole_files.remove_abandoned(str(tmp_path)) == []
    assert len(os.listdir(tmp_path)) == 8


def test_young_files_and_folders_below(tmp_path):
    below = tmp_path / "2024"
    below.mkdir()
    old, young = below / "grid-0003.tmp", below / "b.png.tmp"
    old.touch()
    age(below)
    young.touch()
    assert whole_files.remove_abandoned(str(tmp_path), recursive=False) == []
    assert whole_files.remove_abandoned(str(tmp_path)) == [str(old)]
    assert young.exists()


def test_a_name_is_claimed_once(tmp_path):
    path = str(tmp_path / "a")
    with whole_files.claimed(path) as first, whole_files.claimed(path) as second:
        assert (first, second) == (True, False)
        assert os.path.exists(path)
    assert not os.path.exists(path)


def test_a_claim_that_somebody_removed_ends_quietly(tmp_path):
    with whole_files.claimed(str(tmp_path / "a")):
        os.unlink(tmp_path / "a")


def test_files_are_on_the_disk_before_they_get_their_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(whole_files.os, "fsync", lambda number: done.append("flushed") or fsync(number))
    monkeypatch.setattr(whole_files.os, "replace", lambda *paths: done.append("renamed") or replace(*paths))
    util.write_text_atomically(str(tmp_path / "a.txt"), "text\n", newline="")
    assert done == ["flushed", "renamed"]
    assert (tmp_path / "a.txt").read_bytes() == b"text\n"


def test_lines_are_added_in_one_piece_and_never_to_half_a_line(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    whole_files.append(str(path), b"a,b\r\n")
    path.write_bytes(path.read_bytes() + b"1,")
    whole_files.append(str(path), b"3,4\r\n")
    assert path.read_bytes().splitlines() == [b"a,b", b"1,", b"3,4"]
