"""engine: the list of samplers, and how names from requests and infotext find a sampler and a schedule in it.

Extensions append to `all_samplers`, add to or replace `all_samplers_map`, and call `set_samplers`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modules import (
    errors,
    option_values,
    sd_samplers_kdiffusion,
    sd_samplers_lcm,
    sd_samplers_timesteps,
    sd_schedulers,
    shared,
    shared_items,
)
from modules.infotext import SAME_SAMPLER, SAME_SCHEDULER
from modules.sd_samplers_common import Sampler, SamplerData

if TYPE_CHECKING:
    from modules.options import Options

logger = logging.getLogger(__name__)

all_samplers: list[SamplerData] = [
    *sd_samplers_kdiffusion.samplers_data_k_diffusion,
    *sd_samplers_timesteps.samplers_data_timesteps,
    *sd_samplers_lcm.samplers_data_lcm,
]
"""In the order of the menu; the first is the default."""

all_samplers_map: dict[str, SamplerData] = {x.name: x for x in all_samplers}


@dataclass(frozen=True)
class MenuSettings:
    """What menus of samplers take from the settings."""

    hide_samplers: list[str]

    @classmethod
    def from_opts(cls, options: Options) -> MenuSettings:
        """Takes the values that hold now."""
        return cls(options.hide_samplers)


samplers: list[SamplerData] = []
samplers_for_img2img: list[SamplerData] = []
samplers_map: dict[str, str] = {}
"""Lower-case names and aliases -> names."""
samplers_hidden: set[str] = set()


def find_sampler_config(name: str | None) -> SamplerData | None:
    """Returns the row of a sampler; the first one for None, None for an unknown name."""
    return all_samplers[0] if name is None else all_samplers_map.get(name)


def create_sampler(name: str | None, model: Any) -> Sampler:
    """Makes a sampler for one pass. Raises InvalidInput for an unknown name, or one that the model cannot use."""
    config = find_sampler_config(name)
    if config is None:
        raise errors.InvalidInput(f"There is no sampler {name!r}; GET /sdapi/v1/samplers lists them", "sampler_name")
    if model.is_sdxl and config.options.get("no_sdxl", False):
        raise errors.InvalidInput(f"Sampler {config.name} does not work with SDXL models", "sampler_name")
    sampler = config.constructor(model)
    sampler.config = config
    return sampler


def set_samplers() -> None:
    """Works out the lists anew from all_samplers and the setting hide_samplers."""
    samplers[:] = all_samplers
    samplers_for_img2img[:] = all_samplers
    samplers_hidden.clear()
    samplers_hidden.update(MenuSettings.from_opts(shared.opts).hide_samplers)
    samplers_map.clear()
    for sampler in all_samplers:
        all_samplers_map.setdefault(sampler.name, sampler)
        for name in (sampler.name, *sampler.aliases):
            samplers_map[name.lower()] = sampler.name


def visible_samplers() -> list[SamplerData]:
    """Returns the samplers that menus show."""
    return [x for x in samplers if x.name not in samplers_hidden]


def visible_sampler_names() -> list[str]:
    """Returns their names."""
    return [x.name for x in visible_samplers()]


def get_sampler_from_infotext(d: dict[str, Any]) -> str | None:
    """Returns the name of the sampler that an infotext means, None for one that is not known."""
    unknown = unknown_in_infotext(d)
    return None if "sampler_name" in unknown else get_sampler_and_scheduler(d.get("Sampler"), d.get("Schedule type"))[0]


def get_scheduler_from_infotext(d: dict[str, Any]) -> str | None:
    """Returns the label of the schedule that an infotext means, None for one that is not known."""
    unknown = unknown_in_infotext(d)
    return None if "scheduler" in unknown else get_sampler_and_scheduler(d.get("Sampler"), d.get("Schedule type"))[1]


UNKNOWN_NAMES = {
    "sampler_name": "Unknown sampler",
    "scheduler": "Unknown schedule type",
    "hr_sampler_name": "Unknown hires sampler",
}
"""Field of a request -> infotext key under which a name stays visible that is none of ours."""


def unknown_in_infotext(d: dict[str, Any]) -> dict[str, str]:
    """Returns the samplers and schedules of an infotext that are not known here: field of a request -> name."""
    found = {field: d[key] for field, key in UNKNOWN_NAMES.items() if key in d}
    sampler, schedule = d.get("Sampler"), d.get("Schedule type")
    if sampler and split_schedule(sampler, None)[0] not in all_samplers_map:
        found["sampler_name"] = sampler
    if schedule and schedule not in sd_schedulers.schedulers_map:
        found["scheduler"] = schedule
    hires_sampler = d.get("Hires sampler", SAME_SAMPLER)
    if hires_sampler != SAME_SAMPLER and split_schedule(hires_sampler, None)[0] not in all_samplers_map:
        found["hr_sampler_name"] = hires_sampler
    hires_schedule = d.get("Hires schedule type", SAME_SCHEDULER)
    if hires_schedule != SAME_SCHEDULER and hires_schedule not in sd_schedulers.schedulers_map:
        found["hr_scheduler"] = hires_schedule
    return found


def get_hr_sampler_and_scheduler(d: dict[str, Any]) -> tuple[str, str]:
    """Returns sampler and schedule of the hires pass as menus show them, which have an entry for "as in the first"."""
    hires_sampler = d.get("Hires sampler", SAME_SAMPLER)
    hires_scheduler = d.get("Hires schedule type", SAME_SCHEDULER)
    sampler, scheduler = get_sampler_and_scheduler(
        d.get("Sampler") if hires_sampler == SAME_SAMPLER else hires_sampler,
        d.get("Schedule type") if hires_scheduler == SAME_SCHEDULER else hires_scheduler,
    )
    unknown = unknown_in_infotext(d)
    follows = hires_sampler == SAME_SAMPLER and "sampler_name" in unknown
    is_same_schedule = "hr_scheduler" in unknown or (hires_scheduler == SAME_SCHEDULER and "scheduler" in unknown)
    return (
        SAME_SAMPLER if follows or "hr_sampler_name" in unknown or sampler == d.get("Sampler") else sampler,
        SAME_SCHEDULER if is_same_schedule or scheduler == d.get("Schedule type") else scheduler,
    )


def get_hr_sampler_from_infotext(d: dict[str, Any]) -> str:
    """Returns the sampler of the hires pass as its menu shows it."""
    return get_hr_sampler_and_scheduler(d)[0]


def get_hr_scheduler_from_infotext(d: dict[str, Any]) -> str:
    """Returns the schedule of the hires pass as its menu shows it."""
    return get_hr_sampler_and_scheduler(d)[1]


def split_schedule(name: str, scheduler_name: str | None) -> tuple[str, sd_schedulers.Scheduler]:
    """Returns a sampler's name without a schedule at its end, and that schedule; else the one of scheduler_name,
    Automatic for an unknown one.
    """
    found = sd_schedulers.schedulers_map.get(scheduler_name, sd_schedulers.schedulers[0])
    for scheduler in sd_schedulers.schedulers:
        for option in sd_schedulers.names_of(scheduler):
            if name.endswith(" " + option):
                found = scheduler
                name = name[: -len(option) - 1]
                break
    return name, found


def read_name(text: str) -> tuple[str, str | None]:
    """Returns the sampler's name and the schedule's label that a text typed for a sampler means: a name or alias in any
    letter case, with a schedule at its end or without, which then is None.

    Raises InvalidInput, which names the nearest, if there is no such sampler.
    """
    text = text.strip()
    if text in all_samplers_map:
        return text, None
    lowered = text.lower()
    if lowered in samplers_map:
        return samplers_map[lowered], None
    for scheduler in sd_schedulers.schedulers:
        for ending in sd_schedulers.names_of(scheduler):
            name = lowered.removesuffix(" " + ending.lower())
            if name != lowered and name in samplers_map:
                return samplers_map[name], scheduler.label
    raise errors.InvalidInput(
        f"Unknown sampler: {text}{option_values.nearest(text, all_samplers_map)}", field="sampler_name"
    )


def unknown_names(sampler_name: str | None, scheduler_name: str | None) -> list[str]:
    """Returns a remark on each name that is unknown to `get_sampler_and_scheduler`, so that another one is taken."""
    remarks = []
    name, found = split_schedule(sampler_name or samplers[0].name, scheduler_name)
    if name not in all_samplers_map:
        nearest = option_values.nearest(name, all_samplers_map)
        remarks.append(f"there is no sampler {sampler_name!r}, {samplers[0].name} was used{nearest}")
    if scheduler_name and scheduler_name not in sd_schedulers.schedulers_map:
        nearest = option_values.nearest(scheduler_name, [x.label for x in sd_schedulers.schedulers])
        remarks.append(f"there is no schedule type {scheduler_name!r}, {found.label} was used{nearest}")
    return remarks


def get_sampler_and_scheduler(
    sampler_name: str | None, scheduler_name: str | None, *, convert_automatic: bool = True
) -> tuple[str, str]:
    """Returns the sampler name and schedule label that are meant; unknown ones become the first sampler and Automatic.

    A schedule at the end of the sampler's name ("DPM++ 2M Karras", as older versions wrote it) counts before
    scheduler_name. convert_automatic: the sampler's own schedule becomes Automatic.
    """
    name, found = split_schedule(sampler_name or samplers[0].name, scheduler_name)
    sampler = all_samplers_map.get(name, samplers[0])
    if convert_automatic and sampler.options.get("scheduler") == found.name:
        found = sd_schedulers.schedulers[0]
    return sampler.name, found.label


def fix_p_invalid_sampler_and_scheduler(p: Any) -> None:
    """Replaces the names in a job by those that are meant, and warns where they differ."""
    given = p.sampler_name, p.scheduler
    p.sampler_name, p.scheduler = get_sampler_and_scheduler(*given, convert_automatic=False)
    for was, now in zip(given, (p.sampler_name, p.scheduler), strict=True):
        if was and was != now:
            logger.warning("%r is taken as %r", was, now)


set_samplers()
shared_items.register("samplers", lambda: all_samplers)
shared_items.register("samplers_by_name", lambda sampler_name: filter(None, [find_sampler_config(sampler_name)]))

from modules.sd_samplers_common import sample_to_image, samples_to_image_grid  # noqa: E402, F401  # A1111 names
