"""pure: how the weights of a prompt change the vectors it is encoded to; one class per value of the setting `emphasis`.

An object is filled with tokens, multipliers and z, then `after_transformers` replaces z.
"""

from __future__ import annotations

import torch


class Emphasis:
    """Leaves the vectors as they are: base of the others."""

    name: str = "Base"
    description: str = ""

    tokens: list[list[int]]
    """Token ids of each text, B lists of T."""

    multipliers: torch.Tensor
    """Weight of each token, (B, T)."""

    z: torch.Tensor
    """Output of the text encoder, (B, T, width)."""

    def after_transformers(self) -> None:
        """Applies `multipliers` to `z`."""


class EmphasisNone(Emphasis):
    """The encoder does not even look for weights in the prompt while this one is chosen."""

    name = "None"
    description = "weights are not read at all, brackets are plain text"


class EmphasisIgnore(Emphasis):
    """Leaves the vectors as they are, while the encoder takes the weights out of the prompt."""

    name = "Ignore"
    description = "weights are read and have no effect"


class EmphasisOriginal(Emphasis):
    """Multiplies the vectors, then scales all so that the mean over texts, tokens and channels is what it was.

    Nothing is scaled without weights, nor where no scale gives the mean back: where it is zero, or was.
    """

    name = "Original"
    description = "weights multiply the vectors, whose mean is then restored"

    def after_transformers(self) -> None:
        """Applies the weights."""
        original_mean = mean_of_all(self.z)
        self.z = scaled_by_token(self.z, self.multipliers)
        quotient = original_mean / mean_of_all(self.z)
        has_scale = (self.multipliers != 1).any() & quotient.isfinite() & (quotient != 0)  # stays on the device
        self.z = self.z * torch.where(has_scale, quotient, torch.ones_like(quotient))


class EmphasisOriginalNoNorm(EmphasisOriginal):
    """Multiplies the vectors."""

    name = "No norm"
    description = "weights multiply the vectors, whose mean may change (often better for SDXL)"

    def after_transformers(self) -> None:
        """Applies the weights."""
        self.z = scaled_by_token(self.z, self.multipliers)


def mean_of_all(z: torch.Tensor) -> torch.Tensor:
    """Returns the mean of a tensor, row by row first: the same with any number of threads."""
    return z.mean(-1).mean()


def scaled_by_token(z: torch.Tensor, multipliers: torch.Tensor) -> torch.Tensor:
    """Multiplies (B, T, width) by (B, T)."""
    return z * multipliers.unsqueeze(-1)


options: list[type[Emphasis]] = [EmphasisNone, EmphasisIgnore, EmphasisOriginal, EmphasisOriginalNoNorm]


def get_current_option(emphasis_option_name: str) -> type[Emphasis]:
    """Returns the class of that name, EmphasisOriginal for unknown names."""
    return next((option for option in options if option.name == emphasis_option_name), EmphasisOriginal)


def get_options_descriptions() -> str:
    """Returns what each value of the setting does, in a line."""
    return "; ".join(f"{option.name}: {option.description}" for option in options)
