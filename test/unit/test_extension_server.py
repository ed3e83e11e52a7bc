"""What the trying of extensions reads: logs, and clones without a work tree."""

import json
import subprocess

from tools import extension_server, try_extensions

LOG = """before
Error loading script: /d/extensions/one/scripts/a.py
Traceback (most recent call last):
  File "/app/modules/scripts.py", line 88, in load_scripts
  File "/d/extensions/one/scripts/a.py", line 3, in <module>
    import nothing
ModuleNotFoundError: No module named 'nothing'
after
Traceback (most recent call last):
  File "/app/modules/other.py", line 1, in other
ValueError: not of an extension
"""


def test_exceptions_of_an_extension_are_found_in_a_log():
    row = {"repo": "somebody/one"}
    found = extension_server.exceptions_of(LOG, row)
    assert found == ["ModuleNotFoundError: No module named 'nothing' (scripts/a.py:3)"]
    assert extension_server.exceptions_of(LOG, {**row, "ignore": found}) == []
    assert extension_server.exceptions_of(LOG, {"repo": "somebody/two"}) == []
    assert extension_server.last_exception(LOG) == "ValueError: not of an extension"


def test_files_of_a_clone_are_written_but_for_those_it_lacks(tmp_path):
    source, bare, target = tmp_path / "source", tmp_path / "bare", tmp_path / "target"
    (source / "scripts").mkdir(parents=True)
    (source / "scripts" / "a.py").write_bytes(b"x = 1\n")
    (source / "large.bin").write_bytes(b"\0" * 99)
    git = ["git", "-C", str(source), "-c", "user.name=t", "-c", "user.email=t"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["clone", "-q", "--bare", ".", str(bare)]):
        subprocess.run([*git, *arguments], check=True)
    blob = subprocess.run(
        [*git, "rev-parse", "HEAD:large.bin"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (bare / "objects" / blob[:2] / blob[2:]).unlink()
    assert extension_server.unpack(bare, target) == ["large.bin"]
    assert (target / "scripts" / "a.py").read_bytes() == b"x = 1\n" and not (target / "large.bin").exists()


def test_rows_name_each_extension_once_and_only_what_is_checked():
    rows = json.loads(try_extensions.ROWS.read_text(encoding="utf8"))
    folders = [extension_server.folder_of(row) for row in rows]
    assert len(set(folders)) == len(folders) == len({row["id"] for row in rows}) >= 40
    assert {key for row in rows for key in row} <= set(try_extensions.__doc__.split("`")) | {"id"}
