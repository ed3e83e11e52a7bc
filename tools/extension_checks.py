"""What is asked of a running program to see whether an extension does its job; each check returns faults, as texts."""

import base64
import functools
import io
import json
import random
import re
import string
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Self

from PIL import Image

from tools.extension_server import Server, folder_of

Row = dict[str, Any]
BASE_JOB = {
    "prompt": "red apple",
    "width": 128,
    "height": 128,
    "steps": 4,
    "seed": 7,
    "cfg_scale": 7,
    "sampler_name": "Euler",
}
ONLY_WITH_THE_EXTENSION = ("alwayson_scripts", "script_name", "script_args")
PLAIN_JOBS = ({}, {"kind": "img2img"})


@dataclass
class Facts:
    """What a server says of itself, asked once for all extensions on it. page: its configuration; None without one."""

    options: dict[str, Any]
    samplers: set[str]
    scripts: dict[str, list[str]]
    page: dict[str, Any] | None = None
    html: str = ""
    images: dict[str, Image.Image] = field(default_factory=dict)


def facts_of(server: Server, with_page: bool) -> Facts:
    """Returns what the server says of itself."""
    samplers = {sampler["name"] for sampler in server.json("/sdapi/v1/samplers")}
    facts = Facts(server.json("/sdapi/v1/options"), samplers, server.json("/sdapi/v1/scripts"))
    if with_page:
        facts.page, facts.html = server.json("/config"), server.call("GET", "/")[1]
    return facts


