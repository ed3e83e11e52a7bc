"""The report about an extension."""

from pathlib import Path

import pytest

from modules import extension_check
from modules.extension_check import HERE, MISSING, REPLACED, TRANSLATED

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """\
import gradio as gr
from modules import processing, script_callbacks, scripts, sd_samplers, shared
from modules.no_such import x
import no_such_package
from ldm.util import default
import k_diffusion.sampling

box = gr.Box
row = gr.Row().style(gap=1)
shared.opts.data["a"] = shared.no_such_name


class Mine(scripts.Script):
    def title(self):
        return "Mine"

    def process(self, p):
        processing.create_infotext = None
        shared.state.job = "x"

    def own(self):
        pass


script_callbacks.on_ui_tabs(lambda: [])
sd_samplers.Sampler.func = 1
"""


@pytest.fixture(scope="module")
def program():
    return extension_check.program_library(ROOT)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "mine"
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "mine.py").write_text(SCRIPT)
    (folder / "requirements.txt").write_text("pillow==1.0\nsome-package>=2\n")
    (folder / "install.py").write_text("import launch\nlaunch.run_pip('install other-package', 'x')\n")
    return folder


def states(report, file="scripts/mine.py"):
    (found,) = [part for part in report.files if part.file == file]
    return {use.name: use.state for use in found.uses}


def test_names_and_what_became_of_them(program, folder):
    report = extension_check.check(folder, program, {})
    found = states(report)
    assert found["modules.script_callbacks"] == HERE and found["k_diffusion.sampling"] == HERE
    assert found["gradio.Box"] == TRANSLATED and found["gradio.blocks.Block.style"] == TRANSLATED
    assert found["modules.no_such"] == MISSING
    assert found["modules.shared.no_such_name"] == MISSING
    assert found["no_such_package"] == MISSING and "pip install no_such_package" in report.packages["no_such_package"]
    assert found.get("ldm.util.default") in (HERE, REPLACED)
    assert not report.loads and "scripts/mine.py, line 3" in report.failures[0]


def test_hooks_and_what_is_replaced(program, folder):
    (file,) = [part for part in extension_check.check(folder, program, {}).files if part.hooks]
    assert [name for name, _ in file.hooks] == ["Mine.title", "Mine.process", "on_ui_tabs"]
    assert [name for name, _ in file.patches] == [
        "modules.processing.create_infotext",
        "modules.sd_samplers.Sampler.func",
    ]


def test_what_is_installed_and_what_that_touches(program, folder):
    report = extension_check.check(folder, program, {"pillow": "12.0"})
    assert {"pillow==1.0", "some-package>=2", "other-package"} <= set(report.installs)
    assert len(report.conflicts) == 1 and "pillow" in report.conflicts[0]


def test_others_that_replace_the_same(program, folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.py").write_text("import modules.processing as p\np.create_infotext = None\n")
    (tmp_path / "quiet").mkdir()
    report = extension_check.check(folder, program, {}, [folder, other, tmp_path / "quiet"])
    assert report.shared_patches == {"modules.processing.create_infotext": ["other"]}
    assert "replaces modules.processing.create_infotext, as does other" in extension_check.as_text(report)


def test_what_an_update_changes(program, folder):
    before = extension_check.check(folder, program, {})
    (folder / "scripts" / "mine.py").write_text("from modules import script_callbacks as c\nc.on_before_ui(print)\n")
    changes = extension_check.changes(before, extension_check.check(folder, program, {}))
    assert "+ hook on_before_ui" in changes and "- hook on_ui_tabs" in changes
    assert "- replaces modules.processing.create_infotext" in changes


@pytest.mark.parametrize("name", ["Lora", "hypertile", "soft-inpainting", "extra-options-section"])
def test_what_is_shipped_loads_and_lacks_nothing(name, program):
    """The names that are found are those the program has: its own extensions use many of them."""
    report = extension_check.check(ROOT / "extensions-builtin" / name, program, {})
    assert report.failures == []
    assert [use for file in report.files for use in file.uses if use.state in (MISSING, REPLACED)] == []
