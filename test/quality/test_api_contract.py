"""Routes, fields, defaults and lists of the REST API are those of v1.10.1."""

import json
from pathlib import Path

import pytest

from modules import shared
from test.ours import without_ours

DATA = Path(__file__).resolve().parent.parent / "data"
API = json.loads((DATA / "api.json").read_text(encoding="utf-8"))
OPTIONS = json.loads((DATA / "options.json").read_text(encoding="utf-8"))["options"]
SAMPLERS = json.loads((DATA / "samplers.json").read_text(encoding="utf-8"))["samplers"]
SCHEDULERS = json.loads((DATA / "schedulers.json").read_text(encoding="utf-8"))["schedulers"]
FLAGS = json.loads((DATA / "cli.json").read_text(encoding="utf-8"))["flags"]

ROUTES = [
    (row["method"], row["path"])
    for row in API["endpoints"]
    if row["path"].startswith("/sdapi") and "server-" not in row["path"]
]
REQUEST_MODELS = {
    row["path"]: row["body"] for row in API["endpoints"] if row.get("body", {}).get("fields") and "model" in row["body"]
}


def fields_of_theirs(path, names):
    """The names without those of fields that only we have."""
    return without_ours("fields", names, lambda name: f"{path} {name}")


@pytest.fixture(scope="module")
def schema(client):
    return client.get("/openapi.json").json()


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[f"{method} {path}" for method, path in ROUTES])
def test_route_exists(schema, method, path):
    assert method.lower() in schema["paths"].get(path, {})


@pytest.mark.parametrize("path", [path for path in REQUEST_MODELS if path.startswith("/sdapi")])
def test_request_fields_and_defaults(schema, path):
    name = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    ours = schema["components"]["schemas"][name.rpartition("/")[2]]
    theirs = {row["name"]: row for row in REQUEST_MODELS[path]["fields"]}
    assert set(fields_of_theirs(path, ours["properties"])) == set(theirs)
    required = {name for name, row in theirs.items() if row.get("required")}
    assert set(ours.get("required", [])) == required  # one of ours would break clients of v1.10.1
    for field, row in theirs.items():
        if field not in required:
            assert ours["properties"][field].get("default") == row["default"], field


JSON_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "object": "object",
    "dict": "object",
    "list": "array",
    "list[str]": "array",
    "list[FileData]": "array",
    "Literal[0, 1]": "integer",
}


def types_of(schema, field):
    """What JSON types the description of a field allows."""
    if "anyOf" in field:
        return set().union(*(types_of(schema, choice) for choice in field["anyOf"]))
    return {resolved(schema, field)["type"]}


def resolved(schema, field):
    return schema["components"]["schemas"][field["$ref"].rpartition("/")[2]] if "$ref" in field else field


@pytest.mark.parametrize("path", [path for path in REQUEST_MODELS if path.startswith("/sdapi")])
def test_request_types(schema, path):
    body = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    ours = resolved(schema, body)["properties"]
    theirs = {
        row["name"]: {JSON_TYPES[row["type"]]} | ({"null"} if row.get("nullable") else set())
        for row in REQUEST_MODELS[path]["fields"]
    }
    assert {name: types_of(schema, ours[name]) for name in fields_of_theirs(path, ours)} == theirs


RESPONSES = [
    row
    for row in API["endpoints"]
    if row["path"].startswith("/sdapi")
    and isinstance(row["response"], dict)
    and isinstance(row["response"].get("fields"), list)
]


@pytest.mark.parametrize("row", RESPONSES, ids=lambda row: row["path"])
def test_answer_fields(schema, row):
    answer = schema["paths"][row["path"]][row["method"].lower()]["responses"]["200"]["content"]["application/json"]
    shape = answer["schema"]["items"] if "list_of" in row["response"] else answer["schema"]
    fields = resolved(schema, shape)["properties"]
    assert set(fields_of_theirs(row["path"], fields)) == {field["name"] for field in row["response"]["fields"]}


