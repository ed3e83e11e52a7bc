r"""pure: what a prompt means: edits over the steps, AND parts and weighted pieces, and the conditioning made of them.

Knows no settings and no model beyond `model.get_learned_conditioning(texts)`. A prompt is read in three passes, each
with its own syntax:

    a AND b:0.5                  parts with a weight each: get_multicond_prompt_list
    [a:b:0.5]  [a|b]             the text at each step: get_learned_conditioning_prompt_schedules
    (a:1.2)  [b]  BREAK  \(      pieces with a weight each: parse_prompt_attention
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch

from modules.errors import InvalidInput
from modules.sampling.conditioning import Cond, Conditioning, DictWithShape

re_edit_token = re.compile(r"(?:[^\\\[\]():|]|\\.)+|[\[\]():|]")
re_switch_step = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")
re_AND = re.compile(r"\bAND\b")
re_weight = re.compile(r":\s*([+-]?(?:\d+\.?|\d*\.\d+))\Z")
re_attention = re.compile(r"\\[\\()\[\]]?|[()\[\]]|:\s*([+-]?[.\d]+)\s*\)|[^\\()\[\]:]+|:")
re_break = re.compile(r"\bBREAK\b")

CLOSING_BRACKETS = {"(": ")", "[": "]"}
BRACKET_WEIGHT = 1.1
"""What `(...)` multiplies a weight by, and `[...]` divides it by."""


@dataclass(frozen=True)
class Timeline:
    """How the numbers of edits become steps of the pass whose texts are wanted.

    hires_steps is None in the first pass. The old rules know no second timeline: the hires pass repeats the first.
    """

    base_steps: int
    hires_steps: int | None
    use_old_scheduling: bool

    @property
    def is_second(self) -> bool:
        """Whether the steps are those of the hires pass, whose prompts go on where the first pass ended."""
        return self.hires_steps is not None and not self.use_old_scheduling

    @property
    def steps(self) -> int:
        """Number of steps of the pass."""
        return self.hires_steps if self.is_second else self.base_steps

    def switch_step(self, number: str) -> int:
        """Returns the last step of an edit's old text, from 0 (it never shows) to `steps`.

        A fraction is a share of the steps, a whole number counts them; the hires pass begins at 1.0, or at base_steps.
        The old rules tell fractions by their value, the new ones by their decimal point.
        """
        value = float(number)
        is_fraction = value < 1 if self.use_old_scheduling else "." in number
        if self.is_second:
            value -= 1.0 if is_fraction else self.base_steps
        if is_fraction:
            value *= self.steps
        return int(min(max(value, 0), self.steps))


@dataclass(frozen=True)
class Edit:
    """`[before:after:N]`"""

    before: list[Node]
    after: list[Node]
    switch_step: int

    def at(self, step: int) -> list[Node]:
        """Returns the text that stands at a step."""
        return self.before if step <= self.switch_step else self.after


@dataclass(frozen=True)
class Alternation:
    """`[a|b|c]`"""

    options: list[list[Node]]

    def at(self, step: int) -> list[Node]:
        """Returns the option that stands at a step: one after the other."""
        return self.options[(step - 1) % len(self.options)]


@dataclass(frozen=True)
class Literal:
    """Brackets that mean nothing to edits, such as those of weights, and what is in them."""

    nodes: list[Node]

    def at(self, step: int) -> list[Node]:
        """Returns the text that stands at a step."""
        return self.nodes


Node = str | Edit | Alternation | Literal


def text_at_step(nodes: list[Node], step: int) -> str:
    """Returns the text that nodes stand for at a step, counted from 1. Not recursive: it takes any depth of nesting."""
    texts = []
    pending = nodes[::-1]
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            texts.append(node)
        else:
            pending.extend(reversed(node.at(step)))
    return "".join(texts)


class UnscheduledText(Exception):
    """The text does not follow the syntax of prompt editing, so all of it is meant literally."""


@dataclass
class Bracket:
    """An open bracket and what was read since; separators[i], ":" or "|", stands between parts[i] and parts[i + 1]."""

    opening: str
    parts: list[list[Node]] = field(default_factory=lambda: [[]])
    separators: list[str] = field(default_factory=list)

    def separate(self, separator: str) -> None:
        """Begins the next part after a separator."""
        self.separators.append(separator)
        self.parts.append([])

    def literal(self) -> Iterator[Node]:
        """Yields the bracket and its contents as written. Raises UnscheduledText for a "|", which never stands for
        itself.
        """
        if "|" in self.separators:
            raise UnscheduledText
        for separator, part in zip([self.opening, *self.separators], self.parts, strict=True):
            yield separator
            yield from part


class EditParser:
    """Reads one text into nodes, left to right with a stack of open brackets, and the steps at which it may change.

    A bracket that closes as no group stands for itself, and then so do all that are open around it, because groups
    hold whole groups only.
    """

    def __init__(self, timeline: Timeline):
        self.timeline = timeline
        self.boundaries = {timeline.steps}
        self._nodes: list[Node] = []
        self._open: list[Bracket] = []

    def parse(self, text: str) -> list[Node]:
        """Reads a text. Raises UnscheduledText for a lone backslash at its end, and a "|" outside of an alternation."""
        position = 0
        while position < len(text):
            match = re_edit_token.match(text, position)
            if match is None:
                raise UnscheduledText
            self._read(match[0])
            position = match.end()
        self._take_open_literally()
        return self._nodes

    def _read(self, token: str) -> None:
        if token in CLOSING_BRACKETS:
            self._open.append(Bracket(token))
        elif token in CLOSING_BRACKETS.values():
            self._close(token)
        elif token in (":", "|") and self._open:
            self._open[-1].separate(token)
        elif token == "|":
            raise UnscheduledText
        else:
            self._add([token])

    def _add(self, nodes: Iterable[Node]) -> None:
        (self._open[-1].parts[-1] if self._open else self._nodes).extend(nodes)

    def _close(self, closing: str) -> None:
        group = self._group(self._open[-1], closing) if self._open else None
        if group is None:
            self._take_open_literally()
            self._add([closing])
        else:
            self._open.pop()
            self._add(group)

    def _take_open_literally(self) -> None:
        nodes = [node for bracket in self._open for node in bracket.literal()]
        self._open.clear()
        self._add(nodes)

    def _group(self, bracket: Bracket, closing: str) -> list[Node] | None:
        """Returns what a closed bracket means, None for no group. Weights, `(a)`, `(a:b)` and `[a]`, pass through as
        text.
        """
        if CLOSING_BRACKETS[bracket.opening] != closing:
            return None
        if "|" in bracket.separators:
            return self._alternation(bracket)
        if len(bracket.parts) == 1 or (len(bracket.parts) == 2 and bracket.opening == "("):
            return [Literal([*bracket.literal(), closing])]
        if len(bracket.parts) <= 3 and bracket.opening == "[":
            return self._edit(*bracket.parts)
        return None

    def _alternation(self, bracket: Bracket) -> list[Node]:
        if bracket.opening == "(" or ":" in bracket.separators:
            raise UnscheduledText
        self.boundaries.update(range(1, self.timeline.steps + 1))
        return [Alternation(bracket.parts)]

    def _edit(self, *parts: list[Node]) -> list[Node] | None:
        *texts, last = parts
        number = re_switch_step.fullmatch("".join(last)) if all(isinstance(node, str) for node in last) else None
        if number is None:
            return None
        switch_step = self.timeline.switch_step(number[1])
        if switch_step >= 1:
            self.boundaries.add(switch_step)
        before, after = texts if len(texts) == 2 else ([], *texts)
        return [Edit(before, after, switch_step)]


def prompt_schedule(prompt: str, timeline: Timeline) -> list[list]:
    """Returns [[end_step, text], ...] of one prompt, end steps rising: each text holds up to and including its end
    step.
    """
    parser = EditParser(timeline)
    try:
        nodes = parser.parse(prompt)
    except UnscheduledText:
        return [[timeline.steps, prompt]]
    return [[step, text_at_step(nodes, step)] for step in sorted(parser.boundaries)]


def get_learned_conditioning_prompt_schedules(
    prompts: Sequence[str], base_steps: int, hires_steps: int | None = None, use_old_scheduling: bool = False
) -> list[list[list]]:
    """Returns the schedule [[end_step, text], ...] of each prompt: what its edits and alternations make of it at each
    step.

    base_steps: denoiser calls of the first pass; hires_steps: of the second, if the schedules of the second are wanted.
    """
    timeline = Timeline(base_steps, hires_steps, use_old_scheduling)
    schedules = {prompt: prompt_schedule(prompt, timeline) for prompt in dict.fromkeys(prompts)}
    return [schedules[prompt] for prompt in prompts]


class ScheduledPromptConditioning(NamedTuple):
    """What a text is encoded to, (tokens, width) or a dict of tensors, and the last step at which it holds."""

    end_at_step: int
    cond: Cond


class SdConditioning(list):
    """Prompts and what else their conditioning depends on: the image's size in pixels, and the side of guidance.

    What is not given is taken from copy_from, or from `prompts` themselves if they are such a list.
    """

    def __init__(
        self,
        prompts: Iterable[str],
        is_negative_prompt: bool = False,
        width: int | None = None,
        height: int | None = None,
        copy_from: Any = None,
    ):
        super().__init__(prompts)
        source = prompts if copy_from is None else copy_from
        self.is_negative_prompt = is_negative_prompt or getattr(source, "is_negative_prompt", False)
        self.width = width or getattr(source, "width", None)
        self.height = height or getattr(source, "height", None)


def get_learned_conditioning(
    model: Any,
    prompts: SdConditioning | list[str],
    steps: int,
    hires_steps: int | None = None,
    use_old_scheduling: bool = False,
) -> list[list[ScheduledPromptConditioning]]:
    """Encodes prompts, each with all texts of its schedule in one batch; a prompt that comes twice is encoded once.

    model: `model.get_learned_conditioning(texts)` returns a tensor (texts, tokens, width) or a dict of tensors, texts
    first.
    """
    encoded: dict[str, list[ScheduledPromptConditioning]] = {}
    schedules = get_learned_conditioning_prompt_schedules(prompts, steps, hires_steps, use_old_scheduling)
    for prompt, schedule in zip(prompts, schedules, strict=True):
        if prompt in encoded:
            continue
        end_steps, texts = zip(*schedule, strict=True)
        conds = model.get_learned_conditioning(SdConditioning(texts, copy_from=prompts))
        encoded[prompt] = [
            ScheduledPromptConditioning(step, cond_of_text(conds, i)) for i, step in enumerate(end_steps)
        ]
    return [encoded[prompt] for prompt in prompts]


def cond_of_text(conds: Cond, index: int) -> Cond:
    """Returns one text's share of what a batch was encoded to."""
    if isinstance(conds, dict):
        return {key: value[index] for key, value in conds.items()}
    return conds[index]


