"""Records of what is installed."""

import json
import subprocess
from pathlib import Path

import pytest

from modules import cache, config_states, extensions, git_repo, shared
from test.unit.test_extensions import folders  # noqa: F401  # a fixture
from test.unit.test_git_repo import checkout, commit, origin  # noqa: F401  # fixtures


@pytest.fixture
def states(tmp_path, monkeypatch):
    monkeypatch.setattr(config_states, "config_states_dir", str(tmp_path / "states"))
    monkeypatch.setattr(config_states, "all_config_states", {})
    return tmp_path / "states"


def test_they_are_listed_newest_first(states, caplog):
    states.mkdir()
    (states / "a.json").write_text(json.dumps({"created_at": 1000.0, "name": "old"}), encoding="utf8")
    (states / "b.json").write_text(json.dumps({"created_at": 2000.5}), encoding="utf8")
    (states / "broken.json").write_text("[]", encoding="utf8")
    (states / "other.txt").touch()
    found = config_states.list_config_states()
    assert [title.partition(":")[0] for title in found] == ["Config", "old"]
    assert [record["created_at"] for record in found.values()] == [2000.5, 1000.0]
    assert all(record["filepath"].startswith(str(states)) for record in found.values())
    assert "broken.json" in caplog.text
    assert config_states.all_config_states == found


def test_a_missing_folder_is_made(states):
    assert config_states.list_config_states() == {}
    assert states.is_dir()


class TestProgram:
    def test_where_it_stands(self, checkout, monkeypatch):  # noqa: F811
        monkeypatch.setattr(config_states, "script_path", checkout)
        config = config_states.get_webui_config()
        assert config["branch"] == "main"
        assert config["commit_hash"] == git_repo.describe(checkout).commit_hash

    def test_outside_of_git_nothing_is_known(self, tmp_path, monkeypatch, caplog):
        monkeypatch.setattr(config_states, "script_path", str(tmp_path))
        nothing = {"remote": None, "commit_hash": None, "commit_date": None, "branch": None}
        assert config_states.get_webui_config() == nothing
        (tmp_path / ".git").mkdir()
        assert config_states.get_webui_config() == nothing
        assert "Could not read" in caplog.text

    def test_going_back(self, checkout, origin, monkeypatch, caplog):  # noqa: F811
        monkeypatch.setattr(config_states, "script_path", checkout)
        first = git_repo.describe(checkout).commit_hash
        commit(origin, "second")
        git_repo.fetch_and_reset_hard(checkout)
        config_states.restore_webui_config({"webui": {"commit_hash": first}})
        assert git_repo.describe(checkout).commit_hash == first
        config_states.restore_webui_config({"webui": {"commit_hash": "0" * 40}})
        config_states.restore_webui_config({})
        assert "Could not restore" in caplog.text
        assert "does not say" in caplog.text


class TestExtensions:
    @pytest.fixture
    def installed(self, folders, origin, tmp_path, monkeypatch):  # noqa: F811
        """Extension mine, one commit behind its origin, others without git, and a settings file."""
        store = cache.Store(str(tmp_path / "cache" / "cache.sqlite"))
        monkeypatch.setattr(cache, "default_store", lambda: store)
        monkeypatch.setattr(shared, "config_filename", str(tmp_path / "config.json"))
        subprocess.run(["git", "clone", "-q", str(origin), str(folders / "user" / "mine")], check=True)
        for name in ("builtin/core", "user/plain", "user/new"):
            (folders / name).mkdir()
        extensions.list_extensions()
        return folders / "user" / "mine"

    def test_all_are_recorded(self, installed):
        config = config_states.get_config()
        assert set(config["extensions"]) == {"core", "mine", "new", "plain"}
        mine = config["extensions"]["mine"]
        assert (mine["enabled"], mine["is_builtin"], mine["branch"]) == (True, False, "main")
        assert mine["commit_hash"] == git_repo.describe(str(installed)).commit_hash
        assert set(config) == {"created_at", "webui", "extensions"}
        json.dumps(config)

    def test_going_back(self, installed, origin, caplog):  # noqa: F811
        config = config_states.get_config()
        first = config["extensions"]["mine"]["commit_hash"]
        del config["extensions"]["new"]
        config["extensions"]["plain"]["enabled"] = False
        commit(origin, "second")
        git_repo.fetch_and_reset_hard(str(installed))
        with caplog.at_level("INFO", logger="modules.config_states"):
            config_states.restore_extension_config(config)
            config_states.restore_extension_config(config)
        assert git_repo.describe(str(installed)).commit_hash == first
        stored = json.loads(Path(shared.config_filename).read_text(encoding="utf8"))
        assert stored["disabled_extensions"] == ["new", "plain"]
        assert f"is at {first[:8]} already" in caplog.text
        assert "knows no commit" in caplog.text
        assert "is not in the config state" in caplog.text

    def test_a_commit_that_is_gone_is_reported(self, installed, caplog):
        config = config_states.get_config()
        before = config["extensions"]["mine"]["commit_hash"]
        config["extensions"]["mine"]["commit_hash"] = "0" * 40
        config_states.restore_extension_config(config)
        assert git_repo.describe(str(installed)).commit_hash == before
        assert "Could not restore extension mine" in caplog.text