def test_docs_page_is_served(client):
    assert client.get("/docs").status_code == 200


def test_options_are_all_there_with_their_defaults(client):
    ours = client.get("/sdapi/v1/options").json()
    missing = [row["key"] for row in OPTIONS if row["key"] not in ours]
    assert missing == []
    static = [row for row in OPTIONS if not isinstance(row["default"], str) or not row["key"].startswith("outdir")]
    definitions = shared.opts.data_labels
    different = {
        row["key"]: (definitions[row["key"]].default, row["default"])
        for row in static
        if definitions[row["key"]].default != row["default"] and row["key"] not in RUN_TIME_DEFAULTS
    }
    assert different == {}


RUN_TIME_DEFAULTS = {"sd_model_checkpoint", "face_restoration_model"}
"""Settings whose default is worked out when the program runs."""


def test_whole_options_can_be_posted_back(client):
    settings = client.get("/sdapi/v1/options").json()
    before = dict(shared.opts.data)
    assert client.post("/sdapi/v1/options", json=settings).status_code == 200
    after = client.get("/sdapi/v1/options").json()
    assert after == settings
    shared.opts.data.clear()
    shared.opts.data.update(before)


def test_samplers(client):
    answer = without_ours("samplers", client.get("/sdapi/v1/samplers").json(), lambda row: row["name"])
    theirs = [
        {
            "name": row["name"],
            "aliases": row["aliases"],
            "options": {key: str(value) for key, value in row["options"].items()},
        }
        for row in SAMPLERS
    ]
    assert answer == theirs


def test_schedulers(client):
    keys = ("name", "label", "aliases", "default_rho", "need_inner_model")
    answer = without_ours("schedulers", client.get("/sdapi/v1/schedulers").json(), lambda row: row["name"])
    assert answer == [{key: row[key] for key in keys} for row in SCHEDULERS]


def test_flags(client):
    ours = client.get("/sdapi/v1/cmd-flags").json()
    assert [row["dest"] for row in FLAGS if row["dest"] not in ours and row["dest"] != "help"] == []


def test_embedded_model_is_listed(client):
    rows = client.get("/sdapi/v1/sd-models").json()
    embedded = next(row for row in rows if row["model_name"] == "demo-emoji")
    assert embedded["sha256"] == "9576f7e89fdb5e82ea8a0c3cdba646116bd7c528c6e236ff8730f7f5ea77732d"
    assert embedded["title"] == "demo-emoji.safetensors [9576f7e89f]"


def test_latent_upscale_modes(client):
    row = next(row for row in API["endpoints"] if row["path"] == "/sdapi/v1/latent-upscale-modes")
    assert [mode["name"] for mode in client.get(row["path"]).json()] == row["response"]["values"]


def test_upscalers_begin_with_those_that_need_no_model(client):
    assert [row["name"] for row in client.get("/sdapi/v1/upscalers").json()][:3] == ["None", "Lanczos", "Nearest"]


def test_idle_progress(client):
    body = client.get("/sdapi/v1/progress").json()
    assert body["progress"] == 0
    assert body["state"]["job"] == ""
    assert body["state"]["job_count"] == 0
    assert body["current_image"] is None


def test_memory(client):
    body = client.get("/sdapi/v1/memory").json()
    assert body["ram"]["total"] > body["ram"]["used"] > 0
    assert "cuda" in body


def test_info_has_all_keys(client):
    processing = json.loads((DATA / "processing.json").read_text(encoding="utf-8"))
    request = {"prompt": "red apple", "width": 64, "height": 64, "steps": 1}
    info = json.loads(client.post("/sdapi/v1/txt2img", json=request).json()["info"])
    assert list(info) == processing["processed"]["js_keys"]


@pytest.mark.parametrize("path", ["/sdapi/v1/create/embedding", "/sdapi/v1/train/hypernetwork"])
def test_training_answers_that_it_is_not_there(client, path):
    response = client.post(path, json={"name": "x"})
    assert response.status_code == 501
    assert "not available" in response.json()["detail"]
