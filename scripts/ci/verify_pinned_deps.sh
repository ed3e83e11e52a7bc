#!/usr/bin/env bash
# Checks that every requirement is pinned exactly, that the lock files hold these pins, and that what is installed equals the lock files.
# Usage: verify_pinned_deps.sh [python], the Python whose packages count. The local part of a version (2.13.0+cpu) may be anything.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-python3}

"$python" - <<'PYTHON'
import re
import sys
from importlib import metadata

from packaging.markers import Marker

PIN = re.compile(r"([A-Za-z0-9][-_.A-Za-z0-9]*)==([A-Za-z0-9][-+_.!A-Za-z0-9]*)(?:\s*;\s*(.+))?")
problems = []


def pins(path):
    """(name, version) of the lines that are for this Python."""
    with open(path, encoding="utf8") as file:
        lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(file, 1)]
    for number, line in lines:
        match = PIN.fullmatch(line)
        if line and match is None:
            problems.append(f"{path}:{number}: {line!r} is not an exact pin, name==version")
        elif line and (match[3] is None or Marker(match[3]).evaluate()):
            yield match[1].lower().replace("_", "-"), match[2]


for path, lock in (
    ("requirements_versions.txt", "requirements_lock.txt"),
    ("requirements_test.txt", "requirements_test_lock.txt"),
):
    locked = dict(pins(lock))
    for name, wanted in pins(path):
        if locked.get(name) != wanted:
            problems.append(f"{lock}: {name} is {locked.get(name)}, {path} pins {wanted}; run tools/lock_requirements.py")
    for name, wanted in locked.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = "not installed"
        if wanted not in (installed, installed.partition("+")[0]):
            problems.append(f"{lock}: {name} is pinned to {wanted}, {installed} is there")

print("\n".join(problems) or "every requirement is pinned exactly and installed at its pin")
sys.exit(bool(problems))
PYTHON

if [ -f package.json ]; then
    node - <<'NODE'
const {dependencies = {}, devDependencies = {}} = require("./package.json");
const loose = Object.entries({...dependencies, ...devDependencies}).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version));
for (const [name, version] of loose) console.log(`package.json: ${name} is not pinned exactly: ${version}`);
process.exit(loose.length ? 1 : 0);
NODE
fi
