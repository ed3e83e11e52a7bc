"""What extensions can ask about the names they may rely on, and the extension to begin from."""

import importlib
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from modules import extension_api, extension_check, script_base, script_callbacks, script_loading, shared

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "docs" / "template_extension"


@pytest.fixture
def template():
    path = str(TEMPLATE / "scripts" / "template.py")
    module = script_loading.load_module(path)
    yield module
    script_callbacks.remove_callbacks_for_function(module.on_ui_settings)
    script_loading.loaded_scripts.pop(path, None)
    shared.opts.data_labels.pop("template_enabled", None)
    shared.opts.data.pop("template_enabled", None)


def test_hooks_are_those_of_code_and_docs():
    in_code = {name for name in vars(script_callbacks) if name.startswith("on_")}
    assert set(extension_api.SUPPORTED_CALLBACKS) == in_code
    assert all(hasattr(script_base.Script, name) for name in extension_api.SUPPORTED_SCRIPT_METHODS)
    text = (ROOT / "docs" / "hooks.md").read_text(encoding="utf8")
    names = (*extension_api.SUPPORTED_CALLBACKS, *extension_api.SUPPORTED_SCRIPT_METHODS)
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_version_in_the_docs():
    text = (ROOT / "docs" / "extensions.md").read_text(encoding="utf8")
    assert f"`EXTENSION_API_VERSION` is `{extension_api.EXTENSION_API_VERSION}`" in text


@pytest.mark.parametrize("name", extension_api.DEPRECATED)
def test_deprecated_names_work_and_are_said_once(name, caplog):
    extension_api.warn_deprecated.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            importlib.reload(importlib.import_module(name))
    said = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert said == [f"{name} is deprecated: use {extension_api.DEPRECATED[name]}"]
    importlib.import_module(extension_api.DEPRECATED[name])


def test_the_template_is_foretold_to_load():
    report = extension_check.check(TEMPLATE, extension_check.program_library(ROOT), {})
    assert report.loads and {use.state for file in report.files for use in file.uses} == {extension_check.HERE}


def test_the_template_does_its_job(template):
    script_callbacks.ui_settings_callback()
    assert shared.opts.template_enabled is True
    script, p = template.Template(), SimpleNamespace(extra_generation_params={})
    pp = script_base.PostprocessImageArgs(Image.new("RGB", (8, 8), (200, 100, 50)))
    script.process(p, 0.5)
    script.postprocess_image(p, pp, 0.5)
    assert p.extra_generation_params == {template.KEY: 0.5} and pp.image.getpixel((0, 0)) == (100, 50, 25)
    untouched = pp.image
    script.postprocess_image(p, pp, 1.0)
    assert pp.image is untouched
