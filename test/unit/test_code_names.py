"""Which names modules have, told from their source."""

import ast

import pytest

from modules.code_names import Library, parse, set_from_outside

SOURCES = {
    "plain.py": "import os\nfrom json import loads as read\nx: int\na, (b, *c) = 1, (2, 3)\n"
    "for i in ():\n    pass\nwith open('f') as f:\n    pass\ndef g():\n    hidden = 1\nclass K:\n    inner = 1\n",
    "star.py": "from plain import *\n",
    "lazy.py": "def __getattr__(name):\n    if name == 'current':\n        return 1\n    raise AttributeError(name)\n",
    "twin.py": "import sys\nimport plain\nsys.modules[__name__] = plain\n",
    "living.py": "import sys\nclass Living:\n    @property\n    def model(self):\n        return 1\n"
    "sys.modules[__name__].__class__ = Living\n",
    "package/__init__.py": "from .part import y\n",
    "package/part.py": "y = 1\n",
    "broken.py": "def (",
}


@pytest.fixture
def library(tmp_path):
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf8")
    return Library([tmp_path], with_installed=False)


@pytest.mark.parametrize(
    ("module", "has", "lacks"),
    [
        ("plain", ["os", "read", "x", "a", "b", "c", "i", "f", "g", "K"], ["hidden", "inner", "loads"]),
        ("star", ["a", "K"], ["hidden"]),
        ("lazy", ["current"], ["other"]),
        ("twin", ["g"], ["hidden"]),
        ("living", ["model", "Living"], ["other"]),
        ("package", ["y", "part"], ["z"]),
    ],
)
def test_names_of_a_module(library, module, has, lacks):
    names = library.names(module)
    assert [name for name in has if not names.has(name)] == []
    assert [name for name in lacks if names.has(name)] == []


def test_what_is_no_module_and_what_cannot_be_read(library):
    assert library.names("nothing") is None and library.names("plain.x") is None
    assert library.names("broken").has("anything")


def test_installed_packages_are_found_and_not_run(tmp_path):
    library = Library([tmp_path])
    assert library.find("PIL.Image") is not None and library.find("PIL.no_such") is None
    assert library.find("no_such_package") is None
    assert library.names("PIL.Image").has("BICUBIC")  # which it sets on itself
    assert not library.names("PIL.ImageOps").has("no_such") and library.names("PIL.ImageOps").has("flip")


def test_what_is_put_onto_other_modules():
    text = (
        "import gradio as gr\nfrom modules import sd_samplers, patches\nself = 1\n"
        "gr.Box, other = 1, 2\nsd_samplers.create_sampler = f\nsetattr(gr.Blocks, 'x', 1)\n"
        "patches.patch(__name__, sd_samplers, 'y', f)\nself.own = 1\n"
    )
    assert list(set_from_outside(ast.parse(text))) == [
        ("gradio.Box", 4),
        ("modules.sd_samplers.create_sampler", 5),
        ("gradio.Blocks.x", 6),
        ("modules.sd_samplers.y", 7),
    ]


def test_a_file_that_is_no_python_has_no_tree(tmp_path):
    (tmp_path / "x.py").write_bytes(b"\x00")
    assert parse(tmp_path / "x.py") is None and parse(tmp_path / "none.py") is None


def test_what_may_have_any_name_does_not_have_its_thousands_of_files_read(tmp_path):
    (tmp_path / "lazy").mkdir()
    (tmp_path / "lazy" / "__init__.py").write_text("g = globals()\nfrom .part import *\n")
    (tmp_path / "lazy" / "part.py").write_text("x = 1\n")
    library = Library([tmp_path], with_installed=False)
    assert library.names("lazy").has("anything") and "lazy.part" not in library._names


def test_a_folder_of_hints_stands_for_what_a_compiled_package_makes(tmp_path):
    (tmp_path / "fast" / "part").mkdir(parents=True)
    (tmp_path / "fast" / "__init__.py").write_text("x = 1\n")
    (tmp_path / "fast" / "part" / "__init__.pyi").write_text("def f() -> None: ...\n")
    assert Library([tmp_path], with_installed=False).names("fast.part").has("g")
