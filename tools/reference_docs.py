"""Writes docs/hooks.md and docs/settings.md from the tables of the program, and modules/README.md from its docstrings.

    python tools/reference_docs.py

The tests compare the files with what this makes.
"""

import ast
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def cell(text) -> str:
    """Returns a value as it may stand in a Markdown table."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def hook_examples() -> dict[str, str]:
    """Returns name -> source of every function and method of docs/hook_examples."""
    source = (ROOT / "docs/hook_examples/scripts/hook_examples.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    script = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    return {
        node.name: textwrap.dedent(ast.get_source_segment(source, node, padded=True) or "").rstrip()
        for node in [*tree.body, *script.body]
        if isinstance(node, ast.FunctionDef)
    }


def hooks_page() -> str:
    """Returns the text of docs/hooks.md."""
    from modules import hooks

    lines = [
        "# Hooks",
        "",
        "A hook is a callback registered through `modules.script_callbacks.on_...`, or a method of a",
        "`modules.scripts.Script`. Exceptions of a hook do not end the job: they are named with hook, file and line",
        "in the log, in the tab Extensions and in the comments of the job. `--trace-hooks` logs every call with its",
        "time; the tab has the sums for each extension. One that takes longer than the setting `hook_seconds` is",
        "named while it does.",
        "",
        "The examples are the functions of [hook_examples](hook_examples/scripts/hook_examples.py), an extension that",
        "registers every callback and overrides every method; copy it into `extensions/` to see them called.",
        "",
        "| thread | which |",
        "| --- | --- |",
        *(f"| {name} | {which} |" for name, which in hooks.THREADS.items()),
        "",
    ]
    examples = hook_examples()
    for title, table in (("Callbacks", hooks.CALLBACK_HOOKS), ("Methods of a script", hooks.SCRIPT_HOOKS)):
        lines += [
            f"## {title}",
            "",
            "| hook | in code | arguments | when | may change | thread |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name, spec in table.items():
            names = (f"`{name}`", f"`{spec.registrar}`", f"`{spec.arguments}`")
            columns = (*names, spec.when, spec.may_change, spec.thread)
            lines.append("| " + " | ".join(cell(column) for column in columns) + " |")
        lines += ["", "```python"]
        lines.append("\n\n\n".join(examples[spec.registrar] for spec in table.values()))
        lines += ["```", ""]
    return "\n".join(lines)


def settings_page() -> str:
    """Returns the text of docs/settings.md."""
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


LAYERS = {
    "root": "starts the program; may import everything",
    "face": "the page and the API; Gradio and FastAPI live here and nowhere else",
    "job": "one request: the processing object `p`, its hooks, the order of steps",
    "engine": "models on devices; turns settings into arguments",
    "state": "what every part shares",
    "pure": "maths: values in, tensors out; reads no settings",
    "base": "the standard library, numpy and Pillow",
}


def opening(path: Path) -> tuple[str, str]:
    """Returns (layer, first sentence) of a module's docstring, which begins with "layer: "."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    layer, _, text = docstring.partition("\n\n")[0].replace("\n", " ").partition(": ")
    return layer, re.split(r"\. (?=[A-Z])", text)[0].removesuffix(".")


def modules_page() -> str:
    """Returns the text of modules/README.md."""
    lines = [
        "# Modules",
        "",
        "Every file with what it owns, by layer. A layer imports itself and those below it; `state` and `pure` do not",
        "import each other. A file names its layer with the first word of its docstring.",
    ]
    files = [ROOT / "launch.py", ROOT / "webui.py", *sorted((ROOT / "modules").rglob("*.py"))]
    openings = {path: opening(path) for path in files}
    for layer, meaning in LAYERS.items():
        lines += ["", f"## {layer}", "", f"{meaning[0].upper()}{meaning[1:]}.", "", "| file | owns |", "| --- | --- |"]
        for path, (own_layer, sentence) in openings.items():
            if own_layer == layer:
                name = path.relative_to(ROOT).as_posix().removeprefix("modules/").removesuffix("__init__.py")
                lines.append(f"| `{name}` | {cell(sentence).replace('<', '&lt;')} |")
    return "\n".join(lines) + "\n"


PAGES = {"docs/hooks.md": hooks_page, "docs/settings.md": settings_page, "modules/README.md": modules_page}


def main() -> None:
    sys.argv = sys.argv[:1]
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
