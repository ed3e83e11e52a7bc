"""Extensions from git into their folder, and their updates."""

import subprocess

import pytest

from modules import errors, extension_install, extensions, launch_utils, shared

GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main")


def git(folder, *arguments):
    return subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder, text):
    (folder / "scripts" / "a.py").write_text(text, encoding="utf8")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "x")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def source(tmp_path):
    """A repository with an extension: branches main and side."""
    folder = tmp_path / "source"
    (folder / "scripts").mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "install.py").write_text("print('hello from the installer')\n", encoding="utf8")
    commit(folder, "x = 1\n")
    git(folder, "branch", "side")
    return folder


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The folder of extensions, empty; the lists of the program are put back afterwards."""
    folder = tmp_path / "extensions"
    for module in (extension_install, extensions):
        monkeypatch.setattr(module, "extensions_dir", str(folder))
    monkeypatch.setattr(extensions, "extensions_builtin_dir", str(tmp_path / "none"))
    monkeypatch.setattr(launch_utils, "cache_dir", str(tmp_path / "cache"))
    for name in ("extensions", "extension_paths", "loaded_extensions"):
        monkeypatch.setattr(extensions, name, type(getattr(extensions, name))())
    monkeypatch.setattr(shared.opts, "data", dict(shared.opts.data))
    return folder


def test_an_extension_is_cloned_and_its_installer_runs(installed, source):
    path = extension_install.install(str(source))
    assert path == str(installed / "source") and (installed / "source" / "scripts" / "a.py").exists()
    assert [extension.name for extension in extensions.extensions] == ["source"]
    with open(launch_utils.installer_log("source"), encoding="utf8") as file:
        assert file.read() == "hello from the installer\n"


def test_a_branch_and_a_name_of_ones_own(installed, source):
    path = extension_install.install(f"file://{source}", "mine", "side")
    assert path == str(installed / "mine") and git(path, "branch", "--show-current") == "side"


@pytest.mark.parametrize("name", ["..", ".hidden ", "a/b", "a\\b", "x:y", " ", "tab\t", "."])
def test_names_that_are_no_folder_are_refused(installed, source, name):
    with pytest.raises(errors.InvalidInput) as raised:
        extension_install.check_name(name)
    assert raised.value.field == "Local directory name"


def test_what_is_there_already_is_refused(installed, source):
    extension_install.install(str(source))
    with pytest.raises(errors.InvalidInput, match="There is an extension source already"):
        extension_install.install(str(source))
    with pytest.raises(errors.InvalidInput, match="There is an extension Source already"):
        extension_install.install(str(source), "Source")
    with pytest.raises(errors.InvalidInput, match="is installed already, as source"):
        extension_install.install(f"{source}/", "other")


@pytest.mark.parametrize(
    ("address", "cause"), [("/nowhere/at/all", "cannot be cloned"), ("", "No URL"), ("-x/y", "cannot be cloned")]
)
def test_what_cannot_be_cloned_leaves_nothing_behind(installed, tmp_path, address, cause):
    with pytest.raises(errors.InvalidInput, match=cause):
        extension_install.install(address)
    assert not installed.exists() or not list(installed.iterdir())


def test_a_branch_that_is_not_there_is_said(installed, source):
    with pytest.raises(errors.InvalidInput, match="nobranch"):
        extension_install.install(str(source), "", "nobranch")
    assert not list(installed.iterdir())


def test_updates_are_found_on_the_branch_that_is_followed(installed, source):
    extension_install.install(str(source))
    extension_install.install(f"file://{source}", "mine", "side")
    newest = commit(source, "x = 2\n")
    told = []
    extension_install.check_updates(extensions.extensions, told.append)
    assert {x.name: x.status for x in extensions.extensions} == {"mine": "latest", "source": "new commits"}
    assert sorted(told) == ["mine", "source"]
    assert extension_install.update(["source", "mine"]) == []
    assert git(installed / "source", "rev-parse", "HEAD") == newest
    assert git(installed / "mine", "rev-parse", "HEAD") != newest


def test_a_remote_that_is_gone_costs_only_its_own_update(installed, source, tmp_path):
    extension_install.install(str(source))
    extension_install.install(f"file://{source}", "mine")
    git(installed / "mine", "remote", "set-url", "origin", str(tmp_path / "gone"))
    newest = commit(source, "x = 2\n")
    extension_install.check_updates(extensions.extensions)
    states = {x.name: (x.can_update, x.status) for x in extensions.extensions}
    assert states["source"] == (True, "new commits")
    assert not states["mine"][0] and states["mine"][1].startswith("error: ")
    problems = extension_install.update(["mine", "source"])
    assert len(problems) == 1 and problems[0].startswith("mine is as it was")
    assert git(installed / "source", "rev-parse", "HEAD") == newest


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://example.org/some/thing.git", "thing"),
        ("https://example.org/some/thing/", "thing"),
        ("git@example.org:thing.git", "thing"),
        ("C:\\folder\\thing", "thing"),
    ],
)
def test_the_name_comes_from_the_address(address, name):
    assert extension_install.name_from(address) == name