def get_multicond_prompt_list(
    prompts: SdConditioning | list[str],
) -> tuple[list[list[tuple[int, float]]], SdConditioning, dict[str, int]]:
    """Splits prompts at AND: (per prompt the index and weight of its parts, the different parts, part -> its index)."""
    indexes: dict[str, int] = {}
    weighted_parts = []
    for prompt in prompts:
        parts = [split_weight(part) for part in re_AND.split(prompt)]
        weighted_parts.append([(indexes.setdefault(text, len(indexes)), weight) for text, weight in parts])
    return weighted_parts, SdConditioning(list(indexes), copy_from=prompts), indexes


def split_weight(part: str) -> tuple[str, float]:
    """Splits `text : 0.5` into ("text", 0.5); the weight is 1 where none is given."""
    part = part.rstrip()
    match = re_weight.search(part)
    return (part[: match.start()].rstrip(), float(match[1])) if match else (part, 1.0)


@dataclass
class ComposableScheduledPromptConditioning:
    """One AND part of a prompt."""

    schedules: list[ScheduledPromptConditioning]
    weight: float = 1.0


@dataclass
class MulticondLearnedConditioning:
    """The AND parts of each prompt of a batch. shape: (prompts,), for samplers that ask for the batch size."""

    shape: tuple[int, ...]
    batch: list[list[ComposableScheduledPromptConditioning]]


