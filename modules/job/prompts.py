"""job: one prompt, one negative prompt and, for the hires pass, one more of each per image of a job, styles applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modules import bounds, shared
from modules.errors import InvalidInput

if TYPE_CHECKING:
    from modules.job.run_state import RunState, Txt2ImgState


def one_per_image(prompt: Any, negative_prompt: Any, count: int, field: str) -> tuple[list[str], list[str]]:
    """Returns one prompt and one negative prompt per image, from texts or lists; `count` images unless a list says
    otherwise.

    Raises InvalidInput, naming `field`, when both are lists of different lengths.
    """
    if isinstance(prompt, list):
        prompts = list(prompt)
    elif isinstance(negative_prompt, list):
        prompts = [prompt] * len(negative_prompt)
    else:
        prompts = [prompt] * count
    negative_prompts = list(negative_prompt) if isinstance(negative_prompt, list) else [negative_prompt] * len(prompts)
    if len(prompts) != len(negative_prompts):
        raise InvalidInput(
            f"Received a different number of prompts ({len(prompts)}) and negative prompts ({len(negative_prompts)})",
            field=field,
        )
    return prompts, negative_prompts


def with_styles(prompts: list[str], negative_prompts: list[str], styles: list[str]) -> tuple[list[str], list[str]]:
    """Returns both lists with the named styles applied to each text."""
    apply = shared.prompt_styles
    return (
        [apply.apply_styles_to_prompt(text, styles) for text in prompts],
        [apply.apply_negative_styles_to_prompt(text, styles) for text in negative_prompts],
    )


def check(p: RunState, texts: list[str], field: str) -> None:
    """Raises InvalidInput for a text of more tokens or AND parts than the settings allow."""
    limits = bounds.current()
    for text in dict.fromkeys(texts):
        limits.check_edits(text, p.steps, field)
    limits.check_texts(texts, field, lambda text: len(p.sd_model.cond_stage_model.tokenize([text])[0]))


def fill(p: RunState) -> None:
    """Fills `p.all_prompts`, `p.all_negative_prompts`, and the two that stand for the whole job in the infotext of a
    grid.
    """
    texts = one_per_image(p.prompt, p.negative_prompt, p.batch_size * p.n_iter, "prompt")
    p.all_prompts, p.all_negative_prompts = with_styles(*texts, p.styles)
    check(p, p.all_prompts, "prompt")
    check(p, p.all_negative_prompts, "negative_prompt")
    p.main_prompt = p.all_prompts[0]
    p.main_negative_prompt = p.all_negative_prompts[0]


def fill_hires(p: Txt2ImgState) -> None:
    """Fills `p.all_hr_prompts` and `p.all_hr_negative_prompts`; an empty text is the first pass's."""
    if p.hr_prompt == "":
        p.hr_prompt = p.prompt
    if p.hr_negative_prompt == "":
        p.hr_negative_prompt = p.negative_prompt
    texts = one_per_image(p.hr_prompt, p.hr_negative_prompt, len(p.all_prompts), "hr_prompt")
    p.all_hr_prompts, p.all_hr_negative_prompts = with_styles(*texts, p.styles)
    check(p, p.all_hr_prompts, "hr_prompt")
    check(p, p.all_hr_negative_prompts, "hr_negative_prompt")
