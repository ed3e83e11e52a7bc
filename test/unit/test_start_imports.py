"""What importing the large packages leaves out, and that whoever uses it finds it."""

import gc
import importlib.util
import inspect
import subprocess
import sys
import types

import pytest

from modules import start_imports
from modules.paths_internal import script_path


def test_a_package_is_imported_when_it_is_used(tmp_path, monkeypatch):
    (tmp_path / "large_package").mkdir()
    (tmp_path / "large_package" / "__init__.py").write_text("SIZE = 7")
    (tmp_path / "large_package" / "part.py").write_text("WIDTH = 3")
    (tmp_path / "user_of_it.py").write_text("import large_package as found")
    (tmp_path / "user_of_part.py").write_text("from large_package.part import WIDTH")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with start_imports.imported_when_used({"large_package": ()}):
        import user_of_it
    assert "large_package" not in sys.modules
    assert user_of_it.found.SIZE == 7

    import large_package

    assert large_package is sys.modules["large_package"] and user_of_it.found.SIZE is large_package.SIZE
    for name in [name for name in sys.modules if name.startswith("large_package")]:
        monkeypatch.delitem(sys.modules, name)
    with start_imports.imported_when_used({"large_package": ()}):
        import user_of_part
    assert user_of_part.WIDTH == 3 and sys.modules["large_package"].SIZE == 7
    with (
        start_imports.imported_when_used({"no_such_package": (), "no_such_package.part": ()}),
        pytest.raises(ImportError),
    ):
        import no_such_package  # noqa: F401


def test_a_module_of_a_package_is_imported_when_it_is_used(tmp_path, monkeypatch):
    (tmp_path / "sparse_package").mkdir()
    (tmp_path / "sparse_package" / "__init__.py").write_text(
        "import importlib\ndef __getattr__(name):\n    return importlib.import_module('sparse_package.' + name)"
    )
    (tmp_path / "sparse_package" / "part.py").write_text("SIZE = 7")
    (tmp_path / "user_of_sparse.py").write_text("import sparse_package.part")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with start_imports.imported_when_used({"sparse_package.part": ()}):
        import user_of_sparse

        assert inspect.getmodule(pytest) is pytest  # looks at the files of all modules
        stand_in = sys.modules["sparse_package.part"]
        assert isinstance(stand_in, start_imports.ImportedWhenUsed)
    assert user_of_sparse.sparse_package.part.SIZE == 7
    assert not isinstance(sys.modules["sparse_package.part"], start_imports.ImportedWhenUsed)


def test_functions_are_imported_by_name_before_their_package_is(tmp_path, monkeypatch):
    (tmp_path / "slow_package").mkdir()
    (tmp_path / "slow_package" / "__init__.py").write_text("from slow_package.tools import double, SIZE")
    (tmp_path / "slow_package" / "tools.py").write_text("SIZE = 7\ndef double(number): return 2 * number")
    (tmp_path / "user_of_package.py").write_text("from slow_package import double")
    (tmp_path / "user_of_module.py").write_text("from slow_package.tools import double")
    (tmp_path / "user_of_size.py").write_text("from slow_package import SIZE")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with start_imports.imported_when_used({"slow_package": ("double",), "slow_package.tools": ("double",)}):
        import user_of_module
        import user_of_package
    assert not any(name.startswith("slow_package") for name in sys.modules)
    assert user_of_package.double(2) == 4 and user_of_module.double(number=3) == 6
    assert sys.modules["slow_package"].SIZE == 7

    for name in [name for name in sys.modules if name.startswith("slow_package")]:
        monkeypatch.delitem(sys.modules, name)
    with start_imports.imported_when_used({"slow_package": ("double",)}):
        import user_of_size  # what is no such function is imported at once
    assert user_of_size.SIZE == 7 and sys.modules["slow_package"].double(2) == 4


SERVE_WITHOUT_MODEL = """
import sys
sys.argv = ["webui.py", "--data-dir", sys.argv[1]]
from modules import initialize, start_imports
initialize.imports()
print([name for name in start_imports.UNUSED_BY_TORCH | start_imports.UNUSED_BY_GRADIO if name in sys.modules])
import gradio, httpx, torch
print(callable(gradio.deploy), callable(gradio.load), callable(httpx.main), callable(torch.distributions.Normal))

from modules import sd_models
sd_models.import_networks()
print([name for name in sys.modules if name.startswith("scipy.") and name in start_imports.UNUSED_BY_NETWORKS])
import numpy
from transformers.loss import loss_for_object_detection
from transformers.utils import import_utils
print([list(map(int, row)) for row in loss_for_object_detection.linear_sum_assignment(numpy.array([[1, 2], [0, 1]]))])

import os, transformers
for path, prefix in ((os.path.dirname(transformers.models.__file__), "models"), (transformers.models.__file__, None)):
    found = import_utils.define_import_structure(path, prefix)
    again = import_utils.define_import_structure.__wrapped__(path, prefix)
    plain = import_utils.spread_import_structure(import_utils.create_import_structure_from_path(path))
    start = f"{prefix}." if prefix else ""
    print(found == again == {key: {start + name: value[name] for name in value} for key, value in plain.items()})
"""


def test_the_start_leaves_out_what_it_does_not_use(tmp_path):
    command = [sys.executable, "-c", SERVE_WITHOUT_MODEL, str(tmp_path)]
    found = subprocess.run(command, cwd=script_path, capture_output=True, text=True)
    assert found.stdout.splitlines() == ["[]", "True True True True", "[]", "[[0, 1], [0, 1]]", "True", "True"], (
        found.stderr
    )


def test_files_of_transformers_are_read_each_time_where_somebody_works_on_them(monkeypatch):
    import transformers

    functions = types.SimpleNamespace(define_import_structure=len)
    monkeypatch.setattr(transformers, "__version__", "5.0.0.dev0")
    start_imports.remember_structure(functions)
    assert functions.define_import_structure is len


def test_gradio_is_imported_without_working_out_type_stubs():
    import gradio

    with start_imports.changed(start_imports.CHANGES_OF_GRADIO):
        (finder,) = [found for found in sys.meta_path if isinstance(found, start_imports.ChangingFinder)]
    assert finder not in sys.meta_path
    assert finder.find_spec("gradio.events", gradio.__path__) is None
    spec = finder.find_spec("gradio.component_meta", gradio.__path__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert issubclass(module.ComponentMeta, type)
    assert module.create_or_modify_pyi(None, "no class, which it would look for the file of", []) is None


def test_collections_pause_until_all_imports_are_over():
    collections = start_imports.Collections()
    assert gc.isenabled()
    with collections.paused():
        with pytest.raises(ImportError), collections.paused():
            raise ImportError
        assert not gc.isenabled()
    assert gc.isenabled()
