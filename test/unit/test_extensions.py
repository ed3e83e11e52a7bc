"""Extension folders: finding, enabling, metadata, order of files, what git knows."""

import subprocess

import pytest

from modules import cache, extensions, shared
from modules.extensions import Extension, ExtensionMetadata
from test.unit.test_git_repo import commit, origin  # noqa: F401  # a fixture


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Empty folders of built-in and of the user's extensions, and a program folder."""
    for name in ("builtin", "user", "program"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(extensions, "extensions_builtin_dir", str(tmp_path / "builtin"))
    monkeypatch.setattr(extensions, "extensions_dir", str(tmp_path / "user"))
    monkeypatch.setattr(extensions, "script_path", str(tmp_path / "program"))
    monkeypatch.setattr(shared.opts, "data", {})
    kept = [list(extensions.extensions), dict(extensions.extension_paths), dict(extensions.loaded_extensions)]
    yield tmp_path
    extensions.extensions[:] = kept[0]
    for registry, content in zip((extensions.extension_paths, extensions.loaded_extensions), kept[1:], strict=True):
        registry.clear()
        registry.update(content)


def add(folder, *files, metadata=""):
    """Makes an extension with empty files and a metadata.ini."""
    folder.mkdir(parents=True)
    for name in files:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    if metadata:
        (folder / "metadata.ini").write_text(metadata, encoding="utf8")


def names(found):
    return [extension.name for extension in found]


class TestFinding:
    def test_built_in_ones_come_first_each_kind_sorted(self, folders):
        for path in ("user/b", "user/a", "builtin/z"):
            add(folders / path)
        (folders / "user" / "file.txt").touch()
        extensions.list_extensions()
        assert names(extensions.extensions) == ["z", "a", "b"]
        assert [extension.is_builtin for extension in extensions.extensions] == [True, False, False]

    def test_a_missing_folder_is_fine(self, folders):
        (folders / "user").rmdir()
        extensions.list_extensions()
        assert extensions.extensions == []

    def test_a_second_one_of_the_same_name_is_reported_and_dropped(self, folders, caplog):
        add(folders / "builtin" / "Lora")
        add(folders / "user" / "lora")
        extensions.list_extensions()
        assert names(extensions.extensions) == ["Lora"]
        assert "same name" in caplog.text

    @pytest.mark.parametrize(
        ("flag", "setting", "expected"),
        [
            ({}, {}, ["built", "mine"]),
            ({}, {"disabled_extensions": ["mine"]}, ["built"]),
            ({}, {"disable_all_extensions": "extra"}, ["built"]),
            ({}, {"disable_all_extensions": "all"}, []),
            ({"disable_extra_extensions": True}, {}, ["built"]),
            ({"disable_all_extensions": True}, {}, []),
        ],
    )
    def test_which_are_active(self, folders, monkeypatch, caplog, flag, setting, expected):
        add(folders / "builtin" / "built")
        add(folders / "user" / "mine")
        for name, value in flag.items():
            monkeypatch.setattr(shared.cmd_opts, name, value)
        shared.opts.data.update(setting)
        extensions.list_extensions()
        assert names(extensions.active()) == expected
        assert ("not loaded" in caplog.text) == bool(flag or "disable_all_extensions" in setting)

    def test_the_owner_of_a_file(self, folders):
        add(folders / "user" / "mine", "scripts/deep/a.py")
        extensions.list_extensions()
        file = folders / "user" / "mine" / "scripts" / "deep" / "a.py"
        assert extensions.find_extension(str(file)).name == "mine"
        assert extensions.find_extension(str(folders / "program" / "a.py")) is None

    def test_the_owner_is_found_through_a_link(self, folders):
        add(folders / "elsewhere", "a.py")
        (folders / "user" / "linked").symlink_to(folders / "elsewhere", target_is_directory=True)
        extensions.list_extensions()
        assert extensions.find_extension(str(folders / "user" / "linked" / "a.py")).name == "linked"

    def test_requirements_are_checked_for_enabled_ones(self, folders, caplog):
        add(folders / "user" / "a", metadata="[Extension]\nRequires = B, missing, x|c")
        add(folders / "user" / "b")
        add(folders / "user" / "c")
        add(folders / "user" / "d", metadata="[Extension]\nRequires = also-missing")
        shared.opts.data["disabled_extensions"] = ["b", "d"]
        extensions.list_extensions()
        assert extensions.loaded_extensions["a"].metadata.requires == ["b", "missing", "c"]
        assert "needs extension b, which is disabled" in caplog.text
        assert "needs extension missing, which is not installed" in caplog.text
        assert "also-missing" not in caplog.text


class TestMetadata:
    def test_the_canonical_name_is_that_of_the_folder(self, tmp_path):
        add(tmp_path / "My", metadata="[Extension]\nName = other")
        assert ExtensionMetadata(str(tmp_path / "My"), "My").canonical_name == "my"

    def test_a_broken_file_is_reported(self, tmp_path, caplog):
        add(tmp_path / "x", metadata="no section = 1")
        assert ExtensionMetadata(str(tmp_path / "x"), "x").config.sections() == []
        assert "metadata.ini" in caplog.text

    def test_lists_are_separated_by_commas_or_white_space(self, tmp_path):
        assert ExtensionMetadata(str(tmp_path), "x").parse_list(" a, b\nc  d,,e ") == ["a", "b", "c", "d", "e"]

    def test_order_of_callbacks(self, tmp_path, caplog):
        text = (
            "[callbacks/x/a.py/ui]\nBefore = y/b\nAfter = z/c, z/d\n"
            "[callbacks/other/a]\nBefore = q\n"
            "[scripts]\nAfter = 1"
        )
        add(tmp_path / "x", metadata=text)
        orders = list(ExtensionMetadata(str(tmp_path / "x"), "x").list_callback_order_instructions())
        assert orders == [extensions.CallbackOrderInfo("x/a.py/ui", ["y/b"], ["z/c", "z/d"])]
        assert "callbacks/other/a" in caplog.text


class TestOrderOfFiles:
    def order(self, folders, **kwargs):
        extensions.list_extensions()
        root = len(str(folders)) + 1
        found = extensions.list_scripts("scripts", ".py", **kwargs)
        return [file.path[root:].replace("\\", "/").replace("/scripts", "") for file in found]

    def test_program_then_extensions_each_sorted(self, folders):
        add(folders / "user" / "b", "scripts/y.py", "scripts/x.py", "scripts/x.txt", "scripts/dir.py/file")
        add(folders / "builtin" / "a", "scripts/z.PY")
        add(folders / "program" / "scripts", "q.py")
        assert self.order(folders) == ["program/q.py", "builtin/a/z.PY", "user/b/x.py", "user/b/y.py"]
        assert self.order(folders, include_extensions=False) == ["program/q.py"]

    def test_a_file_after_another(self, folders):
        add(folders / "user" / "a", "scripts/1.py", metadata="[scripts]\nAfter = b/2.py")
        add(folders / "user" / "b", "scripts/1.py", "scripts/2.py")
        assert self.order(folders) == ["user/b/2.py", "user/a/1.py", "user/b/1.py"]

    def test_an_extension_stands_for_all_its_files(self, folders):
        add(folders / "user" / "a", "scripts/1.py", metadata="[scripts/1.py]\nAfter = b")
        add(folders / "user" / "b", "scripts/1.py", "scripts/2.py")
        assert self.order(folders) == ["user/b/1.py", "user/b/2.py", "user/a/1.py"]

    def test_before_turns_it_around(self, folders):
        add(folders / "builtin" / "Core", "scripts/One.py")
        add(folders / "user" / "b", "scripts/1.py", metadata="[scripts]\nBefore = builtin/core/one.py, unknown")
        assert self.order(folders) == ["user/b/1.py", "builtin/Core/One.py"]

    def test_what_is_required_and_missing_is_reported(self, folders, caplog):
        add(folders / "user" / "a", "scripts/1.py", metadata="[scripts]\nRequires = b, a, nothing")
        add(folders / "user" / "b", "scripts/1.py")
        self.order(folders)
        assert [record.getMessage().split(" needs ")[1] for record in caplog.records] == [
            "nothing, which is not loaded"
        ]


class TestGit:
    @pytest.fixture
    def extension(self, origin, tmp_path, monkeypatch):  # noqa: F811
        store = cache.Store(str(tmp_path / "cache" / "cache.sqlite"))
        monkeypatch.setattr(cache, "default_store", lambda: store)
        path = tmp_path / "mine"
        subprocess.run(["git", "clone", "-q", str(origin), str(path)], check=True)
        return Extension("mine", str(path))

    def test_nothing_is_known_before_asking(self, extension):
        assert (extension.remote, extension.commit_hash, extension.have_info_from_repo) == (None, "", False)

    def test_asking_once(self, extension, origin):  # noqa: F811
        extension.read_info_from_repo()
        assert (extension.remote, extension.branch) == (str(origin), "main")
        assert extension.commit_hash.startswith(extension.version)
        assert (len(extension.version), extension.status) == (8, "unknown")
        extension.remote = "changed"
        extension.read_info_from_repo()
        assert extension.remote == "changed"

    def test_answers_are_cached_between_runs(self, extension, monkeypatch):
        extension.read_info_from_repo()
        monkeypatch.setattr(Extension, "do_read_info_from_repo", lambda self: pytest.fail("asked again"))
        again = Extension("mine", extension.path)
        again.read_info_from_repo()
        assert again.to_dict() == extension.to_dict()

    def test_a_plain_folder_and_a_built_in_one_stay_unknown(self, tmp_path):
        plain = Extension("plain", str(tmp_path))
        plain.read_info_from_repo()
        plain.do_read_info_from_repo()
        assert (plain.remote, plain.status) == (None, "unknown")
        builtin = Extension("builtin", str(tmp_path), is_builtin=True)
        builtin.read_info_from_repo()
        assert not builtin.have_info_from_repo

    def test_a_broken_repository_is_reported(self, tmp_path, caplog):
        (tmp_path / ".git").mkdir()
        extension = Extension("broken", str(tmp_path))
        extension.do_read_info_from_repo()
        assert extension.remote is None
        assert "broken" in caplog.text

    def test_updates(self, extension, origin):  # noqa: F811
        extension.check_updates()
        assert (extension.can_update, extension.status) == (False, "latest")
        newest = commit(origin, "second")
        extension.check_updates()
        assert (extension.can_update, extension.status) == (True, "new commits")
        extension.fetch_and_reset_hard()
        extension.read_info_from_repo()
        assert extension.commit_hash == newest
        extension.fetch_and_reset_hard("HEAD~1")
        extension.check_updates()
        assert (extension.can_update, extension.status) == (True, "behind HEAD")

    def test_a_repository_of_ones_own_has_no_updates(self, origin):  # noqa: F811
        own = Extension("own", str(origin))
        own.check_updates()
        assert (own.can_update, own.status) == (False, "unknown (remote error)")
