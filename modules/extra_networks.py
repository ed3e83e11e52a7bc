"""engine: networks that prompts name in tags like <lora:name:0.8>: their registry, the tags, and switching them."""

from __future__ import annotations

import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modules import errors

logger = logging.getLogger(__name__)

re_extra_net = re.compile(r"<(\w+):([^>]+)>")


@dataclass
class ExtraNetworkParams:
    """The arguments of one tag: all as `items`, those of the form key=value in `named`, the others in `positional`.

    Equal for tags of equal arguments, so what was made for the tags of one job can be known to fit the next.
    """

    items: list[Any] = field(default_factory=list)
    positional: list[Any] = field(init=False, default_factory=list)
    named: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.items = list(self.items or [])
        for item in self.items:
            parts = item.split("=") if isinstance(item, str) else [item]
            if len(parts) == 2:
                self.named[parts[0]] = parts[1]
            else:
                self.positional.append(item)


class ExtraNetwork:
    """A kind of network. Subclasses are registered with register_extra_network."""

    def __init__(self, name: str):
        self.name = name

    def activate(self, p: Any, params_list: list[ExtraNetworkParams]) -> None:
        """Puts in place what a batch needs: called before it is sampled, with the arguments of all tags that name this
        network, or without any.

        Replaces what an earlier call put in place. What changes the model is wished for (`model_patches.wishes()`), so
        that it goes along to the refiner and ends with the job.
        """
        raise NotImplementedError

    def deactivate(self, p: Any) -> None:
        """Takes out what activate put in place: called after the last batch."""
        raise NotImplementedError

    def text_key(self, params_list: list[ExtraNetworkParams]) -> Any:
        """Returns what the encoded text depends on: while it is equal, the same prompt need not be encoded again.

        params_list: of the tags that name this network, which may be none. By default it is never equal where there are
        any, because the networks of extensions may depend on more than the arguments of their tags.
        """
        return object() if params_list else None


def add_to_all(
    p: Any, tag: str, name: str, multiplier: float, params_list: list[ExtraNetworkParams]
) -> list[ExtraNetworkParams]:
    """Writes the tag of a network that a setting names into all prompts of a job, unless a tag names it already.

    Returns the arguments of all tags of this kind.
    """
    if any(params.items[0] == name for params in params_list):
        return params_list
    p.all_prompts = [f"{prompt}<{tag}:{name}:{multiplier}>" for prompt in p.all_prompts]
    return [*params_list, ExtraNetworkParams([name, multiplier])]


ExtraNetworkData = dict[str, list[ExtraNetworkParams]]
"""Tag name -> arguments of each tag of that name, in the order of the prompt."""

extra_network_registry: dict[str, ExtraNetwork] = {}
extra_network_aliases: dict[str, ExtraNetwork] = {}
default_extra_networks: list[Callable[[], ExtraNetwork]] = []
"""What the modules of built-in networks add when they are imported."""


def initialize() -> None:
    """Forgets all networks."""
    extra_network_registry.clear()
    extra_network_aliases.clear()


def register_extra_network(extra_network: ExtraNetwork) -> None:
    """Makes a network known under its name, in place of one of that name."""
    extra_network_registry[extra_network.name] = extra_network


def register_extra_network_alias(extra_network: ExtraNetwork, alias: str) -> None:
    """Makes a network known under a second name, which counts only while no network has it as its own."""
    extra_network_aliases[alias] = extra_network


def register_default_extra_networks() -> None:
    """Registers the built-in networks."""
    for create in default_extra_networks:
        register_extra_network(create())


def find_extra_network(name: str) -> ExtraNetwork | None:
    """Returns the network of a name or alias."""
    return extra_network_registry.get(name) or extra_network_aliases.get(name)


