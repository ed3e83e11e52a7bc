"""Networks of the LoRA family in prompts: registers the tag, the tab, the routes and what pasting does."""

from __future__ import annotations

import re
from typing import Any

import extra_networks_lora
import lora  # noqa: F401  # extensions find it among the loaded modules
import network_files
import networks
import ui_extra_networks_lora
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from modules import extra_networks, script_callbacks, shared, shared_items, ui_extra_networks
from modules.api.auth import auth_dependencies
from modules.http_routes import DescribedRoute

re_network = re.compile(r"<lora:([^:>]+):")
re_name_with_hash = re.compile(r"(.*)\s*\([0-9a-fA-F]+\)")


def before_ui() -> None:
    """Registers the tag and the tab, and finds the files."""
    networks.list_available_networks()
    networks.extra_network_lora = extra_networks_lora.ExtraNetworkLora()
    extra_networks.register_extra_network(networks.extra_network_lora)
    extra_networks.register_extra_network_alias(networks.extra_network_lora, "lyco")
    ui_extra_networks.register_page(ui_extra_networks_lora.ExtraNetworksPageLora())
    shared.opts.onchange("lora_in_memory_limit", networks.purge_networks_from_memory)


class NetworkItem(BaseModel):
    """A file as the API lists it."""

    name: str
    alias: str
    path: str
    metadata: dict[str, Any]


def add_routes(_: Any, app: FastAPI) -> None:
    """Adds the routes, which ask for the login of the API."""
    router = APIRouter(tags=["models"], route_class=DescribedRoute, dependencies=auth_dependencies())

    @router.get("/sdapi/v1/loras", response_model=list[NetworkItem], summary="Networks of the LoRA family")
    def get_loras() -> list[NetworkItem]:
        """Lists the networks with all their metadata."""
        return [
            NetworkItem(
                name=file.name,
                alias=file.alias,
                path=file.filename,
                metadata=network_files.read_metadata(file.filename),  # not kept: those of thousands fill the memory
            )
            for file in list(networks.available_networks.values())
        ]

    @router.post("/sdapi/v1/refresh-loras", summary="Read the folders of networks again")
    def refresh_loras() -> None:
        """Looks for new network files."""
        networks.list_available_networks()

    app.include_router(router)


def infotext_pasted(infotext: str, params: dict[str, Any]) -> None:
    """Turns AddNet's fields into tags, and names in tags into those by which the files are known here."""
    prompt = params.get("Prompt", "")
    added = "".join(addnet_tags(params))
    if added:
        prompt = f"{prompt}\n{added}"
    known = names_by_hash(params.get("Lora hashes", ""))
    prompt = re_network.sub(lambda match: f"<lora:{known.get(match[1], match[1])}:", prompt)
    if prompt != params.get("Prompt", ""):
        params["Prompt"] = prompt


def addnet_tags(params: dict[str, Any]) -> list[str]:
    """Returns the tags of networks that the extension Additional Networks noted."""
    tags = []
    for key, model in params.items():
        number = key.removeprefix("AddNet Model ")
        if number == key or params.get(f"AddNet Module {number}") != "LoRA":
            continue
        match = re_name_with_hash.fullmatch(model)
        name = match[1].strip() if match else model
        tags.append(f"<lora:{name}:{params.get(f'AddNet Weight A {number}', '1.0')}>")
    return tags


def names_by_hash(text: str) -> dict[str, str]:
    """Returns name in the infotext -> name here, for the networks of "name: hash, ..." that are here."""
    pairs = [pair.rpartition(":") for pair in text.split(",")]
    found = {name.strip(): networks.available_network_hash_lookup.get(value.strip()) for name, _, value in pairs}
    return {name: on_disk.get_alias() for name, on_disk in found.items() if on_disk is not None}


shared_items.register("loras", lambda: list(networks.available_networks), refresh=networks.list_available_networks)
script_callbacks.on_model_loaded(networks.assign_network_names_to_compvis_modules)
script_callbacks.on_before_ui(before_ui)
script_callbacks.on_app_started(add_routes)
script_callbacks.on_infotext_pasted(infotext_pasted)
