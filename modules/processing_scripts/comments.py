"""face: leaves comments, from # to the end of the line, out of prompts."""

from __future__ import annotations

import re
from typing import Any

from modules import script_callbacks, scripts, shared
from modules.processing import StableDiffusionProcessing

WHOLE_LINE = re.compile(r"(^|\n)#[^\n]*(\n|$)")
REST_OF_LINE = re.compile(r"#[^\n]*(\n|$)")

PROMPT_LISTS = ("all_prompts", "all_negative_prompts", "all_hr_prompts", "all_hr_negative_prompts")
MAIN_PROMPTS = ("main_prompt", "main_negative_prompt")


def strip_comments(text: str) -> str:
    """Replaces each comment by one newline: first lines that are nothing else, with the newlines around them, then the
    others with the newline at their end. Of two such lines in a row, which share a newline, the second waits for the
    second pass.
    """
    return REST_OF_LINE.sub("\n", WHOLE_LINE.sub("\n", text))


class ScriptStripComments(scripts.Script):
    def title(self) -> str:
        """Returns the script's name."""
        return "Comments"

    def show(self, is_img2img: bool) -> Any:
        """Returns that it is on both tabs, always."""
        return scripts.AlwaysVisible

    def process(self, p: StableDiffusionProcessing, *args: Any) -> None:
        """Leaves comments out of all prompts of the job."""
        if not shared.opts.enable_prompt_comments:
            return
        for name in PROMPT_LISTS:
            if getattr(p, name, None) is not None:
                setattr(p, name, [strip_comments(text) for text in getattr(p, name)])
        for name in MAIN_PROMPTS:
            setattr(p, name, strip_comments(getattr(p, name)))


def before_token_counter(params: script_callbacks.BeforeTokenCounterParams) -> None:
    """Leaves comments out of what tokens are counted of."""
    if shared.opts.enable_prompt_comments:
        params.prompt = strip_comments(params.prompt)


script_callbacks.on_before_token_counter(before_token_counter)
