"""base: ComfyUI's graph: an object {id: {"class_type", "inputs"}}, and the ways along its links.

An input is a value, or a link [id, output] to another node.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modules.dialects import base

SEEDS = ("seed", "noise_seed")
TEXTS = ("populated_text", "text", "t5xxl", "prompt", "user_prompt", "string", "value", "String", "STRING")
"""Inputs that hold the text of a prompt, the one that says most first."""

TEXT_PAIRS = (("text_g", "text_l"), ("clip_g", "clip_l"))
"""Inputs for the two text encoders of SDXL; both texts count where they differ."""

JOINED_TEXT = re.compile(r"(?:text|string|prompt|str)_?(?:[a-z]|\d+)")
"""Inputs whose texts a node joins."""

LITERALS = ("value", "int", "float", "number", "Number", "Value", "string", "text", "String", "STRING", "text_0")
"""Inputs of nodes that only give a value."""

NOT_A_CONDITION = re.compile("clip|vae|model|latent|samples|image|pixels|mask|control|sigmas|noise|style")
"""Inputs that lead away from a prompt."""

MAX_NODES = 10_000
MAX_DEPTH = 100
"""Nodes that a text may be handed through."""

MAX_TEXT = 10_000_000
"""Signs that nodes may join: a graph can double a text with each of them."""


class Graph:
    """The nodes of a graph. Links to nodes that are not there lead nowhere."""

    def __init__(self, nodes: Mapping[str, Any]):
        self.nodes = {
            str(name): node
            for name, node in list(nodes.items())[:MAX_NODES]
            if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
        }
        self.texts: dict[str, str] = {}

    def inputs(self, name: str) -> dict[str, Any]:
        """Returns the inputs of a node."""
        return self.nodes[name]["inputs"]

    def class_of(self, name: str) -> str:
        """Returns the type of a node."""
        return str(self.nodes[name].get("class_type", ""))

    def target(self, value: Any) -> str | None:
        """Returns the node that an input is linked to, None for a value."""
        is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)
        return str(value[0]) if is_link and str(value[0]) in self.nodes else None

    def literal(self, value: Any, key: str) -> Any:
        """Returns the value of the input `key`, also where a node gives it; None if it cannot be told."""
        keys = (*(SEEDS if key in SEEDS else (key, f"{key}_total")), *LITERALS)
        for _ in range(MAX_DEPTH):
            name = self.target(value)
            if name is None:
                return None if isinstance(value, list | dict) else value
            inputs = self.inputs(name)
            value = next((inputs[each] for each in keys if each in inputs), None)
        return None

    def upstream(self, name: str | None, follows: Callable[[str], bool] = lambda key: True) -> Iterator[str]:
        """Yields a node and all that it is made from, the nearest first. follows: whether to go through an input."""
        waiting, seen = deque([name] if name in self.nodes else []), {name}
        while waiting:
            current = waiting.popleft()
            yield current
            for key, value in self.inputs(current).items():
                found = self.target(value)
                if found is not None and found not in seen and follows(key):
                    seen.add(found)
                    waiting.append(found)

    def first_value(self, link: Any, key: str) -> Any:
        """Returns the value of the nearest input of this name on the way up from a link, None without one."""
        for name in self.upstream(self.target(link)):
            if self.is_sampler(name):
                continue
            value = self.literal(self.inputs(name).get(key), key)
            if value is not None:
                return value
        return None

    @staticmethod
    def is_pipe(key: str) -> bool:
        """Tells whether an input hands several things on in one."""
        return "pipe" in key or key in ("base_ctx", "context", "ctx", "sdxl_tuple")

    def pipe(self, inputs: Mapping[str, Any]) -> Any:
        """Returns the link among some inputs that hands several things on in one, None without one."""
        return next((value for key, value in inputs.items() if self.is_pipe(key) and self.target(value)), None)

    def is_sampler(self, name: str) -> bool:
        """Tells whether a node makes a whole image: it has steps or sigmas, and prompts, a guider or all in one."""
        inputs = self.inputs(name)
        is_guided = any(key in inputs for key in ("positive", "guider")) or self.pipe(inputs) is not None
        is_other = re.search("Detailer|Save", self.class_of(name)) is not None
        return ("steps" in inputs or "sigmas" in inputs) and is_guided and not is_other

    def savers(self) -> list[str]:
        """Returns the nodes that save or show images, those that save first."""
        found = [name for name in self.nodes if re.search("save|preview", self.class_of(name), re.IGNORECASE)]
        return sorted(found, key=lambda name: "preview" in self.class_of(name).lower())

    def last_samplers(self) -> list[tuple[str | None, str]]:
        """Returns (saver, last sampler before it) for each sampler that is the last one of a saved image.

        In a graph without nodes that save, the last sampler of all.
        """
        found: dict[str, str | None] = {}
        for saver in self.savers()[:100]:
            sampler = next(filter(self.is_sampler, self.upstream(saver)), None)
            if sampler is not None:
                found.setdefault(sampler, saver)
        if found:
            return [(saver, sampler) for sampler, saver in found.items()]
        samplers = [name for name in self.nodes if self.is_sampler(name)][-100:]
        used = {found for name in samplers for found in list(self.upstream(name))[1:]}
        last = next((name for name in reversed(samplers) if name not in used), None)
        return [] if last is None else [(None, last)]

    def continued(self, sampler: str) -> str | None:
        """Returns the sampler whose unfinished latent another one goes on with, without noise of its own."""
        if self.inputs(sampler).get("add_noise") != "disable":
            return None
        before = list(self.upstream(self.target(self.inputs(sampler).get("latent_image"))))
        return next(filter(self.is_sampler, before), None)

    def prompt(self, link: Any, role: str) -> str:
        """Returns the text that a condition was made of; texts that were joined stand on lines of their own.

        role: "positive" or "negative": which input to follow where a node has both.
        """
        texts: list[str] = []
        waiting, seen = [self.target(link)], set()
        while waiting:
            name = waiting.pop(0)
            if name is None or name in seen or "ZeroOut" in self.class_of(name):
                continue
            seen.add(name)
            inputs = self.inputs(name)
            conditions = self.conditions(inputs, role)
            own = "" if conditions else self.own_text(inputs, role)
            if own:
                texts.append(own)
            elif not conditions:
                others = (self.target(inputs[key]) for key in inputs if not NOT_A_CONDITION.search(key.lower()))
                conditions = [found for found in others if found][:1]
            waiting = conditions + waiting
        return "\n".join(dict.fromkeys(texts))

    def conditions(self, inputs: Mapping[str, Any], role: str) -> list[str]:
        """Returns the nodes of the conditions that a node works on; none where these inputs are texts."""
        keys = [key for key in inputs if key.startswith("conditioning") or key == role]
        found = [self.target(inputs[key]) for key in keys]
        return [name for name in found if name is not None and not self.is_text(name)]

    def is_text(self, name: str) -> bool:
        """Tells whether a node gives a text, not a condition: it has one, and no encoder."""
        inputs = self.inputs(name)
        keys = {*TEXTS, *LITERALS} & inputs.keys()
        return bool(keys) and not any("clip" in key or "pipe" in key for key in inputs)

    def own_text(self, inputs: Mapping[str, Any], role: str) -> str:
        """Returns the text that a node makes a condition from."""
        if isinstance(inputs.get(role), str) or self.target(inputs.get(role)):
            return self.text(inputs[role])
        for pair in TEXT_PAIRS:
            found = [self.text(inputs[key]) for key in pair if key in inputs]
            if any(found) and "t5xxl" not in inputs:
                return "\n".join(dict.fromkeys(filter(None, found)))
        return next(filter(None, (self.text(inputs[key]) for key in (*TEXTS, "clip_l") if key in inputs)), "")

    def text(self, value: Any, depth: int = 0) -> str:
        """Returns the text of an input, also where nodes give or join it."""
        name = self.target(value)
        if name is None:
            return base.text_of(value) if isinstance(value, str) else ""
        if name not in self.texts:
            self.texts[name] = ""  # what a circle of links leads to
            if depth < MAX_DEPTH:
                self.texts[name] = self.text_of_node(self.inputs(name), depth + 1)
        return self.texts[name]

    def text_of_node(self, inputs: Mapping[str, Any], depth: int) -> str:
        """Returns the text that a node gives."""
        for key in (*TEXTS, *LITERALS):
            found = self.text(inputs[key], depth) if key in inputs else ""
            if found:
                return found
        parts = [self.text(inputs[key], depth) for key in inputs if JOINED_TEXT.fullmatch(key)]
        between = inputs.get("delimiter", inputs.get("separator", ""))
        return (between if isinstance(between, str) else "").join(filter(None, parts))[:MAX_TEXT].strip()
