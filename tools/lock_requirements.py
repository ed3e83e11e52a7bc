"""Writes the lock files: every package at one version, what the requirements only bring along included.

    pip install uv
    python tools/lock_requirements.py

People edit requirements_versions.txt and requirements_test.txt; launch.py and .ci/run install what this makes of them.
The packages of CUDA are left out: a build of torch names those it needs, and the one for the CPU needs none.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {
    "requirements_lock.txt": ("requirements_versions.txt",),
    "requirements_test_lock.txt": ("requirements_test.txt", "--constraint", "requirements_lock.txt"),
}
LEFT_OUT = re.compile(r"(cuda|nvidia|triton|pip==)")
"""What torch chooses by itself, and pip, which is there before anything is installed."""


def lock(arguments: tuple[str, ...]) -> str:
    """Returns the lock file of one call of uv, for every platform and Python that the program supports."""
    command = ["uv", "pip", "compile", "--universal", "--python-version", "3.11", "--no-annotate", "--no-header"]
    made = subprocess.run([*command, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, encoding="utf8").stdout
    head = [
        "# Made by `python tools/lock_requirements.py`; do not edit. Without the packages of CUDA, it is",
        f"#   {' '.join([*command, *arguments])}",
    ]
    return "\n".join([*head, *(line for line in made.splitlines() if not LEFT_OUT.match(line))]) + "\n"


def main() -> None:
    for name, arguments in LOCKS.items():
        (ROOT / name).write_text(lock(arguments), encoding="utf8")


if __name__ == "__main__":
    try:
        main()
    except (FileNotFoundError, subprocess.CalledProcessError) as e:
        sys.exit(f"uv did not make the lock files: {e}")
