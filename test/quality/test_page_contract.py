"""The page holds every control of v1.10.1 under its element id, with its label, limits and default."""

import json
from pathlib import Path

import pytest

CONTROLS = json.loads((Path(__file__).parents[1] / "data" / "page_controls.json").read_text(encoding="utf8"))

NATIVE_SIZE = {f"{tab}_{side}": 128 for tab in ("txt2img", "img2img") for side in ("width", "height")}
"""The page starts at the size of the embedded model while that is the only one."""


@pytest.fixture(scope="module")
def components(client):
    """Element id -> properties of the components that have it, as the page sends them."""
    found = {}
    for component in client.get("/config").json()["components"]:
        properties = component["props"]
        if properties.get("elem_id"):
            found.setdefault(properties["elem_id"], []).append(properties)
    return found


def expected(control):
    """What /config has to say of a control: an accordion that is a value keeps it in its hidden checkbox."""
    row = {key: value for key, value in control.items() if key not in ("elem_id", "kind", "choices")}
    if control["elem_id"] in NATIVE_SIZE:
        row["value"] = NATIVE_SIZE[control["elem_id"]]
    if row.get("value") == "" or control["kind"] in ("HTML", "FormHTML", "ToolButton"):
        row.pop("value", None)  # texts of our own
    return row


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: f"{control['elem_id']}-{control['kind']}")
def test_control_is_there(components, control):
    suffix = "-checkbox" if control["kind"] == "InputAccordion" else ""
    candidates = components.get(control["elem_id"] + suffix)
    assert candidates, f"no component has the element id {control['elem_id']}"

    row = expected(control)
    assert any(all(found.get(key) == value for key, value in row.items()) for found in candidates), (
        row,
        [{key: found.get(key) for key in row} for found in candidates],
    )


@pytest.mark.parametrize("control", [c for c in CONTROLS if "choices" in c], ids=lambda control: control["elem_id"])
def test_control_offers_the_choices(components, control):
    offered = [[choice[0] for choice in found["choices"]] for found in components[control["elem_id"]]]
    assert control["choices"] in offered


def test_ui_config_has_the_keys_that_old_files_use(client, data_dir):
    stored = json.loads((data_dir / "ui-config.json").read_text(encoding="utf8"))
    for key in (
        "txt2img/Prompt/visible",
        "txt2img/Width/value",
        "txt2img/Width/maximum",
        "txt2img/CFG Scale/step",
        "txt2img/Hires. fix/value",
        "txt2img/Batch count/minimum",
        "txt2img/Generate/visible",
        "txt2img/Tabs@txt2img_extra_tabs/selected",
        "customscript/sampler.py/txt2img/Sampling steps/value",
        "customscript/sampler.py/txt2img/Sampling method/value",
        "customscript/seed.py/txt2img/Seed/value",
        "customscript/refiner.py/txt2img/Switch at/value",
        "img2img/Denoising strength/minimum",
        "img2img/Mask blur/value",
        "img2img/Resize mode/value",
        "img2img/Tabs@mode_img2img/selected",
        "extras/Show result images/value",
        "modelmerger/Interpolation Method/value",
        "webui/Tabs@tabs/selected",
    ):
        assert key in stored, key
    assert stored["txt2img/Width/value"] == 512


def test_page_is_hidden_nowhere_from_scripts(components):
    """Gradio's own `visible` would keep elements out of the page; only tabs may use it."""
    hidden = components["txt2img_token_button"][0]
    assert hidden["visible"] is not False and "webui-hidden" in hidden["elem_classes"]


def test_page_links_nothing_of_other_hosts(client):
    page = client.get("/").text
    for fragment in page.split("<")[1:]:
        tag = fragment.split(">")[0]
        if tag.startswith(("link ", "script ")):
            assert "//" not in tag.replace("http://testserver", ""), tag