def get_multicond_learned_conditioning(
    model: Any,
    prompts: SdConditioning | list[str],
    steps: int,
    hires_steps: int | None = None,
    use_old_scheduling: bool = False,
) -> MulticondLearnedConditioning:
    """Encodes as get_learned_conditioning prompts that may hold AND; Liu et al. 2022 (arXiv:2206.01714)."""
    weighted_parts, texts, _ = get_multicond_prompt_list(prompts)
    encoded = get_learned_conditioning(model, texts, steps, hires_steps, use_old_scheduling)
    batch = [
        [ComposableScheduledPromptConditioning(encoded[i], weight) for i, weight in parts] for parts in weighted_parts
    ]
    return MulticondLearnedConditioning((len(prompts),), batch)


def cond_at_step(schedule: list[ScheduledPromptConditioning], current_step: int) -> Cond:
    """Returns what holds at denoiser call current_step, counted from 0. Calls beyond the last end step get the first
    entry.
    """
    return next((entry.cond for entry in schedule if current_step <= entry.end_at_step), schedule[0].cond)


def reconstruct_cond_batch(
    c: list[list[ScheduledPromptConditioning]], current_step: int
) -> torch.Tensor | DictWithShape:
    """Returns the conditioning of a batch at a denoiser call, counted from 0: (prompts, tokens, width), or a dict of
    tensors.
    """
    return stack_batch([cond_at_step(schedule, current_step) for schedule in c])


