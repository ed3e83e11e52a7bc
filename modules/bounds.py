"""engine: how much one job may ask for: the settings api_max_*, looked at before memory is taken.

Whatever makes an image, or many, asks here first, with the size or number it is going to need: requests, jobs, scripts,
and everything that enlarges. A refusal names the field and the setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from modules import shared
from modules.errors import InvalidInput
from modules.options import OptionValues
from modules.prompt_parser import re_AND

CHARACTERS_PER_TOKEN = 100
"""No token is longer; a text of more characters than that for each allowed token has too many, without counting."""

SQUARES_IN_ALL = 16
"""All images of a request together may have as many pixels as so many of the largest."""

LARGEST_MARGIN = 500
"""Pixels between the images of a grid; what the slider goes to."""

SCRIPT_ARGS = "script_args"


@dataclass(frozen=True)
class Bounds(OptionValues):
    """What the settings allow. Their names; sides in pixels, steps, and numbers of images, tokens and AND parts."""

    api_max_size: int
    api_max_steps: int
    api_max_batch_size: int
    api_max_images: int
    api_max_tokens: int
    api_max_prompt_parts: int

    def check(self, setting: str, value: float, what: str, field: str, lowest: float = 0) -> None:
        """Raises InvalidInput, naming field, unless value is from lowest to what the setting says; NaN is not."""
        largest = getattr(self, setting)
        if not isinstance(value, int | float) or not lowest <= value <= largest:
            raise InvalidInput(
                f"{field}: {value} {what} asked for, but it must be from {lowest} to {largest} "
                f"(the setting {setting} changes the upper end)",
                field=field,
            )

    def check_size(self, width: float, height: float, field: str, height_field: str | None = None) -> None:
        """Checks the sides of an image that is going to be made."""
        self.check("api_max_size", width, "pixels of width", field)
        self.check("api_max_size", height, "pixels of height", height_field or field)

    def check_images(self, count: float, field: str) -> None:
        """Checks the number of images that one request is going to make."""
        self.check("api_max_images", count, "pictures", field)

    def check_pixels(self, count: float, field: str) -> None:
        """Checks the pixels that are going to be held at a time: those of all images, or of one on its way to its
        size.
        """
        largest = SQUARES_IN_ALL * self.api_max_size**2
        if not count <= largest:
            raise InvalidInput(
                f"{field}: {count / 1e6:.0f} megapixels would be held in memory, but at most {largest / 1e6:.0f} may "
                "(the setting api_max_size changes it): take smaller or fewer pictures",
                field=field,
            )

    def check_scaled(self, size: tuple[int, int], factor: float, field: str) -> None:
        """Checks the size that an image of this size has after it is enlarged by a factor."""
        if not isinstance(factor, int | float) or not factor > 0:
            raise InvalidInput(f"{field} is {factor}, but must be more than 0", field=field)
        self.check_size(size[0] * factor, size[1] * factor, field)

    def check_covering(self, size: tuple[int, int], target: tuple[float, float], fields: tuple[str, str]) -> None:
        """Checks a target size and what an image of this size grows to before it is cut to it."""
        self.check("api_max_size", target[0], "pixels of width", fields[0], lowest=1)
        self.check("api_max_size", target[1], "pixels of height", fields[1], lowest=1)
        factor = max(target[0] / size[0], target[1] / size[1])
        self.check_pixels(size[0] * size[1] * factor**2, fields[0])

    def check_margin(self, margin: float) -> None:
        """Checks the pixels between the images of a grid."""
        if not isinstance(margin, int | float) or not 0 <= margin <= LARGEST_MARGIN:
            raise InvalidInput(
                f"the margin of the grid is {margin}, but must be from 0 to {LARGEST_MARGIN}", field=SCRIPT_ARGS
            )

    def check_length(self, text: str, field: str) -> None:
        """Checks a text as far as that is possible without the model: its length, its AND parts, and its brackets, as
        all of them may be in one another, and each then changes the weight of all that follows.
        """
        if len(text) > CHARACTERS_PER_TOKEN * self.api_max_tokens:
            raise InvalidInput(
                f"{field} has {len(text)} characters, which are more than {self.api_max_tokens} tokens "
                "(the setting api_max_tokens changes it)",
                field=field,
            )
        self.check("api_max_prompt_parts", len(re_AND.findall(text)) + 1, "AND parts", field)
        self.check("api_max_tokens", text.count("(") + text.count("["), "brackets", field)

    def check_texts(self, texts: Iterable[str], field: str, count_tokens: Callable[[str], int]) -> None:
        """Checks texts that are going to be encoded, each for itself. count_tokens: asked where it may be close."""
        for text in dict.fromkeys(texts):
            self.check_length(text, field)
            self.check_tokens(text, field, count_tokens)

    def check_edits(self, text: str, steps: int, field: str) -> None:
        """Checks what the edits of a text may make in so many steps, all of which is encoded at once."""
        if "[" not in text:
            return
        texts = steps if "|" in text else min(steps, text.count(":") + 1)
        if texts * len(text) > 2 * CHARACTERS_PER_TOKEN * self.api_max_tokens:
            raise InvalidInput(
                f"{field}: the edits make up to {texts} texts of {len(text)} characters (the setting api_max_tokens "
                "changes how many may be)",
                field=field,
            )

    def check_tokens(self, text: str, field: str, count_tokens: Callable[[str], int]) -> None:
        """Checks the tokens of a text; no tokenizer makes more of them than the text has bytes."""
        if len(text.encode(errors="replace")) > self.api_max_tokens:
            self.check("api_max_tokens", count_tokens(text), "tokens", field)


def current() -> Bounds:
    """Returns what the settings allow now."""
    return Bounds.from_opts(shared.opts)
