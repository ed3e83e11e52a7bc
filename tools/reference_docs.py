"""Writes docs/hooks.md and docs/settings.md from the tables of the program.

    python tools/reference_docs.py

The tests compare the files with what this makes.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def cell(text) -> str:
    """A value as it may stand in a Markdown table."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def hooks_page() -> str:
    """docs/hooks.md"""
    from modules import hooks

    lines = [
        "# Hooks",
        "",
        "A hook is a callback registered through `modules.script_callbacks.on_...`, or a method of a",
        "`modules.scripts.Script`. Exceptions of a hook are logged with file and hook and do not end the job;",
        "`--trace-hooks` logs every call with its time.",
        "",
    ]
    for title, table in (("Callbacks", hooks.CALLBACK_HOOKS), ("Methods of a script", hooks.SCRIPT_HOOKS)):
        lines += [
            f"## {title}",
            "",
            "| hook | in code | arguments | when | may change |",
            "| --- | --- | --- | --- | --- |",
        ]
        for name, spec in table.items():
            columns = (f"`{name}`", f"`{spec.registrar}`", f"`{spec.arguments}`", spec.when, spec.may_change)
            lines.append("| " + " | ".join(cell(column) for column in columns) + " |")
        lines.append("")
    return "\n".join(lines)


def settings_page() -> str:
    """docs/settings.md"""
    from modules.settings import all_options, categories

    lines = [
        "# Settings",
        "",
        "Keys, defaults and meaning, by page. Set them on the Settings tab, with `POST /sdapi/v1/options`, or for one",
        "job with `override_settings`.",
        "",
    ]
    section = None
    for key, info in all_options().items():
        if info.section != section:
            section = info.section
            category = categories.get(info.category_id or "", "")
            title = (section and section[1]) or "Other"
            lines += [
                "",
                f"## {category}: {title}" if category else f"## {title}",
                "",
                "| key | default | meaning |",
                "| --- | --- | --- |",
            ]
        default = "(a folder of the data directory)" if key.startswith("outdir_") else f"`{info.default!r}`"
        lines.append(f"| `{key}` | {cell(default)} | {cell(info.label)} |")
    return "\n".join(lines) + "\n"


PAGES = {"docs/hooks.md": hooks_page, "docs/settings.md": settings_page}


def main() -> None:
    sys.argv = sys.argv[:1]
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
