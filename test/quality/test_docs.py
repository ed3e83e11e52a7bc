"""The documents say what is there: places, settings, hooks and routes they name exist, and none is left out."""

import ast
import re
from pathlib import Path

import pytest

from modules import http_paths
from tools import reference_docs

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
HOP = re.compile(r"`(modules/[\w/]+\.py):(\w+)`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
FILE = re.compile(r"`((?:modules|docs|test|benchmarks|tools|scripts)/[\w/.-]+\.\w+)`")


def names_defined_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }


@pytest.mark.parametrize(("path", "name"), sorted(set(HOP.findall((ROOT / "docs/architecture.md").read_text("utf-8")))))
def test_hop_of_the_journey_exists(path, name):
    assert name in names_defined_in(ROOT / path)


def test_the_journey_has_its_hops():
    assert len(HOP.findall((ROOT / "docs/architecture.md").read_text("utf-8"))) >= 12


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_files_exist(document):
    text = document.read_text(encoding="utf-8")
    links = [(document.parent / link).resolve() for link in LINK.findall(text)]
    files = [ROOT / name for name in FILE.findall(text)]
    assert [path for path in [*links, *files] if not path.exists()] == []


@pytest.mark.parametrize("name", list(reference_docs.PAGES))
def test_reference_pages_are_made_from_the_tables(name):
    """`python tools/reference_docs.py` writes them anew."""
    assert (ROOT / name).read_text(encoding="utf-8") == reference_docs.PAGES[name]()


def test_every_route_is_documented(client):
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    routes = [path for path in client.get("/openapi.json").json()["paths"] if http_paths.is_api(path)]
    assert [path for path in routes if f"`{path}`" not in text] == []


def test_no_document_names_a_machine_or_a_registry():
    for document in DOCS:
        text = document.read_text(encoding="utf-8")
        assert not re.search(r"pypi\.org|registry\.npmjs|files\.pythonhosted", text), document
