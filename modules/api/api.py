"""face: the REST API as one object: its routers with their login, its middleware and its error answers, put onto a
FastAPI app.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modules import call_queue, script_ui, sd_samplers, shared
from modules.api import (
    generate,
    http_errors,
    models,
    routes_extensions,
    routes_generate,
    routes_images,
    routes_jobs,
    routes_lists,
    routes_models,
    routes_openai,
    routes_progress,
    routes_server,
    routes_settings,
    routes_training,
)
from modules.api.auth import auth_dependencies
from modules.errors import NotFound
from modules.http_paths import is_api
from modules.job.plan import Plan

logger = logging.getLogger(__name__)

JOB_HEADER = "X-Serena-Job"
"""Header of an answer that names its job."""

LONGEST_JOB = 1000
"""Characters of an id that is named there: clients refuse headers of any length."""

PLAIN = "()!*'; ,/?:@&=+$#[]"
"""What ids hold beside letters, digits, and what `quote` leaves alone."""

AT_AN_END = re.compile("^ | $")
"""Blanks that no header may begin or end with."""

ROUTERS = (
    routes_generate,
    routes_images,
    routes_jobs,
    routes_openai,
    routes_progress,
    routes_lists,
    routes_models,
    routes_training,
    routes_extensions,
)
"""One module per area, each with a `router`; the router of the settings is made when the API is."""


def validate_sampler_name(name: str) -> str:
    """Returns the name of a sampler, which is one of the list or another name of it. Raises NotFound."""
    if name not in sd_samplers.all_samplers_map:
        raise NotFound("Sampler not found", field="sampler_name")
    return name


class Api:
    """Adds the API to an app, and makes the scripts' controls where no page has: requests are laid over their values.

    app: gets the routes, the X-Process-Time header, and the error answers, which cover routes of extensions as well.
    queue_lock: the lock all jobs take; kept for extensions that run work of their own through it.
    """

    def __init__(self, app: FastAPI, queue_lock: Any):
        self.app = app
        self.queue_lock = queue_lock
        self.dependencies = auth_dependencies()
        # Clients have always sent JSON without saying so.
        self.router = APIRouter(strict_content_type=False)
        for module in ROUTERS:
            self.router.include_router(module.router, dependencies=self.dependencies)
        self.router.include_router(routes_settings.settings_router(), dependencies=self.dependencies)
        if shared.cmd_opts.api_server_stop:
            self.router.include_router(routes_server.router, dependencies=self.dependencies)
        if shared.cmd_opts.metrics:
            from modules.api import routes_metrics

            self.router.include_router(routes_metrics.router, dependencies=self.dependencies)
        app.include_router(self.router)
        http_errors.install(app)
        script_ui.ensure_controls()

    def add_api_route(self, path: str, endpoint: Callable, **kwargs: Any) -> None:
        """Adds a route that asks for the same login as all others."""
        self.app.add_api_route(path, endpoint, dependencies=self.dependencies, **kwargs)

    def text2imgapi(self, txt2imgreq: models.StableDiffusionTxt2ImgProcessingAPI) -> models.TextToImageResponse:
        """Returns what the route answers, for extensions that run requests of their own; waits for the device."""
        return models.TextToImageResponse(**carry_out_here(generate.prepare_txt2img(txt2imgreq)))

    def img2imgapi(self, img2imgreq: models.StableDiffusionImg2ImgProcessingAPI) -> models.ImageToImageResponse:
        """Does what `text2imgapi` does, for img2img."""
        return models.ImageToImageResponse(**carry_out_here(generate.prepare_img2img(img2imgreq)))


def carry_out_here(plan: Plan) -> Any:
    """Runs a job in the calling thread as soon as it has the device, and returns the answer."""
    with call_queue.gpu_job(plan.name, plan.task_id):
        result = plan.work()
    return plan.answer(result, plan.images(result))


def cors_options() -> dict[str, Any]:
    """Returns what --cors-allow-origins and --cors-allow-origins-regex ask for; everything else is open, as browsers'
    extensions expect.
    """
    options: dict[str, Any] = {"allow_methods": ["*"], "allow_headers": ["*"], "allow_credentials": True}
    options["expose_headers"] = [JOB_HEADER]
    if shared.cmd_opts.cors_allow_origins:
        options["allow_origins"] = shared.cmd_opts.cors_allow_origins.split(",")
    if shared.cmd_opts.cors_allow_origins_regex:
        options["allow_origin_regex"] = shared.cmd_opts.cors_allow_origins_regex
    return options


def api_middleware(app: FastAPI) -> None:
    """Adds compression, CORS and the timing of requests (logged with --api-log). Has to run before the app starts
    serving.
    """
    app.add_middleware(GZipMiddleware, minimum_size=1000)
    app.add_middleware(CORSMiddleware, **cors_options())
    app.add_middleware(Timing)


class Timing:
    """ASGI middleware that tells in headers how many seconds an answer took to begin, and which job it is about, and
    logs requests if wanted.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        state = scope.setdefault("state", {})  # what routes know as request.state

        async def send_timed(message: Message) -> None:
            """Sends the next part of the answer."""
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Process-Time"] = seconds = f"{time.perf_counter() - started:.4f}"
                job = state.get("job")
                if job is not None and len(job) <= LONGEST_JOB:
                    headers[JOB_HEADER] = AT_AN_END.sub("%20", quote(job, safe=PLAIN))
                log_request(scope, message["status"], seconds)
            await send(message)

        await self.app(scope, receive, send_timed)


def log_request(scope: Scope, status: int, seconds: str) -> None:
    """Writes a request of the API into the log, with --api-log."""
    path = scope.get("path", "err")
    if not shared.cmd_opts.api_log or not is_api(path):
        return
    client = scope.get("client") or ("?", 0)
    version = scope.get("http_version", "0.0")
    method, scheme = scope["method"], scope.get("scheme")
    logger.info("API %s %s/%s %s %s %s %s", status, scheme, version, method, path, client[0], seconds)


# A1111 names
from modules.api.image_codec import decode_base64_to_image, encode_pil_to_base64, verify_url  # noqa: E402, F401
from modules.api.script_args import script_name_to_index  # noqa: E402, F401
