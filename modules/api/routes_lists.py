"""face: what there is to choose from: samplers, schedules, styles, scripts, extensions."""

from __future__ import annotations

from fastapi import APIRouter

from modules import extensions, scripts, sd_samplers, sd_schedulers, shared
from modules.api import models
from modules.http_routes import DescribedRoute
from modules.scripts import ScriptRunner

router = APIRouter(tags=["lists"], route_class=DescribedRoute)


@router.get("/sdapi/v1/samplers", response_model=list[models.SamplerItem], summary="Samplers")
def get_samplers() -> list[dict]:
    """Lists the samplers."""
    return [
        {
            "name": sampler.name,
            "aliases": sampler.aliases,
            "options": {key: str(value) for key, value in sampler.options.items()},
        }
        for sampler in sd_samplers.all_samplers
    ]


@router.get("/sdapi/v1/schedulers", response_model=list[models.SchedulerItem], summary="Schedules")
def get_schedulers() -> list[dict]:
    """Lists the schedules."""
    return [
        {
            "name": scheduler.name,
            "label": scheduler.label,
            "aliases": scheduler.aliases,
            "default_rho": scheduler.default_rho,
            "need_inner_model": scheduler.need_inner_model,
        }
        for scheduler in sd_schedulers.schedulers
    ]


@router.get("/sdapi/v1/prompt-styles", response_model=list[models.PromptStyleItem], summary="Styles")
def get_prompt_styles() -> list[dict]:
    """Lists the styles."""
    return [
        {"name": style.name, "prompt": style.prompt, "negative_prompt": style.negative_prompt}
        for style in shared.prompt_styles.styles.values()
    ]


def _titles(runner: ScriptRunner) -> list[str]:
    return [script.name for script in runner.scripts if script.name is not None]


@router.get("/sdapi/v1/scripts", response_model=models.ScriptsList, summary="Names of the scripts of each tab")
def get_scripts_list() -> dict:
    """Lists the titles of the scripts of each tab."""
    return {"txt2img": _titles(scripts.scripts_txt2img), "img2img": _titles(scripts.scripts_img2img)}


@router.get("/sdapi/v1/script-info", response_model=list[models.ScriptInfo], summary="Arguments of the scripts")
def get_script_info() -> list:
    """Lists the arguments of the scripts."""
    runners = (scripts.scripts_txt2img, scripts.scripts_img2img)
    return [script.api_info for runner in runners for script in runner.scripts if script.api_info is not None]


@router.get(
    "/sdapi/v1/extensions",
    response_model=list[models.ExtensionItem],
    summary="Installed extensions that come from a git remote",
)
def get_extensions_list() -> list[dict]:
    """Lists the extensions that come from a git remote."""
    extensions.list_extensions()
    found = []
    for extension in extensions.extensions:
        extension.read_info_from_repo()
        if extension.remote is None or extension.branch is None:
            continue
        found.append(
            {
                "name": extension.name,
                "remote": extension.remote,
                "branch": extension.branch,
                "commit_hash": extension.commit_hash,
                "version": extension.version,
                "commit_date": str(extension.commit_date),
                "enabled": extension.enabled,
            }
        )
    return found
