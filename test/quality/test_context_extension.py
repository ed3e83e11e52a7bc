"""A script in an extension folder reads `p.runtime_context` in its hooks, through the REST API."""

import pytest

from modules import paths_internal, script_loading, scripts, shared
from modules.runtime_context import RuntimeContext

SCRIPT = """
from modules import scripts

seen = {}


class ReadsContext(scripts.Script):
    def title(self):
        return "Reads context"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def before_process(self, p, *args):
        seen["before_process"] = p.runtime_context

    def process(self, p, *args):
        seen["process"] = p.runtime_context

    def process_batch(self, p, *args, **kwargs):
        seen["process_batch"] = p.runtime_context

    def postprocess_image(self, p, pp, *args):
        seen["postprocess_image"] = p.runtime_context

    def postprocess(self, p, processed, *args):
        seen["postprocess"] = p.runtime_context
"""


@pytest.fixture
def extension_script(client, tmp_path):
    """The module of a script that was loaded from an extension folder, its script added to the txt2img runner."""
    path = tmp_path / "extensions" / "reads-context" / "scripts" / "reads_context.py"
    path.parent.mkdir(parents=True)
    path.write_text(SCRIPT, encoding="utf-8")
    module = script_loading.load_module(str(path))
    runner = scripts.scripts_txt2img
    script = module.ReadsContext()
    script.filename, script.alwayson, script.args_from, script.args_to = str(path), True, 0, 0
    runner.scripts.append(script)
    runner.alwayson_scripts.append(script)
    runner.callback_map.clear()  # the order of hooks is worked out anew only when the number of scripts changes
    yield module
    runner.scripts.remove(script)
    runner.alwayson_scripts.remove(script)
    runner.callback_map.clear()


def test_context_is_there_in_every_hook_of_the_run(client, extension_script):
    request = {
        "prompt": "red apple",
        "width": 64,
        "height": 64,
        "steps": 1,
        "override_settings": {"samples_format": "webp"},
    }
    assert client.post("/sdapi/v1/txt2img", json=request).status_code == 200
    seen = extension_script.seen
    assert seen.pop("before_process") is None
    assert set(seen) == {"process", "process_batch", "postprocess_image", "postprocess"}
    context = seen["process"]
    assert all(other is context for other in seen.values())
    assert isinstance(context, RuntimeContext)
    assert context.model is shared.sd_model
    assert context.state is shared.state
    assert context.cmd_opts is shared.cmd_opts
    assert context.device == shared.device
    assert context.opts_snapshot.samples_format == "webp"


def test_each_run_gets_a_new_one(client, extension_script):
    request = {"prompt": "red apple", "width": 64, "height": 64, "steps": 1}
    contexts = []
    for _ in range(2):
        client.post("/sdapi/v1/txt2img", json=request)
        contexts.append(extension_script.seen["process"])
    assert contexts[0] is not contexts[1]


def test_extensions_live_where_documented():
    assert paths_internal.extensions_dir.endswith("extensions")
