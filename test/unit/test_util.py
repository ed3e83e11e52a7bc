import os
import sys
from types import SimpleNamespace

import pytest

from modules import util


def make_files(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf8")


def test_natural_sort_puts_2_before_10_and_ignores_case():
    names = ["b", "a10", "A2", "a1b3", "a1b20"]
    assert sorted(names, key=util.natural_sort_key) == ["a1b3", "a1b20", "A2", "a10", "b"]


def test_listfiles_gives_visible_files_in_natural_order(tmp_path):
    make_files(tmp_path, "p10.png", "p9.png", ".hidden", "folder/inside.png")
    assert util.listfiles(str(tmp_path)) == [str(tmp_path / "p9.png"), str(tmp_path / "p10.png")]


def test_html_of_a_missing_file_is_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(util, "script_path", str(tmp_path))
    make_files(tmp_path, "html/card.html")
    assert util.html("card.html") == "html/card.html"
    assert util.html("none.html") == ""


def test_walk_files_goes_through_folders_in_natural_order(tmp_path):
    make_files(tmp_path, "d10/a.pt", "d9/b.PT", "d9/c.txt", ".secret/d.pt", "e2.pt", "e10.pt")
    found = [os.path.relpath(path, tmp_path) for path in util.walk_files(str(tmp_path), [".pt"])]
    assert found == ["e2.pt", "e10.pt", ".secret/d.pt", "d9/b.PT", "d10/a.pt"]
    found = [os.path.relpath(path, tmp_path) for path in util.walk_files(str(tmp_path), include_hidden=False)]
    assert found == ["e2.pt", "e10.pt", "d9/b.PT", "d9/c.txt", "d10/a.pt"]
    assert list(util.walk_files(str(tmp_path / "none"))) == []


def test_walk_files_takes_a_start_below_a_hidden_folder(tmp_path):
    make_files(tmp_path, ".data/models/a.pt")
    start = str(tmp_path / ".data" / "models")
    assert list(util.walk_files(start, include_hidden=False)) == [os.path.join(start, "a.pt")]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_walk_files_follows_links_but_not_in_circles(tmp_path):
    top = tmp_path / "top"
    make_files(tmp_path, "top/a.pt", "top/inner/b.pt", "elsewhere/c.pt")
    for link, target in (("linked", "elsewhere"), ("inner/back", "top"), ("self", "top/self"), ("up", ".")):
        (top / link).symlink_to(tmp_path / target)
    (tmp_path / "elsewhere" / "around").symlink_to(top)
    found = [os.path.relpath(path, top) for path in util.walk_files(str(top), [".pt"])]
    above = ["up/elsewhere/c.pt", "up/top/a.pt", "up/top/inner/b.pt", "up/top/linked/c.pt"]
    assert found == ["a.pt", "inner/b.pt", "linked/c.pt", *above]


def test_truncate_path_shortens_only_below_the_base(tmp_path):
    inside = tmp_path / "a" / "b.png"
    assert util.truncate_path(str(inside), str(tmp_path)) == os.path.join("a", "b.png")
    assert util.truncate_path(str(tmp_path / "ab"), str(tmp_path / "a")) == str(tmp_path / "ab")


def test_truncate_path_keeps_a_path_of_another_drive(monkeypatch, tmp_path):
    def two_drives(paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(util.os.path, "commonpath", two_drives)
    assert util.truncate_path(str(tmp_path), str(tmp_path)) == str(tmp_path)


def test_lister_answers_from_one_listing_per_folder(tmp_path):
    make_files(tmp_path, "Model.ckpt")
    lister = util.MassFileLister()
    path = str(tmp_path / "Model.ckpt")
    stat = os.stat(path)
    assert lister.exists(path) and lister.find(path).name == "Model.ckpt"
    assert lister.mctime(path) == (stat.st_mtime, stat.st_ctime)

    os.unlink(path)
    make_files(tmp_path, "new.ckpt")
    assert lister.exists(path) and not lister.exists(str(tmp_path / "new.ckpt"))
    lister.update_file_entry(path)
    lister.update_file_entry(str(tmp_path / "new.ckpt"))
    assert not lister.exists(path) and lister.exists(str(tmp_path / "new.ckpt"))


def test_lister_after_reset_lists_again(tmp_path):
    lister = util.MassFileLister()
    path = str(tmp_path / "late")
    assert lister.mctime(path) == (0, 0)
    make_files(tmp_path, "late")
    lister.update_file_entry(str(tmp_path / "elsewhere" / "x"))
    lister.reset()
    assert lister.exists(path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_lister_passes_over_a_link_to_nothing(tmp_path):
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    make_files(tmp_path, "whole")
    lister = util.MassFileLister()
    assert lister.exists(str(tmp_path / "whole")) and not lister.exists(str(tmp_path / "broken"))


def test_lister_finds_a_name_in_other_case_only_where_the_disk_does(tmp_path):
    make_files(tmp_path, "Model.ckpt")
    path = str(tmp_path / "model.CKPT")
    assert util.MassFileLister().exists(path) == os.path.exists(path)


@pytest.mark.parametrize(
    ("dependencies", "expected"),
    [
        ({"a": ["b"], "b": ["c"], "c": []}, ["c", "b", "a"]),
        ({"a": [], "b": []}, ["a", "b"]),
        ({"a": ["unknown"], "b": ["a"]}, ["a", "b"]),
        ({"a": ["b"], "b": ["a"]}, ["b", "a"]),
        ({"a": ["c", "b"], "b": ["c"], "c": []}, ["c", "b", "a"]),
    ],
)
def test_topological_sort_puts_dependencies_first(dependencies, expected):
    assert util.topological_sort(dependencies) == expected


def test_open_folder_refuses_what_is_no_folder(tmp_path):
    make_files(tmp_path, "file")
    with pytest.raises(FileNotFoundError):
        util.open_folder(str(tmp_path / "none"))
    with pytest.raises(NotADirectoryError):
        util.open_folder(str(tmp_path / "file"))


@pytest.mark.skipif(sys.platform == "win32", reason="os.uname")
@pytest.mark.parametrize(
    ("platform", "release", "command"),
    [("linux", "6.1", "xdg-open"), ("darwin", "23", "open"), ("linux", "x-microsoft-standard-WSL2", "explorer.exe")],
)
def test_open_folder_calls_the_file_manager_of_the_system(tmp_path, monkeypatch, platform, release, command):
    started = []
    monkeypatch.setattr(util.sys, "platform", platform)
    monkeypatch.setattr(util.os, "uname", lambda: SimpleNamespace(release=release))
    monkeypatch.setattr(util.subprocess, "Popen", started.append)
    monkeypatch.setattr(util.subprocess, "check_output", lambda command: b"\\\\wsl\\folder\n")
    util.open_folder(str(tmp_path))
    assert started[0][0] == command


def test_a_text_file_is_replaced_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file.txt"
    util.write_text_atomically(str(path), "old")
    os.chmod(path, 0o600)
    util.write_text_atomically(str(path), "ä\r\n", newline="")
    assert path.read_bytes() == "ä\r\n".encode()
    assert path.stat().st_mode & 0o777 == 0o600

    monkeypatch.setattr(util.os, "fsync", lambda file: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        util.write_text_atomically(str(path), "half")
    assert path.read_text(encoding="utf8") == "ä\n"
    assert os.listdir(path.parent) == ["file.txt"]


def test_the_file_behind_a_link_is_written(tmp_path):
    make_files(tmp_path, "file")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    util.write_text_atomically(str(tmp_path / "link"), "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text(encoding="utf8") == "new"
