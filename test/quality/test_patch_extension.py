"""The example of docs/extensions.md that changes the model for a job, as it stands there."""

import re
from pathlib import Path

import pytest

from modules import script_loading, scripts, sd_models

DOCS = Path(__file__).resolve().parents[2] / "docs" / "extensions.md"


@pytest.fixture
def extension_script(client, tmp_path):
    """The script of the example, added to the txt2img runner."""
    example = re.search(r"```python\n# extensions/soft/scripts/soft\.py\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    path = tmp_path / "soft.py"
    path.write_text(example[1], encoding="utf-8")
    script = script_loading.load_module(str(path)).Soft()
    script.filename, script.alwayson, script.args_from, script.args_to = str(path), True, 0, 0
    runner = scripts.scripts_txt2img
    runner.scripts.append(script)
    runner.alwayson_scripts.append(script)
    runner.callback_map.clear()  # the order of hooks is worked out anew only when the number of scripts changes
    yield
    runner.scripts.remove(script)
    runner.alwayson_scripts.remove(script)
    runner.callback_map.clear()


@pytest.fixture
def plain(txt2img, second_checkpoint):
    """What the job gives without the script."""
    refiner = {"refiner_checkpoint": second_checkpoint, "refiner_switch_at": 0}
    return refiner, txt2img(**refiner).pixels, txt2img().pixels


def test_example_acts_on_every_model_of_the_job_and_leaves_no_trace(plain, txt2img, request):
    refiner, refined, base = plain
    request.getfixturevalue("extension_script")
    assert txt2img(**refiner).pixels != refined
    assert txt2img().pixels != base
    for model in sd_models.model_data.loaded_sd_models:
        assert not model.model.diffusion_model._forward_hooks
        assert list(model.patches.on) == ["learned vectors"]
