"""engine: changes to a loaded model that are undone exactly: which are on, and which a job wants.

A patch is a function of the model. It returns either a context, which changes the model while it is entered (hooks, the
mode of a layer), or a WeightPatch. The patches that are on belong to the model (`model.patches`), one of a kind. What a
job wants are its wishes, which go along when another model becomes current: refiner, hires checkpoint, override. At its
end weights may stay changed, at rest: the next job that wants the same has them at once, one that leaves networks as
they are takes them over, and any other use of the model begins with the originals.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from modules import shared
from modules.weight_patches import PatchedWeights, WeightPatch

Patch = Callable[[Any], AbstractContextManager[Any] | WeightPatch]


class ModelPatches:
    """The patches that are on a model, one of a kind, in the order in which their kinds were put on.

    Contexts are entered one inside the other: taking one out leaves those within it first and enters them again, so
    each finds the model as it left it and every order of put and take ends where it began. Weight patches are combined
    from the kept originals (`weights`). A put that raises changes nothing; a take that raises has taken all the same.

    resting: weight patches that nobody wants any more, but which are still in the weights; see `use`.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = weakref.ref(model)
        self.on: dict[str, Patch] = {}
        self.resting: dict[str, Patch] = {}
        self.weights = PatchedWeights(model)
        self._weight_patches: dict[str, WeightPatch] = {}
        self._entered: list[tuple[str, Patch, AbstractContextManager[Any]]] = []
        self._lock = threading.RLock()

    def put(self, kind: str, patch: Patch) -> None:
        """Puts a patch on, in place of one of its kind. An equal one that is on already stays."""
        self.replace((), {kind: patch})

    def take(self, kind: str) -> None:
        """Takes the patch of a kind off, if there is one."""
        self.replace((kind,), {})

    def replace(self, kinds: Collection[str], patches: Mapping[str, Patch], rest: bool = False) -> None:
        """Takes kinds off and puts patches on, as one step. A kind that is in both keeps its place in the order.

        rest: the weights of what is taken off stay changed, until a patch of its kind is put or the model is used.
        """
        with self._lock:
            before, resting = self.on, self.resting
            taken = {kind: patch for kind, patch in before.items() if kind in kinds and kind not in patches}
            wanted = {**{kind: patch for kind, patch in before.items() if kind not in taken}, **patches}
            left = {**resting, **taken} if rest else {kind: resting[kind] for kind in resting if kind not in kinds}
            try:
                self._set(wanted, {kind: patch for kind, patch in left.items() if kind not in patches})
            except BaseException:
                if patches:
                    self._set(before, resting)
                else:
                    self._set(wanted, {})
                raise

    def use(self, part: nn.Module | None = None) -> None:
        """Takes off what rests: called before the model is used, so that it does what its patches say and no more.

        part: one of its networks, where no other is used; what rests in others stays.
        """
        if not self.resting:
            return
        with self._lock:
            layers = set(part.modules()) if part is not None else None
            stay = {}
            for kind, patch in self.resting.items():
                changed = {place.module for place in self._weight_patches[kind].changes}
                if layers is not None and layers.isdisjoint(changed):
                    stay[kind] = patch
            self._set(self.on, stay)

    def _set(self, wanted: dict[str, Patch], resting: Mapping[str, Patch]) -> None:
        """Makes exactly these patches be on, in this order, and those that rest be in the weights."""
        model = self._model()
        known = {**self.resting, **self.on}
        made = {kind: patch(model) for kind, patch in wanted.items() if known.get(kind) != patch}
        weight_patches = {
            kind: patch
            for kind in (*resting, *wanted)
            if isinstance(patch := made.get(kind, self._weight_patches.get(kind)), WeightPatch)
        }
        contexts = [(kind, patch) for kind, patch in wanted.items() if kind not in weight_patches]
        entered = [(kind, patch) for kind, patch, _ in self._entered]
        same = next((i for i, (a, b) in enumerate(zip(entered, contexts, strict=False)) if a != b), len(contexts))
        self._leave(same)
        for kind, patch in contexts[len(self._entered) :]:
            context = made[kind] if kind in made else patch(model)
            context.__enter__()
            self._entered.append((kind, patch, context))
        self.weights.set(weight_patches)
        self._weight_patches, self.on = weight_patches, wanted
        self.resting = {kind: patch for kind, patch in resting.items() if kind in weight_patches}

    def _leave(self, count: int) -> None:
        """Leaves the contexts entered last, all but `count`, even if one of them raises."""
        with ExitStack() as leaving:
            for _, _, context in self._entered[count:]:
                leaving.push(context)
            del self._entered[count:]


class Patchable(Protocol):
    """What a model has to have."""

    patches: ModelPatches


