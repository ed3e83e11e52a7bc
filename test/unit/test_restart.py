import os
import subprocess
import sys

import pytest

from modules import restart
from modules.paths_internal import script_path


@pytest.fixture
def marker(tmp_path, monkeypatch):
    monkeypatch.setattr(restart, "MARKER", tmp_path / "tmp" / "restart")
    monkeypatch.delenv("SD_WEBUI_RESTART", raising=False)
    monkeypatch.delenv("SD_WEBUI_RESTARTING", raising=False)
    return restart.MARKER


def test_marker_of_a_supervisor_is_taken_note_of_and_removed(marker, monkeypatch):
    restart.note_restart()
    assert "SD_WEBUI_RESTARTING" not in os.environ
    marker.parent.mkdir()
    marker.touch()
    restart.note_restart()
    assert os.environ["SD_WEBUI_RESTARTING"] == "1" and not marker.exists()
    monkeypatch.delenv("SD_WEBUI_RESTARTING")


def test_supervised_program_leaves_the_marker_and_ends(marker, monkeypatch):
    class Ended(Exception):
        pass

    def end(status):
        raise Ended(status)

    monkeypatch.setenv("SD_WEBUI_RESTART", "tmp/restart")
    monkeypatch.setattr(restart.os, "_exit", end)
    with pytest.raises(Ended) as e:
        restart.restart_program()
    assert e.value.args == (0,) and marker.exists()


def test_restartable_under_a_supervisor_or_with_exec(marker, monkeypatch):
    monkeypatch.setattr(restart.os, "name", "nt")
    assert not restart.is_restartable()
    monkeypatch.setenv("SD_WEBUI_RESTART", "tmp/restart")
    assert restart.is_restartable()


@pytest.mark.skipif(os.name != "posix", reason="exec")
def test_program_without_supervisor_replaces_itself(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import os, sys
sys.path.insert(0, {script_path!r})
print(os.getpid(), os.environ.get("SD_WEBUI_RESTARTING"), *sys.argv[1:], flush=True)
if len(sys.argv) > 1 and "SD_WEBUI_RESTARTING" not in os.environ:
    from modules import restart
    restart.restart_program()
""",
        encoding="utf8",
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SD_WEBUI_RESTART")}
    output = subprocess.check_output([sys.executable, program, "--port", "5"], env=environment, encoding="utf8")
    before, after = (line.split() for line in output.splitlines())
    assert before == [after[0], "None", "--port", "5"]
    assert after[1:] == ["1", "--port", "5"]
