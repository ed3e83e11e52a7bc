"""From an extension's folder or address to its report."""

import subprocess

import pytest

from modules import errors, extension_sources, paths_internal


@pytest.fixture
def extensions_dir(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "extensions"
    (folder / "mine" / "scripts").mkdir(parents=True)
    (folder / "mine" / "scripts" / "a.py").write_text("from modules import scripts\n")
    monkeypatch.setattr(paths_internal, "extensions_dir", str(folder))
    return folder


def test_a_folder(extensions_dir):
    report = extension_sources.report(str(extensions_dir / "mine"))
    assert report.name == "mine" and report.loads and report.changes == []


def test_against_what_is_installed(extensions_dir, tmp_path):
    newer = tmp_path / "mine"
    (newer / "scripts").mkdir(parents=True)
    (newer / "scripts" / "a.py").write_text("import no_such_package\n")
    report = extension_sources.report(str(newer))
    assert not report.loads and "+ imports no_such_package" in report.changes


def test_an_address_is_cloned_and_its_links_are_not_followed(extensions_dir, tmp_path, monkeypatch):
    source = tmp_path / "served.git"
    (source / "scripts").mkdir(parents=True)
    (source / "scripts" / "b.py").write_text("import json\n")
    (tmp_path / "secret.txt").write_text("secret-package\n")
    (source / "requirements.txt").symlink_to(tmp_path / "secret.txt")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=t", "-c", "user.email=t", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=source, check=True)
    monkeypatch.setattr(extension_sources, "ADDRESSES", ("file://",))
    report = extension_sources.report(f"file://{source}")
    assert report.name == "served" and report.loads and "secret-package" not in report.installs


@pytest.mark.parametrize("source", ["/no/such/folder", "ext::sh -c x", "http://127.0.0.1:9/x"])
def test_what_cannot_be_read_is_said(source, extensions_dir):
    with pytest.raises(errors.InvalidInput) as raised:
        extension_sources.report(source)
    assert source.split(" ")[0] in raised.value.message and raised.value.field == "source"
