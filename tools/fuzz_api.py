"""Sends the REST API requests that fit its own description, and such as do not, and looks for answers that are errors
of the server.

    pip install -r requirements_test.txt
    python tools/fuzz_api.py [--examples 100] [--route txt2img] [--seed 0]

The program runs in this process, on the CPU, with the embedded model and a data directory of its own, and is asked over
the loopback interface; images are at most 64x64 pixels of one step. The only error of the server that is allowed is the
501 of what this version cannot do. The figures stand in docs/security.md.
"""

import argparse
import base64
import io
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

SMALL = {
    "width": 64,
    "height": 64,
    "firstphase_width": 64,
    "firstphase_height": 64,
    "hr_resize_x": 64,
    "hr_resize_y": 64,
    "hr_scale": 1.5,
    "steps": 1,
    "hr_second_pass_steps": 1,
    "batch_size": 2,
    "n_iter": 2,
    "upscaling_resize": 2,
    "upscaling_resize_w": 64,
    "upscaling_resize_h": 64,
    "n": 1,
}
"""Fields whose numbers are made small where they are larger; smaller ones and what is no number stay."""

NAMES = (
    "sampler_name",
    "sampler_index",
    "scheduler",
    "script_name",
    "refiner_checkpoint",
    "hr_checkpoint_name",
    "hr_sampler_name",
    "hr_upscaler",
    "override_settings",
    "styles",
    "alwayson_scripts",
    "infotext",
    "upscaler_1",
    "upscaler_2",
    "model",
)
"""Fields that name something."""

KINDS = ("txt2img", "img2img", "extra-single-image", "extra-batch-images", "interrogate")
"""What jobs can be asked for."""

TIMEOUT = 120
"""Seconds for one answer."""

NOT_IMPLEMENTED = 501
SERVER_ERROR = 500


def start_program() -> str:
    """Starts the program as a server starts it, and returns its address."""
    sys.path.insert(0, str(ROOT))
    folder = tempfile.mkdtemp(prefix="fuzz-api-")
    os.environ["HF_HUB_OFFLINE"] = "1"
    sys.argv = ["webui.py", "--data-dir", folder, "--use-cpu", "all", "--no-half", "--precision", "full"]
    sys.argv += ["--api", "--metrics"]

    import webui
    from modules import initialize, server, shared

    initialize.initialize()
    shared.opts.data["api_max_size"] = 256
    assert shared.sd_model is not None
    running = server.Server(server.open_socket("127.0.0.1", 29860, server.PORTS_TO_TRY))
    running.start()
    running.attach(webui.create_app())
    return running.url


def made_small(value: Any) -> Any:
    """Returns a request's body with sizes and numbers that do not take long; what else is in it stays."""
    if isinstance(value, dict):
        return {key: capped(key, made_small(entry)) for key, entry in value.items()}
    return [made_small(entry) for entry in value] if isinstance(value, list) else value


