"""Runs the golden cases against the API and judges the answers by what v1.10.1 answered.

A set is a folder: `cases.json` holds requests, `expected.json` status, infotexts and pictures (hash, size, mode, file)
of v1.10.1 on a CPU in float32. `test/golden_networks` has files of networks and embeddings beside them.
"""

import base64
import hashlib
import io
import json
import math
import re
from pathlib import Path

from PIL import Image

TEST = Path(__file__).resolve().parent.parent
GOLDEN = TEST / "golden"

LARGEST_DIFFERENCE = 4
"""Of two 8-bit values that count as float noise; their mean must not be over MEAN_DIFFERENCE either."""
MEAN_DIFFERENCE = 0.3


def merged(base: dict, changes: dict) -> dict:
    """Defaults with a case's own values laid over; "@none" removes a key."""
    result = dict(base)
    for key, value in changes.items():
        if value == "@none":
            result.pop(key, None)
        elif key == "override_settings" and isinstance(value, dict):
            result[key] = merged(result.get(key, {}), value)
        else:
            result[key] = value
    return result


def resolved(value):
    """Replaces "@file:..." and "@dataurl:..." by the file's base64."""
    if isinstance(value, dict):
        return {key: resolved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if isinstance(value, str) and value.startswith(("@file:", "@dataurl:")):
        tag, _, name = value.partition(":")
        data = base64.b64encode((GOLDEN / name).read_bytes()).decode()
        return data if tag == "@file" else f"data:image/png;base64,{data}"
    return value


def pictures_of(body: dict) -> list[Image.Image]:
    encoded = body.get("images") or ([body["image"]] if body.get("image") else [])
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in encoded]


def infotexts_of(body: dict) -> list[str]:
    try:
        return json.loads(body["info"])["infotexts"]
    except (KeyError, ValueError, TypeError):
        return []


def pixel_hash(image: Image.Image) -> str:
    head = f"{image.mode} {image.size[0]}x{image.size[1]}\n".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


def pixel_problem(image: Image.Image, other: Image.Image) -> str | None:
    """What tells two pictures of one size and mode apart, None when that is float noise at most."""
    differences = [abs(a - b) for a, b in zip(image.tobytes(), other.tobytes(), strict=True)]
    largest, mean = max(differences), sum(differences) / len(differences)
    if largest <= LARGEST_DIFFERENCE and mean <= MEAN_DIFFERENCE:
        return None
    mse = sum(d * d for d in differences) / len(differences)
    return f"differs by {largest} at most, {mean:.3f} on average, PSNR {10 * math.log10(255 * 255 / mse):.1f} dB"


def without_version(infotext: str) -> str:
    return re.sub(r", Version: [^,]*", "", infotext)


class GoldenSet:
    """Requests and what v1.10.1 answered."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.spec = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
        self.expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
        self.cases = {case["name"]: case for case in self.spec["cases"]}

    def request_of(self, case: dict) -> dict:
        """Arguments of `client.request`."""
        endpoint = case.get("endpoint", "/sdapi/v1/txt2img")
        request = {"method": case.get("method", "POST"), "url": endpoint}
        if "raw_body" in case:
            return request | {"content": case["raw_body"].encode(), "headers": {"content-type": "application/json"}}
        defaults = {} if case.get("no_defaults") else self.spec["defaults"].get(endpoint, {})
        return request | {"json": resolved(merged(defaults, case.get("payload", {})))}

    def run(self, client, case: dict):
        """Sends a case, after the job that sets the scene for it, if it has one."""
        request = self.request_of(case)
        if case.get("primer"):
            primer = self.spec["primer"]
            body = dict(primer["payload"])
            body |= {key: request["json"][key] for key in primer["copy"] if isinstance(request["json"].get(key), int)}
            client.post(primer["endpoint"], json=body)
        return client.request(**request)

    def picture_problem(self, image: Image.Image, expected: dict) -> str | None:
        """What tells a picture from the expected one, None when that is float noise at most."""
        if pixel_hash(image) == expected["sha256"]:
            return None
        if [image.mode, list(image.size)] != [expected["mode"], expected["size"]]:
            return f"is {image.mode} {image.size}, expected {expected['mode']} {expected['size']}"
        if "file" not in expected:
            return "its hash differs"
        return pixel_problem(image, Image.open(self.folder / "pictures" / expected["file"]))

    def problems(self, name: str, response) -> list[str]:
        """Everything in which the answer to a case is not v1.10.1's. Where that answered 5xx, any other is right."""
        expected = self.expected[name]
        if expected["status"] >= 500:
            return (
                [] if 200 <= response.status_code < 500 else [f"status {response.status_code}: {response.text[:300]}"]
            )
        if response.status_code != expected["status"]:
            return [f"status {response.status_code}, expected {expected['status']}: {response.text[:300]}"]
        if "images" not in expected:
            return []
        body = response.json()
        pictures = pictures_of(body)
        if len(pictures) != len(expected["images"]):
            return [f"{len(pictures)} pictures, expected {len(expected['images'])}"]
        found = [
            f"picture {i} {problem}"
            for i, (picture, row) in enumerate(zip(pictures, expected["images"], strict=True))
            if (problem := self.picture_problem(picture, row))
        ]
        ours = [without_version(text) for text in infotexts_of(body)]
        theirs = [without_version(text) for text in expected["infotexts"]]
        if body.get("info") and ours != theirs:
            found.append(f"infotexts {ours}, expected {theirs}")
        return found


MAIN = GoldenSet(GOLDEN)
NETWORKS = GoldenSet(TEST / "golden_networks")
CASES, EXPECTED = MAIN.cases, MAIN.expected
request_of, run, problems = MAIN.request_of, MAIN.run, MAIN.problems