def reconstruct_multicond_batch(
    c: MulticondLearnedConditioning, current_step: int
) -> tuple[list[list[tuple[int, float]]], torch.Tensor | DictWithShape]:
    """Returns the same for prompts with AND: (row and weight of each prompt's parts, all parts stacked)."""
    conds: list[Cond] = []
    rows = []
    for parts in c.batch:
        rows.append([(len(conds) + i, part.weight) for i, part in enumerate(parts)])
        conds.extend(cond_at_step(part.schedules, current_step) for part in parts)
    return rows, stack_batch(conds)


def stack_batch(conds: list[Cond]) -> torch.Tensor | DictWithShape:
    """Returns the conditioning of several texts as one batch; shorter ones are filled up with their last vector."""
    return Conditioning.stack(conds).cond


stack_conds = stack_batch  # A1111 name


def parse_prompt_attention(text: str) -> list[list]:
    r"""Splits a text into pieces with a weight each: [[text, weight], ...].

    `(a)` is 1.1 times as strong, `(a:1.5)` 1.5 times, `[a]` 1 / 1.1 times; they nest, and an unclosed one reaches to
    the end. A backslash before a bracket or backslash takes its meaning away. The word BREAK becomes the piece
    ["BREAK", -1]. Raises InvalidInput for a weight like 1.2.3.
    """
    pieces: list[list] = []
    changes: list[tuple[int, int, float]] = []
    starts: dict[str, list[int]] = {"(": [], "[": []}

    def multiply_since(start: int, factor: float) -> None:
        """Notes that the weights of all pieces from a place on are multiplied."""
        changes.append((start, len(pieces), factor))

    for match in re_attention.finditer(text):
        token, weight = match[0], match[1]
        if token.startswith("\\"):
            pieces.append([token[1:], 1.0])
        elif token in starts:
            starts[token].append(len(pieces))
        elif weight is not None and starts["("]:
            multiply_since(starts["("].pop(), attention_weight(weight))
        elif token == ")" and starts["("]:
            multiply_since(starts["("].pop(), BRACKET_WEIGHT)
        elif token == "]" and starts["["]:
            multiply_since(starts["["].pop(), 1 / BRACKET_WEIGHT)
        else:
            pieces.extend(split_at_break(token))

    for start in starts["("]:
        multiply_since(start, BRACKET_WEIGHT)
    for start in starts["["]:
        multiply_since(start, 1 / BRACKET_WEIGHT)
    return merge_equal_weights(weighted(pieces, changes))


def weighted(pieces: list[list], changes: Sequence[tuple[int, int, float]]) -> list[list]:
    """Returns pieces with their weights multiplied: by a factor each from a place up to another, change by change."""
    if not changes:
        return pieces
    weights = np.array([weight for _, weight in pieces], dtype=np.float64)
    with np.errstate(all="ignore"):
        for start, end, factor in changes:
            weights[start:end] *= factor
    return [[text, weight] for (text, _), weight in zip(pieces, weights.tolist(), strict=True)]


def attention_weight(number: str) -> float:
    """Returns the number of a weight; raises InvalidInput for a text that is none."""
    try:
        return float(number)
    except ValueError:
        raise InvalidInput(
            f'"{number}" is not a number: write a weight in a prompt like (word:1.2)', field="prompt"
        ) from None


def split_at_break(text: str) -> Iterator[list]:
    """Yields pieces of weight 1, with ["BREAK", -1] between them, and no blanks beside it, where that word stood."""
    first, *others = re_break.split(text)
    yield [first.rstrip() if others else first, 1.0]
    for i, part in enumerate(others, 1):
        yield ["BREAK", -1]
        part = part.lstrip()
        yield [part.rstrip() if i < len(others) else part, 1.0]


def merge_equal_weights(pieces: list[list]) -> list[list]:
    """Joins neighbours of equal weight; no pieces become one empty piece."""
    merged = [["".join(text for text, _ in same), weight] for weight, same in groupby(pieces, key=itemgetter(1))]
    return merged or [["", 1.0]]
