"""job: lays the settings a job overrides over the user's for as long as the job runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from modules import checkpoints, option_values, sd_modules, shared
from modules.errors import InvalidInput, NotFound
from modules.model_load import MODULES_SETTING
from modules.shared_options import OUTPUT_FOLDERS


@contextmanager
def temporary_opts(overrides: Mapping[str, Any] | None, restore_afterwards: bool = True) -> Iterator[None]:
    """Gives settings other values inside the block; afterwards, also after an exception, all are as they were.

    Only this context (the thread of the job) sees the values, and the previews made of its latents obey them. Settings
    that are hidden, restricted, or closed to the API are left as they are. With restore_afterwards False the values
    become the user's, in memory, and stay.

    Raises what `read_overrides` raises.
    """
    allowed, _ = read_overrides(overrides)
    if not restore_afterwards:
        for key, value in allowed.items():
            shared.opts.set(key, value, is_api=True, run_callbacks=False)
        yield
        return

    outer_overlay = shared.state.overlay
    with shared.opts.overlay(allowed) as overlay:
        shared.state.overlay = overlay
        try:
            yield
        finally:
            shared.state.overlay = outer_overlay


READ_BEFORE_THE_JOB = frozenset(OUTPUT_FOLDERS) - {"outdir_init_images"}
"""Settings that are laid over too late to have an effect on a job."""

NOT_FOR_REQUESTS = frozenset({"temp_dir", "clean_temp_dir_at_start"})
"""Settings of a folder that is read and emptied, which requests leave as they are."""


def read_overrides(overrides: Mapping[str, Any] | None) -> tuple[dict[str, Any], list[str]]:
    """Returns the settings of a job with their values read, and the names of those that have no effect: hidden ones,
    those that a flag or the API keeps closed, and those that are read before a job begins. Null leaves a setting out.

    Raises InvalidInput for a setting that does not exist, or that a --freeze-settings flag locks, and for a value the
    setting cannot have (`checked_value`); NotFound for a checkpoint that is not there.
    """
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    allowed = {key: checked_value(key, value) for key, value in given.items() if _may_override(key)}
    ineffective = [key for key in given if key not in allowed or key in READ_BEFORE_THE_JOB]
    return {key: value for key, value in allowed.items() if value is not None}, ineffective


def _may_override(key: str) -> bool:
    info = shared.opts.data_labels.get(key)
    if info is None:
        raise InvalidInput(
            f"override_settings: there is no setting {key!r}; GET /sdapi/v1/options lists all"
            f"{option_values.nearest(key, shared.opts.data_labels)}",
            key,
        )
    try:
        return shared.opts.is_writable(key) and not info.restrict_api and key not in NOT_FOR_REQUESTS
    except RuntimeError:
        return False
    except AssertionError as e:
        raise InvalidInput(f"override_settings: {e}", key) from e


def checked_value(key: str, value: Any) -> Any:
    """Returns a value from a request, an infotext or an axis as one of a setting; see `option_values.read`.

    Raises InvalidInput for a value that cannot be read so, or that is none of the setting's choices as they are now,
    NotFound for a checkpoint that is not there.
    """
    value = shared.opts.read_choice(key, value)
    if key == MODULES_SETTING:
        return sd_modules.names_of(value)
    return checkpoint_name(value) if key == "sd_model_checkpoint" else value


def checkpoint_name(name: str | None) -> str | None:
    """Returns a name of a checkpoint that is there, for one that a request gives; None for none.

    Raises NotFound, which names the nearest, if there is no such checkpoint.
    """
    if not name:
        return None
    info = checkpoints.named(name)
    if info is None:
        raise NotFound(
            f"there is no checkpoint {name!r}; /sdapi/v1/sd-models lists all{checkpoints.nearest(name)}",
            field="sd_model_checkpoint",
        )
    return name if name in checkpoints.checkpoint_aliases else info.title
