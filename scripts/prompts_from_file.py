"""Prompts from file or textbox: one job for each line; a line may also be options like those of a command line."""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable
from copy import copy
from typing import Any

import gradio as gr

from modules import bounds, checkpoints, errors, option_values, processing, scripts, sd_samplers, shared
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
    """Returns a folder for results. Raises InvalidInput where the command line keeps folders from users."""
    if shared.cmd_opts.hide_ui_dir_config:
        raise errors.InvalidInput(f"{text}: folders cannot be chosen here (--hide-ui-dir-config)", field="script_args")
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

LONG_OPTIONS = ("prompt", "negative_prompt")
"""Options that take all words up to the next one."""


def cmdargs(line: str) -> dict[str, Any]:
    """Returns what a line of options sets. Raises ValueError for one that is no list of known options with values."""
    words = shlex.split(line)
    values: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        name = word.removeprefix("--")
        if not word.startswith("--") or name not in OPTIONS:
            raise ValueError(f"{word} is no option")
        if not words:
            raise ValueError(f"{word} has no value")
        text = words.pop(0)
        while name in LONG_OPTIONS and words and not words[0].startswith("--"):
            text += f" {words.pop(0)}"
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
        jobs = [read_line(line) for line in checked(lines, p)]
        p.do_not_save_grid = True
        if (checkbox_iterate or checkbox_iterate_batch) and p.seed == -1:
            p.seed = random.randrange(4294967294)
        state.job_count = sum(job.get("n_iter", p.n_iter) for job in jobs)

        images, all_prompts, infotexts = [], [], []
        for number, job in enumerate(jobs, 1):
            if state.interrupted or state.stopping_generation:
                break
            state.job = f"{number} out of {len(jobs)}"
            processed = processing.process_images(job_of_line(p, job, prompt_position))
            images += processed.images
            all_prompts += processed.all_prompts
            infotexts += processed.infotexts
            if checkbox_iterate:
                p.seed += p.batch_size * p.n_iter
        return Processed(p, images, p.seed, "", all_prompts=all_prompts, infotexts=infotexts)


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
    job = copy(p)
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
