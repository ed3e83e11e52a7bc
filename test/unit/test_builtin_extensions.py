"""The extensions that ship with the program: those of v1.10.1, but for upscalers that the program has by itself."""

from pathlib import Path

import pytest

from modules import extensions, scripts, shared

FOLDER = Path(__file__).parents[2] / "extensions-builtin"
V1_10_1 = {
    "Lora": "scripts/lora_script.py",
    "canvas-zoom-and-pan": "javascript/zoom.js",
    "extra-options-section": "scripts/extra_options_section.py",
    "hypertile": "scripts/hypertile_script.py",
    "mobile": "javascript/mobile.js",
    "postprocessing-for-training": "scripts/postprocessing_caption.py",
    "prompt-bracket-checker": "javascript/prompt-bracket-checker.js",
    "soft-inpainting": "scripts/soft_inpainting_script.py",
}
"""Name -> one of its files."""


def test_they_are_those_of_v1_10_1():
    assert {path.name for path in FOLDER.iterdir()} == set(V1_10_1)


@pytest.fixture
def listed(program, monkeypatch):
    """Lists extensions anew, with some disabled; what there was comes back at the end."""

    def list_with_disabled(names):
        with monkeypatch.context() as patch:
            patch.setitem(shared.opts.data, "disabled_extensions", names)
            extensions.list_extensions()
        return scripts.list_scripts("scripts", ".py") + scripts.list_scripts("javascript", ".js")

    yield list_with_disabled
    extensions.list_extensions()


@pytest.mark.parametrize("name", V1_10_1)
def test_each_is_loaded_unless_it_is_disabled(listed, name):
    path = str(FOLDER / name / V1_10_1[name])
    assert path in [file.path for file in listed([])]
    assert path not in [file.path for file in listed([name])]
