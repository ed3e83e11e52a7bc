"""Runs extensions as their users do, with the page and without, and says of each whether it loads and does its job.

    python -m tools.try_extensions --mirrors DIR [--only D44,D46] [--forms api,page] [--logs DIR] [--out report.json]

DIR holds the sources as bare clones, OWNER+NAME/repo of github.com/OWNER/NAME; they are unpacked into a data folder
that is deleted afterwards. The packages they need are those of the Python that runs this, or of --python. Everything
runs on the CPU with the embedded model. Extensions share a server in groups of --group; when it does not start, or
plain images differ, each runs alone.

tools/extension_rows.json says what is checked, one row for each extension: `repo`; `dir` below extensions/;
`packages` it needs; `with`: extensions beside it; `alone`: it changes the page for all; `in_place`: it has to lie in
the program's folder, a copy of which is made; `files` and `data_files` put beside, bytes as "base64:...", `copies` of
files of this repository below the data folder, `checkpoints` of tools/tiny_checkpoints.py; `env`, where DATA is the
data folder, and `flags`; `options`, `samplers`, `scripts` that have to be listed; `jobs` (`kind`, `body`, `settings`,
`expect`, compared with the job without the extension, changed by `against`); `routes`; `page` with `tab`, `elem_ids`,
`labels`, `assets`, `events`, and `browser`, what a user does there (tools/extension_browser.py); `ignore`: exceptions
that v1.10.1 shows as well; `note`: what to know of the row. "PICTURE" in a request is an image as text.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.extension_browser import check_browser
from tools.extension_checks import (
    PLAIN_JOBS,
    Baseline,
    Row,
    check_job,
    check_lists,
    check_page,
    check_route,
    facts_of,
    generate,
    key_of,
    plain_body,
)
from tools.extension_server import ROOT, Server, copy_files, copy_program, exceptions_of, install

ROWS = ROOT / "tools" / "extension_rows.json"
FORMS = {"api": ["--nowebui"], "page": ["--api"]}


class Trial:
    """The trying of all rows; `report` is {id: {form: {"load": faults, "page": faults, "job": faults}}}."""

    def __init__(self, args: argparse.Namespace, rows: list[Row]):
        self.args = args
        self.all_rows = {row["id"]: row for row in rows}
        self.rows = [row for row in rows if not args.only or row["id"] in args.only.split(",")]
        self.work = Path(tempfile.mkdtemp(prefix="extensions-"))
        self.report: dict[str, dict[str, Any]] = {}
        self.baselines: dict[str, Baseline] = {}

    def server(self, data_dir: Path, form: str, rows: list[Row]) -> Server:
        """Returns a server with what the rows ask for."""
        flags = sorted({flag for row in rows for flag in row.get("flags", [])})
        env = {name: value for row in rows for name, value in row.get("env", {}).items()}
        installing = [] if self.args.installers else ["--skip-install"]
        in_place = any(row.get("in_place") for row in rows)
        if in_place:
            copy_program(data_dir)
        return Server(self.args.python, data_dir, [*FORMS[form], *installing, *flags], env, in_place)

    def make_baselines(self) -> None:
        """Makes the images of all jobs without any extension."""
        jobs = [
            *PLAIN_JOBS,
            *(job for row in self.rows for job in row.get("jobs", []) if "differs" in job.get("expect", {})),
        ]
        data_dir = self.folder()
        for row in self.rows:
            copy_files(row, data_dir)
        with self.server(data_dir, "api", []) as server:
            for job in {key_of(job): job for job in jobs}.values():
                result, problem = generate(server, job.get("kind", "txt2img"), plain_body(job))
                if result is None:
                    sys.exit(f"without any extension: {problem}")
                self.baselines[key_of(job)] = Baseline.of(result)

    def folder(self) -> Path:
        """Makes a data folder in which the embedded model is chosen."""
        folder = Path(tempfile.mkdtemp(dir=self.work))
        (folder / "config.json").write_text('{"sd_model_checkpoint": "demo-emoji"}', encoding="utf8")
        return folder

    def groups(self) -> list[list[Row]]:
        """Returns which rows share a server: those that change the page for all have one of their own."""
        alone = [[row] for row in self.rows if row.get("alone")]
        others = [row for row in self.rows if not row.get("alone")]
        return alone + [others[start : start + self.args.group] for start in range(0, len(others), self.args.group)]

    def run(self, rows: list[Row]) -> None:
        """Tries rows together, with each form of the program."""
        for form in self.args.forms.split(","):
            data_dir = self.folder()
            companions = [self.all_rows[name] for row in rows for name in row.get("with", [])]
            for row in (*companions, *rows):
                install(row, self.args.mirrors, data_dir)
            try:
                with self.server(data_dir, form, rows) as server:
                    self.check(server, form, rows)
            except RuntimeError as e:
                if len(rows) == 1:
                    self.note(rows[0], form, {"load": [str(e)]})
                for row in rows if len(rows) > 1 else ():
                    self.alone(row, form)
            if self.args.logs:
                name = f"{'-'.join(row['id'] for row in rows)}-{form}.log"
                shutil.copy(data_dir / "server.log", self.args.logs / name)
            shutil.rmtree(data_dir)

    def alone(self, row: Row, form: str) -> None:
        """Tries a row alone, with one form of the program."""
        forms, self.args.forms = self.args.forms, form
        try:
            self.run([row])
        finally:
            self.args.forms = forms

    def check(self, server: Server, form: str, rows: list[Row]) -> None:
        """Checks all rows on a server. Raises RuntimeError when one of several spoils plain images."""
        started = server.log()
        plain = [
            fault
            for job in PLAIN_JOBS
            for fault in check_job(server, {**job, "expect": {"differs": False}}, self.baselines)
        ]
        if len(rows) > 1:
            if any(not fault.startswith("the infotext") for fault in plain):
                raise RuntimeError("one of the group spoils plain images")
            print(*plain, sep="\n")  # whose it is only a server of its own tells
            plain = []
        facts = facts_of(server, form == "page")
        steps = [row for row in rows if form == "page" and "browser" in row.get("page", {})]
        visits = check_browser(server, steps, self.args.logs) if steps else {}
        for row in rows:
            before = len(server.log()) if row not in steps else len(started)
            page = check_lists(row, facts) + (check_page(server, row, facts) if form == "page" else [])
            job = [*plain, *visits.get(row["id"], [])]
            job += [
                f"{job.get('name', '?')}: {fault}"
                for job in row.get("jobs", [])
                for fault in check_job(server, job, self.baselines)
            ]
            job += [fault for route in row.get("routes", []) for fault in check_route(server, route)]
            later = exceptions_of(server.log()[before:], row)
            self.note(row, form, {"load": exceptions_of(started, row), "page": page, "job": job + later})

    def note(self, row: Row, form: str, faults: dict[str, list[str]]) -> None:
        """Keeps the faults of a row and prints them."""
        self.report.setdefault(row["id"], {"repo": row["repo"]})[form] = faults
        found = [f"{kind}: {fault}" for kind, faults_of_kind in faults.items() for fault in faults_of_kind]
        print(
            row["id"],
            row["repo"],
            form,
            "FAILED" if found else "ok",
            *(f"\n     {fault}" for fault in found),
            flush=True,
        )
        if self.args.out:
            self.args.out.write_text(json.dumps(self.report, indent=1, ensure_ascii=False), encoding="utf8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirrors", required=True, type=Path, help="folder with OWNER+NAME/repo")
    parser.add_argument("--python", default=sys.executable, help="the Python that the program runs with")
    parser.add_argument("--only", default="", help="ids, separated by commas")
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--group", type=int, default=5, help="extensions per server")
    parser.add_argument("--installers", action="store_true", help="run the install.py of each")
    parser.add_argument("--logs", type=Path, help="folder for the logs of the servers")
    parser.add_argument("--out", type=Path, help="file for the report, as JSON")
    args = parser.parse_args()
    if args.logs:
        args.logs.mkdir(parents=True, exist_ok=True)
    rows = json.loads(ROWS.read_text(encoding="utf8"))
    trial = Trial(args, rows)
    try:
        trial.make_baselines()
        for group in trial.groups():
            trial.run(group)
    finally:
        shutil.rmtree(trial.work, ignore_errors=True)
    return int(any(faults for row in trial.report.values() for form in FORMS for faults in row.get(form, {}).values()))


if __name__ == "__main__":
    sys.exit(main())
