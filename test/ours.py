"""What this program has beside what v1.10.1 has.

The contract tests demand v1.10.1's rows in their order, and beside them exactly these: something new is its row in the
program and its name here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

OURS: dict[str, tuple[str, ...]] = {
    "samplers": (),
    "schedulers": (),
    "settings": (
        "api_max_size",
        "api_max_steps",
        "api_max_batch_size",
        "api_max_n_iter",
        "api_max_images",
        "api_max_tokens",
        "api_max_prompt_parts",
        "api_max_upload",
        "restore_progress_by_itself",
        "jobs_after_restart",
        "jobs_history",
        "jobs_spool_size",
        "jobs_spool_days",
        "jobs_limit",
        "jobs_user_limit",
        "jobs_webhook_hosts",
        "jobs_webhook_secret",
        "hook_seconds",
        "forge_additional_modules",
        "offload_automatically",
        "step_cache_interval",
    ),
    "callbacks": (),
    "script_hooks": (),
    "flags": (
        "--exit",
        "--run-tests",
        "--trace-hooks",
        "--metrics",
        "--text-encoder-dir",
        "--check-extension",
        "--devices",
        "--ray-address",
        "--cpu-backend",
        "--torch-compile",
        "--bf16",
    ),
    "routes": (
        "POST /serena/v1/extensions/check",
        "POST /serena/v1/jobs",
        "GET /serena/v1/jobs",
        "POST /serena/v1/jobs/reorder",
        "GET /serena/v1/jobs/{id}",
        "GET /serena/v1/jobs/{id}/images/{n}",
        "DELETE /serena/v1/jobs/{id}",
        "POST /serena/v1/jobs/{id}/retry",
        "GET /serena/v1/events",
        "POST /v1/images/generations",
        "POST /v1/images/edits",
        "GET /sdapi/v1/sd-modules",
    ),
    "fields": ("/sdapi/v1/memory model",),
}
"""Kind > names: of samplers and schedulers as the API lists them, keys of settings, categories of callbacks, methods of
scripts, command line flags, "METHOD /path" of routes, "/path field" of requests and answers.
"""


def without_ours(kind: str, rows: Iterable[Any], name: Callable[[Any], str] = str) -> list[Any]:
    """Returns the rows that have to be v1.10.1's: all but those whose name is listed here as ours."""
    return [row for row in rows if name(row) not in OURS[kind]]