def capped(key: str, value: Any) -> Any:
    """Returns the value of a field, at most the largest that it may have here."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return min(value, SMALL[key]) if key in SMALL and is_number else value


def picture_file() -> bytes:
    """Returns the file of a small picture."""
    from PIL import Image

    file = io.BytesIO()
    Image.linear_gradient("L").resize((16, 16)).convert("RGB").save(file, format="PNG")
    return file.getvalue()


def picture() -> str:
    """Returns a small picture as base64."""
    return base64.b64encode(picture_file()).decode()


def reaching(path: str, body: Any, number: int) -> Any:
    """Returns the body of request `number` so that it reaches further than its first field: names, of which almost none
    exist, are left out of two requests in three, each at another time, and in two of three a text for a picture is one.
    """
    if not isinstance(body, dict):
        return body
    if path.endswith("/v1/jobs") and number % 3:
        kind = KINDS[number % len(KINDS)]
        return body | {"kind": kind, "request": reaching(f"/{kind}", body.get("request"), number), "webhook": None}
    if "/v1/images/" in path and number % 3:
        files = {key: picture_file() for key in ("image", "mask") if isinstance(body.get(key), bytes | str)}
        # forms have no null
        given = {key: value for key, value in body.items() if key != "model" and value is not None}
        return given | {"prompt": body.get("prompt") or "apple", "size": "64x64"} | files
    if path.endswith(("/txt2img", "/img2img")):
        body = {"width": 64, "height": 64, "steps": 1} | body
    body = {key: value for key, value in body.items() if key not in NAMES or (NAMES.index(key) + number) % 3 == 0}
    if number % 3:
        if path.endswith("/img2img"):
            body.setdefault("init_images", [])
        body |= {key: picture() for key in ("image", "mask") if isinstance(body.get(key), str)}
        if isinstance(body.get("init_images"), list):
            body["init_images"] = [picture() for _ in body["init_images"][:2]] or [picture()]
        if isinstance(body.get("imageList"), list):
            body["imageList"] = [
                entry | {"data": picture()} if isinstance(entry, dict) else entry for entry in body["imageList"]
            ]
    return body


def some_job(url: str) -> str | None:
    """Returns the id of the last job, None before there is one."""
    import requests

    found = requests.get(f"{url}/serena/v1/jobs", {"limit": 1}, timeout=TIMEOUT).json()["jobs"]
    return found[0]["id"] if found else None


def answered(case: Any) -> tuple[int, str]:
    """Sends a request. Returns the status and the text of its answer, of a stream the status alone."""
    import requests

    if case.path.endswith("/events"):
        with requests.request(**case.as_transport_kwargs(), timeout=TIMEOUT, stream=True) as response:
            return response.status_code, ""
    response = case.call(timeout=TIMEOUT)
    return response.status_code, response.text


def fuzz(operation: Any, url: str, examples: int, seed: int) -> tuple[Counter, list[str]]:
    """Sends a route its requests. Returns how often each status came, and what was sent for errors of the server."""
    import hypothesis
    from schemathesis import GenerationMode

    statuses: Counter = Counter()
    failures: list[str] = []

    def send(case: Any) -> None:
        """Sends one request."""
        number = sum(statuses.values())
        case.body = reaching(case.path, made_small(case.body), number)
        if "id" in case.path_parameters and number % 3 and (id := some_job(url)):
            case.path_parameters["id"] = id
        status, text = answered(case)
        statuses[status] += 1
        if status >= SERVER_ERROR and status != NOT_IMPLEMENTED:
            failures.append(f"{status} {case.as_curl_command()[:2000]}\n    {text[:500]}")

    for mode, share in ((GenerationMode.POSITIVE, examples - examples // 2), (GenerationMode.NEGATIVE, examples // 2)):
        strategy = operation.as_strategy(generation_mode=mode)
        settings = hypothesis.settings(
            max_examples=share,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        run = settings(hypothesis.seed(seed)(hypothesis.given(strategy)(send)))
        try:
            run()
        except hypothesis.errors.Unsatisfiable:
            continue  # nothing of this kind can be sent, as where a route takes no values
    return statuses, failures


def main() -> int:
    """Prints a row per route, then what failed; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--route", default="")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    url = start_program()
    import schemathesis

    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    failed: list[str] = []
    total: Counter = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        if options.route not in operation.path:
            continue
        begin = time.monotonic()
        statuses, failures = fuzz(operation, url, options.examples, options.seed)
        total += statuses
        failed += failures
        said = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
        print(
            f"{operation.method.upper():5} {operation.path:45} {said}  ({time.monotonic() - begin:.0f} s)", flush=True
        )
    print(f"{sum(total.values())} requests: {dict(sorted(total.items()))}; {len(failed)} errors of the server")
    for failure in failed:
        print(failure)
    return 1 if failed else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # jobs of clients that have gone may still wait
