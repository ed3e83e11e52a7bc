#!/usr/bin/env bash
# Checks that every requirement is pinned exactly and that what is installed equals it.
# Usage: verify_pinned_deps.sh [python], the Python whose packages count. The local part of a version (2.13.0+cpu) may be anything.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-python3}

"$python" - requirements_versions.txt requirements_test.txt <<'PYTHON'
import re
import sys
from importlib import metadata

PIN = re.compile(r"([A-Za-z0-9][-_.A-Za-z0-9]*)==([A-Za-z0-9][-+_.!A-Za-z0-9]*)")
problems = []
for path in sys.argv[1:]:
    with open(path, encoding="utf8") as file:
        lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(file, 1)]
    for number, line in lines:
        if not line:
            continue
        match = PIN.fullmatch(line)
        if match is None:
            problems.append(f"{path}:{number}: {line!r} is not an exact pin, name==version")
            continue
        name, wanted = match.groups()
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = "not installed"
        if wanted not in (installed, installed.partition("+")[0]):
            problems.append(f"{path}:{number}: {name} is pinned to {wanted}, {installed} is there")

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
