"""Prompts from file or textbox: one job for each line; a line may also be options like those of a command line."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from modules import bounds, checkpoints, errors, images, option_values, processing, scripts, sd_samplers
from modules.job.run_state import copy_of_job
from modules.processing import Processed, StableDiffusionProcessing
from modules.shared import state


def read_checkpoint(text: str) -> str:
    """Returns the name of the checkpoint that fits text best; raises ValueError if there is none."""
    info = checkpoints.find(text)
    if info is None:
        raise ValueError(f"Unknown checkpoint: {text}")
    return info.name


def read_sampler(text: str) -> str:
    """Returns the name of the sampler that text means, in any letter case, the schedule it may say at its end.

    Raises ValueError if there is none.
    """
    try:
        name, schedule = sd_samplers.read_name(text)
    except errors.InvalidInput as e:
        raise ValueError(e.message) from e
    return f"{name} {schedule}" if schedule else name


def read_folder(text: str) -> str:
    """Returns a folder for results. Raises InvalidInput where the command line keeps it from users."""
    images.check_output_folder(text, bounds.SCRIPT_ARGS)
    return text


def read_styles(text: str) -> list[str]:
    """Returns the style names that commas part."""
    return [style.strip() for style in text.split(",")]


def read_boolean(text: str) -> bool:
    """Returns what a word for yes or no says, as for settings. Raises ValueError for another."""
    return option_values.read_bool(text)


OPTIONS: dict[str, Callable[[str], Any]] = {
    "sd_model": read_checkpoint,
    "outpath_samples": read_folder,
    "outpath_grids": read_folder,
    "prompt_for_display": str,
    "prompt": str,
    "negative_prompt": str,
    "styles": read_styles,
    "seed": option_values.read_int,
    "subseed_strength": option_values.read_float,
    "subseed": option_values.read_int,
    "seed_resize_from_h": option_values.read_int,
    "seed_resize_from_w": option_values.read_int,
    "sampler_index": option_values.read_int,
    "sampler_name": read_sampler,
    "batch_size": option_values.read_int,
    "n_iter": option_values.read_int,
    "steps": option_values.read_int,
    "cfg_scale": option_values.read_float,
    "width": option_values.read_int,
    "height": option_values.read_int,
    "restore_faces": read_boolean,
    "tiling": read_boolean,
    "do_not_save_samples": read_boolean,
    "do_not_save_grid": read_boolean,
}
"""What a line can set with --<name>, and how its text is read."""

LISTS = ("images", "infotexts", "all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds")
"""What the result has of all lines, one after the other."""

LONG_OPTIONS = ("prompt", "negative_prompt")
"""Options whose texts are joined to those of the job."""

OPTION = re.compile(r"(?:^|(?<=\s))--(\S*[^\s-]\S*)(?=\s|$)")
"""A word that begins with two dashes and is more than dashes."""

QUOTED = re.compile(r"""\s*(?:"((?:[^"\\]|\\.|"(?!\s|$))*)"|'((?:[^']|'(?!\s|$))*)')(?=\s|$)""", re.DOTALL)
"""A text in quotes; a quote inside that is followed by more of a word does not end it."""


def parts_of(line: str) -> Iterator[tuple[str, str | None]]:
    """Yields the options of a line, without their dashes, and the text of each, None where there is none.

    A text may stand in quotes, which then hide options in it; in double quotes a backslash keeps a quote or a backslash
    from being read as one. Any other text is prose, in which quotes, apostrophes, brackets and backslashes are
    themselves; several blanks between its words become one. Raises ValueError for a line that begins with no option.
    """
    option = OPTION.match(line)
    if option is None:
        raise ValueError("a line of options begins with one")
    while option is not None:
        quoted = QUOTED.match(line, option.end())
        following = OPTION.search(line, quoted.end() if quoted else option.end())
        if quoted and not line[quoted.end() : following.start() if following else len(line)].strip():
            text = quoted[2] if quoted[1] is None else re.sub(r'\\(["\\])', r"\1", quoted[1])
        else:  # quotes that hold a part of a text hide no option
            following = OPTION.search(line, option.end())
            text = " ".join(line[option.end() : following.start() if following else len(line)].split()) or None
        yield option[1], text
        option = following


def cmdargs(line: str) -> dict[str, Any]:
    """Returns what a line of options sets. Raises ValueError for one that is no list of known options with values."""
    values: dict[str, Any] = {}
    for name, text in parts_of(line):
        if name not in OPTIONS:
            raise ValueError(f"--{name} is no option")
        if text is None:
            raise ValueError(f"--{name} has no value")
        values[name] = OPTIONS[name](text)
    return values


def read_line(line: str) -> dict[str, Any]:
    """Returns what a line sets; one that cannot be read as options is a prompt as it stands."""
    if "--" in line:
        try:
            return cmdargs(line)
        except ValueError:
            errors.report(f"Error parsing line {line} as commandline", exc_info=True)
    return {"prompt": line}


def load_prompt_file(file: bytes | None) -> tuple[None, Any]:
    """Empties the upload and shows the lines of the file in the text box."""
    if file is None:
        return None, gr.update()
    lines = [line.strip() for line in file.decode("utf8", errors="ignore").split("\n")]
    return None, gr.update(value="\n".join(lines), lines=7)


def fitting_height(text: str) -> Any:
    """Returns the update that makes the text box high for several lines."""
    return gr.update(lines=7 if "\n" in text else 2)


class Script(scripts.Script):
    def title(self) -> str:
        """Returns its name in the menu and in the API."""
        return "Prompts from file or textbox"

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes the controls: seeds of lines, where their prompts go, the lines, and an upload for them."""
        checkbox_iterate = gr.Checkbox(
            label="Iterate seed every line", value=False, elem_id=self.elem_id("checkbox_iterate")
        )
        checkbox_iterate_batch = gr.Checkbox(
            label="Use same random seed for all lines", value=False, elem_id=self.elem_id("checkbox_iterate_batch")
        )
        prompt_position = gr.Radio(
            ["start", "end"], label="Insert prompts at the", elem_id=self.elem_id("prompt_position"), value="start"
        )
        prompt_txt = gr.Textbox(label="List of prompt inputs", lines=1, elem_id=self.elem_id("prompt_txt"))
        file = gr.File(label="Upload prompt inputs", type="binary", elem_id=self.elem_id("file"))

        file.change(fn=load_prompt_file, inputs=[file], outputs=[file, prompt_txt], show_progress="hidden")
        # The box grows when it gets a second line; shrinking it while one types would lose the keyboard focus.
        prompt_txt.change(fn=fitting_height, inputs=[prompt_txt], outputs=[prompt_txt], show_progress="hidden")
        return [checkbox_iterate, checkbox_iterate_batch, prompt_position, prompt_txt]

    def run(
        self,
        p: StableDiffusionProcessing,
        checkbox_iterate: bool,
        checkbox_iterate_batch: bool,
        prompt_position: str,
        prompt_txt: str,
    ) -> Processed:
        """Runs a job for each line, unless stopped, and returns the images of all."""
        lines = [line.strip() for line in prompt_txt.splitlines()]
        unless_stopped = itertools.takewhile(lambda _: not state.interrupted, checked(lines, p))
        jobs = [read_line(line) for line in unless_stopped]
        p.do_not_save_grid = True
        if (checkbox_iterate or checkbox_iterate_batch) and p.seed == -1:
            p.seed = random.randrange(4294967294)
        state.job_count = sum(job.get("n_iter", p.n_iter) for job in jobs)

        lists: dict[str, list[Any]] = {name: [] for name in LISTS}
        for number, job in enumerate(jobs, 1):
            if state.interrupted or state.stopping_generation:
                break
            state.job = f"{number} out of {len(jobs)}"
            processed = processing.process_images(job_of_line(p, job, prompt_position))
            for name in LISTS:
                lists[name] += getattr(processed, name)
            if checkbox_iterate:
                p.seed += p.batch_size * p.n_iter
        return Processed(p, lists.pop("images"), p.seed, "", **lists)


def checked(lines: list[str], p: StableDiffusionProcessing) -> list[str]:
    """Returns the lines that are not empty. Raises InvalidInput for more of them than a request may ask for; the page
    takes any number, as its users can stop the job.
    """
    lines = [line for line in lines if line]
    if getattr(p, "is_api", False):
        bounds.current().check_images(len(lines) * p.n_iter * p.batch_size, bounds.SCRIPT_ARGS)
    return lines


def job_of_line(
    p: StableDiffusionProcessing, values: dict[str, Any], prompt_position: str
) -> StableDiffusionProcessing:
    """Returns a copy of the job with what a line sets; its prompts are joined to those of the job."""
    job = copy_of_job(p)
    for name, value in values.items():
        if name == "sd_model":
            job.override_settings["sd_model_checkpoint"] = value
        else:
            setattr(job, name, value)
    for name in LONG_OPTIONS:
        texts = [values.get(name), getattr(p, name)]
        if all(texts):
            setattr(job, name, " ".join(texts if prompt_position == "start" else texts[::-1]))
    return job
