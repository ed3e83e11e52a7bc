"""A copy of the program with extensions in its data folder: their files, its process, its log, its answers."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools import tiny_checkpoints

ROOT = Path(__file__).resolve().parent.parent
CPU_FLAGS = ("--use-cpu", "all", "--no-half", "--precision", "full")
START_SECONDS = 420


def folder_of(row: dict[str, Any]) -> str:
    """Returns the folder of an extension below extensions/."""
    return row.get("dir") or row["repo"].split("/")[1]


def unpack(git_dir: Path, target: Path) -> list[str]:
    """Writes the files of a bare clone's HEAD; returns those that the clone lacks, which are left out."""
    command = ["git", "--git-dir", str(git_dir)]
    listing = subprocess.run([*command, "ls-tree", "-r", "-z", "HEAD"], capture_output=True, check=True).stdout
    entries = [entry.split(b"\t", 1) for entry in listing.split(b"\0") if entry]
    files = [(meta.split()[2], path.decode()) for meta, path in entries if meta.split()[0] in (b"100644", b"100755")]
    batch = subprocess.run(
        [*command, "cat-file", "--batch"],
        input=b"".join(sha + b"\n" for sha, _ in files),
        capture_output=True,
        env={**os.environ, "GIT_NO_LAZY_FETCH": "1"},
    ).stdout
    missing, at = [], 0
    for _, path in files:
        end = batch.index(b"\n", at)
        head, at = batch[at:end].split(), end + 1
        if head[1] == b"missing":
            missing.append(path)
            continue
        size = int(head[2])
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(batch[at : at + size])
        at += size + 1
    return missing


def install(row: dict[str, Any], mirrors: Path, data_dir: Path) -> None:
    """Puts an extension into a data folder, with the further files its row names. Raises FileNotFoundError without a
    clone of it.
    """
    git_dir = mirrors / row["repo"].replace("/", "+") / "repo"
    if not git_dir.is_dir():
        raise FileNotFoundError(f"no bare clone of {row['repo']} in {mirrors}")
    target = data_dir / "extensions" / folder_of(row)
    unpack(git_dir, target)
    for command in (
        ["init", "-q"],
        ["-c", "user.name=t", "-c", "user.email=t", "commit", "-q", "--allow-empty", "-mx"],
    ):
        subprocess.run(["git", *command], cwd=target, check=True)
    for root, name in ((target, "files"), (data_dir, "data_files")):
        for path, text in row.get(name, {}).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            is_binary = text.startswith("base64:")
            (root / path).write_bytes(base64.b64decode(text[7:]) if is_binary else text.encode())
    copy_files(row, data_dir)


def copy_files(row: dict[str, Any], data_dir: Path) -> None:
    """Puts the files of this repository that a row names into a data folder, and the checkpoints, as tiny-KIND."""
    for path, source in row.get("copies", {}).items():
        (data_dir / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, data_dir / path)
    for kind in row.get("checkpoints", ()):
        path = data_dir / "models" / "Stable-diffusion" / f"tiny-{kind}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny_checkpoints.write(kind, path)


def copy_program(target: Path) -> None:
    """Puts the program's files into a folder, as a clone has them."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


class Server:
    """The program, started when entered and ended when left. Raises RuntimeError when it does not start.

    in_place: the data folder is a copy of the program, as without --data-dir. It works in its data folder: what
    extensions write into the folder they find themselves in stays there.
    """

    def __init__(self, python: str, data_dir: Path, flags: list[str], env: dict[str, str], in_place: bool = False):
        self.data_dir = data_dir
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        data = [] if in_place else ["--data-dir", str(data_dir)]
        program = (data_dir if in_place else ROOT) / "launch.py"
        self.command = [python, str(program), "--port", str(port), *data, *CPU_FLAGS, *flags]
        self.env = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        self.env |= {name: value.replace("DATA", str(data_dir)) for name, value in env.items()}
        self.log_path = data_dir / "server.log"

    def __enter__(self) -> Self:
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.data_dir, env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self.wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def wait(self) -> None:
        """Waits for the first answer."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode}: {last_exception(self.log())}")
            if self.call("GET", "/sdapi/v1/samplers", seconds=3)[0] == 200:
                return
            time.sleep(0.3)
        raise RuntimeError(f"no answer in {START_SECONDS} seconds: {last_exception(self.log())}")

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                try:
                    self.process.wait(20)
                except subprocess.TimeoutExpired:
                    continue

    def log(self) -> str:
        """Returns what the program has printed."""
        return self.log_path.read_text(encoding="utf8", errors="replace")

    def call(self, method: str, path: str, body: Any = None, seconds: float = 240) -> tuple[int, str]:
        """Returns status and text of an answer; status 0 with the error when there is none."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode(errors="replace")
        except OSError as e:
            return 0, str(e)

    def json(self, path: str) -> Any:
        """Returns the answer of a GET request."""
        return json.loads(self.call("GET", path)[1])


def last_exception(log: str) -> str:
    """Returns the last line of a log that looks like an exception, or its end."""
    lines = [line.strip() for line in log.splitlines() if re.match(r"\s*[\w.]*(Error|Exception|Exit)\b", line)]
    return (lines[-1] if lines else log.strip()[-300:])[:300]


def tracebacks(log: str) -> list[str]:
    """Returns the exceptions of a log, each with the line before its traceback."""
    lines, found, i = log.splitlines(), [], 0
    while i < len(lines):
        if "Traceback (most recent call last)" in lines[i]:
            first, margin = max(i - 1, 0), len(lines[i]) - len(lines[i].lstrip())
            i += 1
            while i < len(lines) and (not lines[i].strip() or len(lines[i]) - len(lines[i].lstrip()) > margin):
                i += 1
            found.append("\n".join(lines[first : i + 1]))
        i += 1
    return found


def reason(traceback: str) -> str:
    """Returns the exception of a traceback, with the place in the extension it came from."""
    places = re.findall(r'File "[^"]*/extensions/[^/"]+/([^"]+)", line (\d+)', traceback)
    at = " ({}:{})".format(*places[-1]) if places else ""
    return traceback.strip().splitlines()[-1].strip()[:260] + at


def exceptions_of(log: str, row: dict[str, Any]) -> list[str]:
    """Returns the exceptions of a log that an extension's files are in, without those its row expects."""
    found = {reason(block) for block in tracebacks(log) if f"/extensions/{folder_of(row)}/" in block}
    return sorted(found - set(row.get("ignore", [])))
