"""face: settings and command line flags."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Body
from starlette.concurrency import run_in_threadpool

from modules import call_queue, runtime_utils, sd_models, shared
from modules.api import models, waiting
from modules.errors import InvalidInput, NotFound
from modules.http_routes import DescribedRoute

router = APIRouter(tags=["settings"], route_class=DescribedRoute)

DERIVED_FLAGS = ("webui_is_non_local", "disable_extension_access")


def settings_router() -> APIRouter:
    """Returns the routes with GET /options for the settings there are now, so that those of extensions are answered."""
    made = APIRouter(route_class=DescribedRoute)
    made.add_api_route(
        "/sdapi/v1/options",
        get_config,
        response_model=models.options_model(),
        tags=router.tags,
        summary="All settings",
        description="The user's settings; what a running job overrides for itself does not show here.",
    )
    made.include_router(router)
    return made


def get_config() -> dict[str, Any]:
    """Returns the user's settings; what a running job overrides for itself does not show here."""
    return {key: shared.opts.data.get(key, info.default) for key, info in shared.opts.data_labels.items()}


@router.post(
    "/sdapi/v1/options",
    summary="Change settings",
    description="Applies the settings in the order given and saves them. "
    "Settings that are code or paths stay as they are.",
)
async def set_config(req: Annotated[dict[str, Any], Body(examples=[{"CLIP_stop_at_last_layers": 2}])]) -> None:
    """Applies the settings in the order given and saves them; those that change the model wait until no job runs."""
    checkpoint = req.get("sd_model_checkpoint")
    if checkpoint is not None and checkpoint not in sd_models.checkpoint_aliases:
        raise NotFound(
            f"model {checkpoint!r} not found; /sdapi/v1/sd-models lists the checkpoints", field="sd_model_checkpoint"
        )
    for needs_device, settings in groupby(req.items(), lambda setting: waits_for_device(*setting)):
        apply = partial(apply_settings, dict(settings))
        await (waiting.call("options", apply) if needs_device else run_in_threadpool(apply))
    await run_in_threadpool(save_settings)


def waits_for_device(key: str, value: Any) -> bool:
    """Tells whether what has to happen when a setting gets this value has to wait until no job runs."""
    info = shared.opts.data_labels.get(key)
    if info is None or shared.opts.data.get(key, info.default) == value:
        return False
    return call_queue.coroutine_of(info.onchange) is not info.onchange


def apply_settings(settings: dict[str, Any]) -> None:
    """Sets several settings, in order."""
    for key, value in settings.items():
        apply_setting(key, value)


def save_settings() -> None:
    """Writes the settings to their file. Raises InvalidInput when a flag forbids it."""
    try:
        shared.opts.save(shared.config_filename)
    except AssertionError as e:
        raise InvalidInput("settings are frozen by --freeze-settings", field="options") from e


def apply_setting(key: str, value: Any) -> None:
    """Sets one setting. A whole answer of GET /options posted back works, keys of extensions that are gone included."""
    if key not in shared.opts.data_labels and value is not None:
        if key in shared.opts.data:
            return
        raise InvalidInput(f"there is no setting {key!r}; /sdapi/v1/options lists them", field=key)
    try:
        shared.opts.set(key, runtime_utils.checked_value(key, value), is_api=True)
    except AssertionError as e:
        raise InvalidInput(f"the setting {key!r} is frozen by a command line flag", field=key) from e


@router.get("/sdapi/v1/cmd-flags", response_model=models.flags_model(), summary="Command line flags")
def get_cmd_flags() -> dict[str, Any]:
    """Lists the command line flags."""
    flags = {key: value for key, value in vars(shared.cmd_opts).items() if key not in DERIVED_FLAGS}
    return {
        key: str(value) if shared.parser.get_default(key) is None and value is not None else value
        for key, value in flags.items()
    }