@functools.cache
def picture_text(mode: str = "RGB") -> str:
    """Returns an image to begin with as base64: gradients with a disc; as a mask ("L"), a square."""
    size = 128
    image = Image.new(mode, (size, size))
    if mode == "L":
        image.paste(255, (size // 4, size // 4, size * 3 // 4, size * 3 // 4))
    else:
        for x in range(size):
            for y in range(size):
                is_inside = (x - size / 2) ** 2 + (y - size / 2) ** 2 < (size / 3) ** 2
                image.putpixel((x, y), (200, 40, 40) if is_inside else (x * 2, y * 2, 120))
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def body_of(job: Row) -> Row:
    """Returns the request of a job."""
    body = {**BASE_JOB, **job.get("body", {})}
    if job.get("kind") == "img2img":
        body = {"init_images": [picture_text()], "denoising_strength": 0.6, **body}
    if body.get("mask") == "MASK":
        body["mask"] = picture_text("L")
    if job.get("settings"):
        body["override_settings"] = {**body.get("override_settings", {}), **job["settings"]}
    return with_picture(body)


def with_picture(body: Row) -> Row:
    """Returns a request with the image to begin with wherever it says "PICTURE"."""
    return json.loads(json.dumps(body).replace('"PICTURE"', json.dumps(picture_text())))


def plain_body(job: Row) -> Row:
    """Returns the request of the same job without the extension; `against` of the job changes it."""
    body = {
        key: value for key, value in body_of(job).items() if key not in (*ONLY_WITH_THE_EXTENSION, "override_settings")
    }
    return {**body, **job.get("against", {})}


def key_of(job: Row) -> str:
    """Returns the name under which the image of a job without the extension is kept."""
    return job.get("kind", "txt2img") + json.dumps(plain_body(job), sort_keys=True)


def generate(server: Server, kind: str, body: Row) -> tuple[Row | None, str]:
    """Returns the answer to a request, or None and what went wrong."""
    status, text = server.call("POST", f"/sdapi/v1/{kind}", body)
    return (json.loads(text), "") if status == 200 else (None, f"{kind} answers {status}: {text[:260]}")


def first_image(result: Row) -> Image.Image:
    """Returns the first image of an answer."""
    return Image.open(io.BytesIO(base64.b64decode(result["images"][0]))).convert("RGB")


@dataclass(frozen=True)
class Baseline:
    """What a job gives without any extension."""

    image: Image.Image
    infotexts: list[str]

    @classmethod
    def of(cls, result: Row) -> Self:
        """Takes it from an answer."""
        return cls(first_image(result), json.loads(result["info"])["infotexts"])


def check_job(server: Server, job: Row, baselines: dict[str, Baseline]) -> list[str]:
    """Runs a job and compares what comes with what its `expect` says; an image that is the same although nothing was
    changed has the same infotext too.
    """
    result, problem = generate(server, job.get("kind", "txt2img"), body_of(job))
    if result is None:
        return [problem]
    expect, image, info = job.get("expect", {}), first_image(result), json.loads(result["info"])
    texts = "\n".join(info.get("infotexts", []))
    faults = [f"infotext lacks {text!r}" for text in expect.get("infotext", []) if text not in texts]
    found = {"size": list(image.size), "images": len(result["images"]), "prompts": info.get("all_prompts")}
    faults += [
        f"{name} {found[name]}, not {expect[name]}"
        for name in found.keys() & expect.keys()
        if found[name] != expect[name]
    ]
    if "differs" in expect:
        plain = baselines[key_of(job)]
        is_same = image.size == plain.image.size and image.tobytes() == plain.image.tobytes()
        if is_same == expect["differs"]:
            faults.append(f"the image {'is the same as' if is_same else 'differs from the one'} without the extension")
        is_off = not expect["differs"] and "against" not in job and "infotext" not in expect
        if is_off and info["infotexts"] != plain.infotexts:
            faults.append(f"the infotext differs from the one without the extension: {texts[-160:]!r}")
    return faults


def check_route(server: Server, route: Row) -> list[str]:
    """Asks a route until it answers what its row wants, for `wait` seconds at most."""
    method = route.get("method", "GET")
    body = with_picture(route.get("body") or {})
    for _ in range(route.get("wait", 0) + 1):
        status, text = server.call(method, route["path"], body or None)
        is_good = status == route["status"] if "status" in route else 200 <= status < 300
        if is_good and route.get("contains", "") in text:
            return []
        time.sleep(min(route.get("wait", 0), 1))
    return [f"{method} {route['path']} answers {status}: {text[:160]}"]


def check_page(server: Server, row: Row, facts: Facts) -> list[str]:
    """Looks for what an extension puts on the page, and fires its events."""
    page, components = row.get("page", {}), facts.page["components"]
    props = [component.get("props", {}) for component in components]
    texts = {str(prop.get(name)) for prop in props for name in ("label", "value")}
    tabs = {component["props"].get("label") for component in components if component["type"] in ("tabitem", "tab")}
    wanted = (
        ("elem_id", page.get("elem_ids", []), {prop.get("elem_id") for prop in props}),
        ("label", page.get("labels", []), texts),
        ("tab", [page["tab"]] if "tab" in page else [], tabs),
    )
    faults = [f"page lacks {kind} {name!r}" for kind, names, found in wanted for name in names if name not in found]
    for name in page.get("assets", []):
        address = re.search(rf'["\']([^"\']*{re.escape(folder_of(row))}/{re.escape(name)}[^"\']*)["\']', facts.html)
        path = "/" + address[1].replace("&amp;", "&").lstrip("/") if address else ""
        if not address or server.call("GET", path)[0] != 200:
            faults.append(f"page does not load {name}")
    return faults + [fault for event in page.get("events", []) if (fault := check_event(server, facts.page, event))]


def check_event(server: Server, page: Row, event: Row) -> str:
    """Fires an event with the values the page starts with, as a browser would; returns a fault, or nothing."""
    name = event.get("elem_id") or event["value"]
    by_id = {component["id"]: component for component in page["components"]}

    def is_meant(component: Row) -> bool:
        """Says whether the event is one of this component."""
        props = component.get("props", {})
        if "elem_id" in event:
            return props.get("elem_id") == event["elem_id"]
        return component["type"] == event.get("type", "button") and event["value"] in (
            props.get("value"),
            props.get("label"),
        )

    ids = [number for number, component in by_id.items() if is_meant(component)]
    trigger = event.get("event", "click")
    found = [
        dependency
        for dependency in page["dependencies"]
        if dependency.get("backend_fn", True) and any(t[0] in ids and t[1] == trigger for t in dependency["targets"])
    ]
    if not found:
        return f"event: nothing listens to {trigger} of {name!r}"
    values = [by_id[number].get("props", {}).get("value") for number in found[0]["inputs"]]
    for position, value in event.get("inputs", {}).items():
        values[int(position)] = uploaded(server, page) if value == "PICTURE" else value
    answer = fire(server, page.get("api_prefix", ""), found[0]["id"], values)
    text = json.dumps(answer.get("output"))
    if not answer.get("success"):
        return f"event {name!r}: {text[:260]}"
    return "" if event.get("contains", "") in text else f"event {name!r} lacks {event['contains']!r}: {text[:160]}"


def fire(server: Server, prefix: str, number: int, values: list[Any]) -> Row:
    """Returns what the queue of the page says at the end of an event."""
    session = "".join(random.choices(string.ascii_lowercase, k=11))
    body = {"data": values, "fn_index": number, "session_hash": session, "event_data": None}
    status, text = server.call("POST", f"{prefix}/queue/join", body)
    if status != 200:
        return {"output": f"queue/join answers {status}: {text[:160]}"}
    with urllib.request.urlopen(f"{server.url}{prefix}/queue/data?session_hash={session}", timeout=90) as lines:
        for line in lines:
            said = json.loads(line[5:]) if line.startswith(b"data:") else {}
            if said.get("msg") in ("process_completed", "unexpected_error"):
                return said
    return {"output": "no answer"}


def uploaded(server: Server, page: Row) -> Row:
    """Uploads the image to begin with as the page does, and returns the value its control has then."""
    head = (
        '--part\r\nContent-Disposition: form-data; name="files"; filename="in.png"\r\nContent-Type: image/png\r\n\r\n'
    )
    data = head.encode() + base64.b64decode(picture_text()) + b"\r\n--part--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=part"}
    request = urllib.request.Request(f"{server.url}{page.get('api_prefix', '')}/upload", data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        path = json.loads(answer.read())[0]
    return {"path": path, "orig_name": "in.png", "mime_type": "image/png", "meta": {"_type": "gradio.FileData"}}


def check_lists(row: Row, facts: Facts) -> list[str]:
    """Looks for the settings, samplers and scripts of an extension in the lists of the API."""
    wanted = [
        ("setting", row.get("options", {}), facts.options),
        ("sampler", row.get("samplers", []), facts.samplers),
        *(("script", names, facts.scripts.get(kind, [])) for kind, names in row.get("scripts", {}).items()),
    ]
    return [f"{kind} {name!r} is not listed" for kind, names, found in wanted for name in names if name not in found]