def text_key(extra_network_data: ExtraNetworkData | None) -> list[Any]:
    """Returns what the encoded text depends on of all networks, which tags may name; see `ExtraNetwork.text_key`."""
    tags: dict[ExtraNetwork, list[ExtraNetworkParams]] = {network: [] for network in extra_network_registry.values()}
    for name, params_list in (extra_network_data or {}).items():
        network = find_extra_network(name)
        if network is not None:
            tags.setdefault(network, []).extend(params_list)
    return [(network.name, network.text_key(params_list)) for network, params_list in tags.items()]


def lookup_extra_networks(extra_network_data: ExtraNetworkData) -> dict[ExtraNetwork, list[ExtraNetworkParams]]:
    """Returns the networks that tags name, each with the arguments of all its tags. Logs unknown names."""
    found: dict[ExtraNetwork, list[ExtraNetworkParams]] = {}
    for name, params_list in extra_network_data.items():
        extra_network = find_extra_network(name)
        if extra_network is None:
            logger.info("skipping unknown extra network: %s", name)
        else:
            found.setdefault(extra_network, []).extend(params_list)
    return found


def activate(p: Any, extra_network_data: ExtraNetworkData) -> None:
    """Activates what tags name, in their order, then every other registered network without arguments.

    A network that fails is reported and then counts as not named; the job goes on without it.
    """
    activated = []
    for extra_network, params_list in lookup_extra_networks(extra_network_data).items():
        arguments = [params.items for params in params_list]
        if guarded(
            f"activating extra network {extra_network.name} with {arguments}", extra_network.activate, p, params_list
        ):
            activated.append(extra_network)

    for extra_network in extra_network_registry.values():
        if extra_network not in activated:
            guarded(f"activating extra network {extra_network.name}", extra_network.activate, p, [])

    if p.scripts is not None:
        p.scripts.after_extra_networks_activate(
            p,
            batch_number=p.iteration,
            prompts=p.prompts,
            seeds=p.seeds,
            subseeds=p.subseeds,
            extra_network_data=extra_network_data,
        )


def deactivate(p: Any, extra_network_data: ExtraNetworkData) -> None:
    """Deactivates what tags name, then every other registered network."""
    for extra_network in dict.fromkeys([*lookup_extra_networks(extra_network_data), *extra_network_registry.values()]):
        guarded(f"deactivating extra network {extra_network.name}", extra_network.deactivate, p)


def guarded(task: str, function: Callable[..., None], *args: Any) -> bool:
    """Calls a function of a network and returns whether it succeeded; displays its exception as a failure of task."""
    try:
        function(*args)
    except Exception as e:  # a broken network of an extension or a file must not end the job
        errors.display(e, task)
        return False
    return True


def parse_prompt(prompt: str) -> tuple[str, ExtraNetworkData]:
    """Returns (the prompt without its tags, what the tags say)."""
    data: ExtraNetworkData = defaultdict(list)

    def take(match: re.Match[str]) -> str:
        """Notes a tag, and takes it out of the prompt."""
        data[match[1]].append(ExtraNetworkParams(match[2].split(":")))
        return ""

    last = prompt.rfind(">") + 1  # beyond it each "<" would be followed to the end in vain
    return re_extra_net.sub(take, prompt[:last]) + prompt[last:], data


def parse_prompts(prompts: list[str]) -> tuple[list[str], ExtraNetworkData | None]:
    """Returns (all prompts without their tags, what the tags of the first one say)."""
    parsed = [parse_prompt(prompt) for prompt in prompts]
    return [prompt for prompt, _ in parsed], parsed[0][1] if parsed else None


def get_user_metadata(filename: str | None, lister: Any = None) -> dict[str, Any]:
    """Returns what the user wrote about a model, from the JSON file of its stem; empty if there is none to be read.

    lister: object whose `exists(path)` answers from a remembered directory listing.
    """
    if filename is None:
        return {}
    path = os.path.splitext(filename)[0] + ".json"
    if not (lister or os.path).exists(path):
        return {}
    try:
        with open(path, encoding="utf8") as file:
            metadata = json.load(file)
    except (OSError, ValueError, RecursionError) as e:
        errors.display(e, f"reading extra network user metadata from {path}")
        return {}
    return metadata if isinstance(metadata, dict) else {}
