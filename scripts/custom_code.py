"""Custom code: runs Python typed into the page, or sent to the API, on the job. Needs --allow-code."""

from __future__ import annotations

import textwrap
from typing import Any

import gradio as gr
from PIL import Image

from modules import scripts
from modules.processing import Processed, StableDiffusionProcessing
from modules.shared import cmd_opts

EXAMPLE = """from modules.processing import process_images

p.width = 768
p.height = 768
p.batch_size = 2
p.steps = 10

return process_images(p)
"""


class Script(scripts.Script):
    def title(self) -> str:
        """Returns its name in the menu and in the API."""
        return "Custom code"

    def show(self, is_img2img: bool) -> bool:
        """Returns whether --allow-code was given."""
        return cmd_opts.allow_code

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes the editor, and the number of blanks before each line."""
        code = gr.Code(value=EXAMPLE, language="python", label="Python code", elem_id=self.elem_id("code"))
        indent_level = gr.Number(label="Indent level", value=2, precision=0, elem_id=self.elem_id("indent_level"))
        return [code, indent_level]

    def run(self, p: StableDiffusionProcessing, code: str, indent_level: int) -> Processed:
        """Executes the code as the body of a function, with p, display() and the names of this file.

        The result is the Processed it returns, or what it last gave to display().
        """
        assert cmd_opts.allow_code, "--allow-code must be given to run code"
        displayed: dict[str, Any] = {"images_list": [], "seed": -1, "info": ""}

        def display(imgs: list[Image.Image], seed: int = -1, info: str = "") -> None:
            """Keeps what the job shall return."""
            displayed.update(images_list=imgs, seed=seed, info=info)

        body = textwrap.indent(code, " " * max(int(indent_level), 1))
        names = {**globals(), "p": p, "display": display}
        exec(f"def custom_code():\n{body}\n", names)
        result = names["custom_code"]()
        return result if isinstance(result, Processed) else Processed(p, **displayed)
