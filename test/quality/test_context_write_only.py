"""The program writes `p.runtime_context` in one place and reads it nowhere; the sampling loop does not know of it."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = [path for folder in ("modules", "scripts", "extensions-builtin") for path in (ROOT / folder).rglob("*.py")]


def uses_of_attribute(name: str) -> list[tuple[str, str]]:
    """(file, kind of use) of every `something.name`, getattr and setattr with that name included."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == name:
                found.append((path.relative_to(ROOT).as_posix(), type(node.ctx).__name__))
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("getattr", "setattr", "hasattr")
                and any(isinstance(argument, ast.Constant) and argument.value == name for argument in node.args)
            ):
                found.append((path.relative_to(ROOT).as_posix(), node.func.id))
    return found


def test_exactly_one_write_and_no_read():
    assert uses_of_attribute("runtime_context") == [("modules/processing.py", "Store")]


def test_the_write_stands_in_process_images_inner_before_the_process_hook():
    tree = ast.parse((ROOT / "modules/processing.py").read_text(encoding="utf-8"))
    inner = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "process_images_inner"
    )
    lines = {
        "snapshot": _line_of(inner, lambda node: isinstance(node, ast.Attribute) and node.attr == "opts_snapshot"),
        "context": _line_of(inner, lambda node: isinstance(node, ast.Attribute) and node.attr == "runtime_context"),
        "hook": _line_of(inner, lambda node: isinstance(node, ast.Attribute) and node.attr == "process"),
    }
    assert lines["snapshot"] < lines["context"] < lines["hook"]


def _line_of(tree, matches) -> int:
    return min(node.lineno for node in ast.walk(tree) if matches(node))


def test_sampling_does_not_mention_the_context():
    files = [*(ROOT / "modules/sampling").glob("*.py"), *(ROOT / "modules").glob("sd_samplers*.py")]
    assert len(files) > 10
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert "runtime_context" not in text and "RuntimeContext" not in text, path
