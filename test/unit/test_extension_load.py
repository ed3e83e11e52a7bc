"""What would happen while an extension is loaded, told from its code; held against Python where it can run."""

import subprocess
import sys

import pytest

from modules.code_names import Library
from modules.extension_load import Loading, Place

LOADS = {
    "guarded": "try:\n    import no_such\nexcept ImportError:\n    no_such = None\n",
    "a second way": "try:\n    import no_such\nexcept ModuleNotFoundError:\n    import json as no_such\n",
    "later": "def f():\n    import no_such\ng = lambda: json.no_such\nimport json\n",
    "for types": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import no_such\n",
    "only alone": "if __name__ == '__main__':\n    import no_such\n",
    "asked for": "import colorsys\nx = colorsys.no_such if hasattr(colorsys, 'no_such') else 1\n",
    "own file": "import inner\nfrom inner import known\n",
    "own package": "from package import part\nfrom package.part import name\n",
}
FAILS = {
    "missing": ("import no_such\n", "no_such", 1),
    "missing in a class": ("class A:\n    import no_such\n", "no_such", 2),
    "missing in a called function": ("def f():\n    import no_such\nf()\n", "no_such", 2),
    "no such name": ("from inner import unknown\n", "inner.unknown", 1),
    "no such attribute": ("import inner\nx = inner.unknown\n", "inner.unknown", 2),
    "the second way too": ("try:\n    import no_such\nexcept ImportError:\n    import nor_this\n", "nor_this", 4),
    "raised again": ("try:\n    import no_such\nexcept ImportError as e:\n    raise\n", "no_such", 2),
    "guarded against others": ("try:\n    import no_such\nexcept KeyError:\n    pass\n", "no_such", 2),
    "in a base class": ("import inner\nclass A(inner.Unknown):\n    pass\n", "inner.Unknown", 2),
}


def loading(folder, script):
    (folder / "scripts").mkdir()
    (folder / "package").mkdir()
    (folder / "inner.py").write_text("known = 1\n")
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "part.py").write_text("from . import part\nname = 1\n")
    (folder / "scripts" / "script.py").write_text(script)
    return Loading(Place(folder, Library([])))


def really_loads(folder):
    command = [sys.executable, "-c", "import runpy, sys; runpy.run_path('scripts/script.py')"]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True).returncode == 0


@pytest.mark.parametrize("name", LOADS)
def test_loads(name, tmp_path):
    assert loading(tmp_path, LOADS[name]).file(tmp_path / "scripts" / "script.py") == []
    assert really_loads(tmp_path)


@pytest.mark.parametrize("name", FAILS)
def test_fails(name, tmp_path):
    script, missing, line = FAILS[name]
    (failure,) = loading(tmp_path, script).file(tmp_path / "scripts" / "script.py")
    assert (failure.name, failure.line, failure.file) == (missing, line, "scripts/script.py")
    assert not really_loads(tmp_path)


def test_a_failure_inside_is_named_where_it_is(tmp_path):
    checked = loading(tmp_path, "import inner\n")
    (tmp_path / "inner.py").write_text("import no_such\n")
    (failure,) = checked.file(tmp_path / "scripts" / "script.py")
    assert (failure.error, failure.name, failure.file, failure.line) == (
        "ModuleNotFoundError",
        "no_such",
        "inner.py",
        1,
    )


def test_a_file_that_is_no_python_fails(tmp_path):
    (failure,) = loading(tmp_path, "def (\n").file(tmp_path / "scripts" / "script.py")
    assert failure.error == "SyntaxError"


def test_folders_put_on_the_path(tmp_path):
    script = "import sys\nsys.path.append('src')\nimport deep\nimport html\n"
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "deep.py").write_text("")
    (tmp_path / "src" / "html.py").write_text("import no_such")  # the one of Python comes first
    assert loading(tmp_path, script).file(tmp_path / "scripts" / "script.py") == []


FETCH = "from huggingface_hub import hf_hub_download\n"


@pytest.mark.parametrize(
    ("script", "fetched"),
    [
        (f"{FETCH}path = hf_hub_download('a', 'b')\n", ["huggingface_hub.hf_hub_download"]),
        ("import requests\ndef f():\n    return [requests.get('x')]\nf()\n", ["requests.get"]),
        ("import requests\ntry:\n    requests.get('x')\nexcept requests.exceptions.RequestException:\n    pass\n", []),
        ("import requests\ndef f():\n    return requests.get('x')\n", []),
        ("import requests\nif requests:\n    requests.get('x')\n", []),
    ],
)
def test_what_is_fetched_while_it_loads(script, fetched, tmp_path):
    online = loading(tmp_path, script)
    assert online.file(tmp_path / "scripts" / "script.py") == []
    offline = Loading(online.place, is_offline=True).file(tmp_path / "scripts" / "script.py")
    assert [failure.name for failure in offline] == fetched
