from types import SimpleNamespace

import pytest
from PIL import Image

from modules import scripts, scripts_auto_postprocessing, scripts_postprocessing, shared
from modules.scripts_postprocessing import ScriptPostprocessing


class Shrink(ScriptPostprocessing):
    name = "Shrink"

    def ui(self):
        return {"factor": "slider", "reason": "textbox"}

    def process(self, pp, factor, reason):
        pp.image = pp.image.reduce(factor)
        pp.info["Shrunk"] = reason


@pytest.fixture(autouse=True)
def known(monkeypatch):
    rows = [scripts.ScriptClassData(Shrink, "/scripts/shrink.py", "/", None)]
    monkeypatch.setattr(scripts_postprocessing, "postprocessing_scripts_data", rows)


def test_scripts_that_the_setting_names_are_offered():
    assert list(scripts_auto_postprocessing.create_auto_preprocessing_script_data()) == []
    with shared.opts.overlay({"postprocessing_enable_in_main_ui": ["Unknown", "Shrink"]}):
        (row,) = scripts_auto_postprocessing.create_auto_preprocessing_script_data()
    assert row.path == "/scripts/shrink.py"
    script = row.script_class()
    assert script.title() == "Shrink"
    assert script.show(False) == scripts.AlwaysVisible
    assert scripts_auto_postprocessing.create_auto_preprocessing_script_data in scripts.script_data_sources


def test_every_picture_of_a_job_is_worked_on():
    script = scripts_auto_postprocessing.ScriptPostprocessingForMainUI(Shrink())
    assert script.ui(is_img2img=False) == ["slider", "textbox"]
    p = SimpleNamespace(extra_generation_params={"Other": 1})
    pp = SimpleNamespace(image=Image.new("RGB", (8, 4)))
    script.postprocess_image(p, pp, 2, "too large")
    assert pp.image.size == (4, 2)
    assert p.extra_generation_params == {"Other": 1, "Shrunk": "too large"}
