"""Looks the installed packages up in the database of known vulnerabilities; out of reach is no failure."""

from __future__ import annotations

import json
import subprocess
import sys

SECONDS = 300


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "--local", "--progress-spinner", "off", "--format", "json"]
    try:
        answer = subprocess.run(command, capture_output=True, encoding="utf8", timeout=SECONDS)
        packages = json.loads(answer.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError) as e:
        print(f"pip-audit gave no answer, nothing is known about vulnerabilities: {type(e).__name__}")
        return 0

    audited = [package for package in packages if "vulns" in package]
    findings = [(package, found) for package in audited for found in package["vulns"]]
    for package, found in findings:
        fixed = ", ".join(found["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
    print(f"pip-audit: {len(audited)} of {len(packages)} packages looked up, {len(findings)} known vulnerabilities")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