class Wishes:
    """The patches a job wants on whichever model is current, by kind. on: those of the model they are on now.

    outer: of the job around it; its wishes are the first ones of this job.
    """

    def __init__(self, outer: Wishes | None = None) -> None:
        self.wanted: dict[str, Patch] = outer.wanted if outer else {}
        self.on: ModelPatches | None = outer.on if outer else None

    def put(self, kind: str, patch: Patch) -> None:
        """Wants a patch, in place of one of its kind, until it is taken or the job ends."""
        self._change(shared.sd_model.patches, {**self.wanted, kind: patch})

    def take(self, kind: str) -> None:
        """Wants no patch of a kind any more."""
        self._change(self.on, self._without(kind))

    def rest(self, kind: str) -> None:
        """Wants no patch of a kind any more, and leaves its weights to whoever wants the same next."""
        self.go_back(self._without(kind))

    def take_over(self) -> None:
        """Wants what rests on the current model too, as the job before left it."""
        patches = shared.sd_model.patches
        if patches.resting:
            self._change(patches, {**patches.resting, **self.wanted})

    def go_back(self, wanted: Mapping[str, Patch]) -> None:
        """Wants exactly these patches, as before. The weights of others are left to whoever wants the same next."""
        self._change(self.on, dict(wanted), rest=True)

    def move_to(self, model: Patchable | None) -> None:
        """Takes all that is wanted off the model it is on, and puts it on this one."""
        self._change(None if model is None else model.patches, self.wanted)

    def _without(self, kind: str) -> dict[str, Patch]:
        return {name: patch for name, patch in self.wanted.items() if name != kind}

    def _change(self, target: ModelPatches | None, wanted: dict[str, Patch], rest: bool = False) -> None:
        if target is self.on and wanted == self.wanted:  # what most who take something have never put
            return
        if self.on is not None and self.on is not target:
            self.on.replace(self.wanted, {})
            self.on = None
        if target is not None:
            target.replace(self.wanted if self.on is target else (), wanted, rest)
        self.on = target if wanted else None
        self.wanted = wanted


running_wishes: ContextVar[Wishes | None] = ContextVar("running_wishes", default=None)


def wishes() -> Wishes:
    """Returns the wishes of the job that runs in this context."""
    found = running_wishes.get()
    if found is None:
        found = Wishes()
        running_wishes.set(found)
    return found


@contextmanager
def job_wishes() -> Iterator[Wishes]:
    """Makes what is wanted inside the block end with it. A job inside another begins with what that one wants."""
    outer = running_wishes.get()
    own = Wishes(outer)
    token = running_wishes.set(own)
    try:
        yield own
    finally:
        running_wishes.reset(token)
        own.go_back(outer.wanted if outer else {})
        if outer is not None:
            outer.on = own.on


def move_wishes(model: Patchable | None) -> None:
    """Takes what the running job wants along to the model that has become current, if any has."""
    running = running_wishes.get()
    if running is not None:
        running.move_to(model)


@contextmanager
def kept(kind: str, patch: Patch) -> Iterator[None]:
    """Wants a patch inside the block; what was wanted of its kind before is wanted again at its end."""
    own = wishes()
    before = own.wanted
    own.put(kind, patch)
    try:
        yield
    finally:
        others = {name: wanted for name, wanted in own.wanted.items() if name != kind}
        own.go_back({**own.wanted, kind: before[kind]} if kind in before else others)


@contextmanager
def circular_padding(model: nn.Module, enabled: bool | None = True) -> Iterator[None]:
    """Has all convolutions of a model continue the image beyond an edge with its other side, inside the block.

    The result tiles seamlessly. Not enabled: the model stays as it is.
    """
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)] if enabled else []
    modes = [layer.padding_mode for layer in convolutions]
    try:
        for layer in convolutions:
            layer.padding_mode = "circular"
        yield
    finally:
        for layer, mode in zip(convolutions, modes, strict=True):
            layer.padding_mode = mode


@contextmanager
def token_merging(model: Any, ratio: float) -> Iterator[None]:
    """Has self-attention at the U-Net's full resolution see some tokens merged into similar ones, inside the block.

    ratio: share (0..1) of the tokens that is merged; 0 leaves the model as it is. Bolya and Hoffman 2023
    (arXiv:2303.17604).
    """
    with ExitStack() as stack:
        if ratio > 0:
            for handle in TokenMerging(ratio).attach(model.model.diffusion_model):
                stack.callback(handle.remove)
        yield


Tokens = Callable[[torch.Tensor], torch.Tensor]


def unchanged(tokens: torch.Tensor) -> torch.Tensor:
    """Returns what it is given."""
    return tokens


class TokenMerging:
    """Merges before self-attention what it unmerges after it, by hooks on a diffusers U-Net.

    Of every 2x2 square the first token stays; of the others the share `ratio` of all tokens that is most similar to one
    that stays is merged into it. Which ones is decided anew for each transformer block, on what comes into it.
    """

    def __init__(self, ratio: float):
        self.ratio = ratio
        self.size = (0, 0)
        self.merge: Tokens = unchanged
        self.unmerge: Tokens = unchanged

    def attach(self, unet: nn.Module) -> Iterator[RemovableHandle]:
        """Adds the hooks and yields their handles."""
        from diffusers.models.attention import BasicTransformerBlock

        yield unet.register_forward_pre_hook(self.note_size)
        for module in unet.modules():
            if isinstance(module, BasicTransformerBlock):
                yield module.register_forward_pre_hook(self.match)
                yield module.attn1.register_forward_pre_hook(lambda _, args: (self.merge(args[0]), *args[1:]))
                yield module.attn1.register_forward_hook(lambda _, args, output: self.unmerge(output))

    def note_size(self, unet: nn.Module, args: tuple[Any, ...]) -> None:
        """Remembers height and width of the latents (B, C, h, w)."""
        self.size = tuple(args[0].shape[-2:])

    def match(self, block: nn.Module, args: tuple[Any, ...]) -> None:
        """Decides which of the tokens (B, T, C) that come into a transformer block to merge."""
        from tomesd.merge import bipartite_soft_matching_random2d

        tokens = args[0]
        height, width = self.size
        self.merge = self.unmerge = unchanged
        if tokens.shape[1] == height * width:
            count = int(tokens.shape[1] * self.ratio)
            self.merge, self.unmerge = bipartite_soft_matching_random2d(
                tokens, width, height, 2, 2, count, no_rand=True
            )
