"""face: settings and command line flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Body
from starlette.concurrency import run_in_threadpool

from modules import call_queue, errors, option_values, runtime_utils, shared, sysinfo
from modules.api import models, waiting
from modules.errors import InvalidInput, WebuiError
from modules.http_routes import DescribedRoute
from modules.options import HandlerFailed

router = APIRouter(tags=["settings"], route_class=DescribedRoute)

SECRETS = ("jobs_webhook_secret",)
"""Settings that clients cannot read; neither can they change them, so that what they read can be sent back."""

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
    """Returns the user's settings; what a running job overrides for itself does not show here, nor do secrets."""
    values = {key: shared.opts.data.get(key, info.default) for key, info in list(shared.opts.data_labels.items())}
    return values | {key: sysinfo.HIDDEN for key in SECRETS if values.get(key)}


@router.post(
    "/sdapi/v1/options",
    summary="Change settings",
    description="Applies the settings in the order given and saves them. "
    "Settings that are code or paths stay as they are.",
)
async def set_config(req: Annotated[dict[str, Any], Body(examples=[{"CLIP_stop_at_last_layers": 2}])]) -> None:
    """Applies the settings in the order given and saves them; those that change the model wait until no job runs.

    All values are read before any is stored, so that a request that is refused has changed nothing.
    """
    wanted, before = read_settings(req), dict(shared.opts.data)
    try:
        for needs_device, settings in groupby(wanted.items(), lambda setting: waits_for_device(*setting)):
            apply = partial(apply_settings, dict(settings))
            await (waiting.call("options", apply) if needs_device else run_in_threadpool(apply))
    finally:  # where one could not be applied, the file still says what holds
        await run_in_threadpool(save_settings, wanted, before)


def read_settings(req: dict[str, Any]) -> dict[str, Any]:
    """Returns what a request changes, the values as the settings have them; null leaves a setting as it is, unless it
    is its default.

    A whole answer of GET /options sent back changes nothing, keys of extensions that are gone included. Raises
    InvalidInput for an unknown setting or a value it cannot have, NotFound for an unknown checkpoint.
    """
    return {key: runtime_utils.checked_value(key, value) for key, value in req.items() if is_change(key, value)}


def is_change(key: str, value: Any) -> bool:
    """Says whether a request has something new for a setting. Raises InvalidInput for an unknown one."""
    if key not in shared.opts.data_labels:
        if value is not None and key not in shared.opts.data:
            raise InvalidInput(
                f"there is no setting {key!r}; /sdapi/v1/options lists them"
                f"{option_values.nearest(key, shared.opts.data_labels)}",
                field=key,
            )
        return False
    if key in runtime_utils.NOT_FOR_REQUESTS:
        return False
    default = shared.opts.get_default(key)
    return shared.opts.data.get(key, default) != value and not (value is None and default is not None)


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


def save_settings(changed: Iterable[str], before: Mapping[str, Any]) -> None:
    """Writes the settings to their file. Raises InvalidInput when a flag forbids it, NotSaved when it cannot be
    written; then what was changed is as before, in memory too.
    """
    try:
        shared.opts.save_or_restore(shared.config_filename, changed, before)
    except AssertionError as e:
        raise InvalidInput("settings are frozen by --freeze-settings", field="options") from e


def apply_setting(key: str, value: Any) -> None:
    """Sets one setting. Raises what its handler raises, as an error that names the setting; it keeps its value then."""
    try:
        shared.opts.change(key, value, is_api=True)
    except AssertionError as e:
        raise InvalidInput(f"the setting {key!r} is frozen by a command line flag", field=key) from e
    except HandlerFailed as e:
        errors.display(e.error, f"changing the setting {key}")
        kind = type(e.error) if isinstance(e.error, WebuiError) else InvalidInput
        raise kind(f"the setting {key} keeps its value, as {value!r} failed: {e}", field=key) from e


@router.get("/sdapi/v1/cmd-flags", response_model=models.flags_model(), summary="Command line flags")
def get_cmd_flags() -> dict[str, Any]:
    """Lists the command line flags; secrets among them are hidden."""
    flags = {key: value for key, value in vars(shared.cmd_opts).items() if key not in DERIVED_FLAGS}
    texts = {key: value is not None and shared.parser.get_default(key) is None for key, value in flags.items()}
    return {key: sysinfo.without_secret(key, str(value) if texts[key] else value) for key, value in flags.items()}
