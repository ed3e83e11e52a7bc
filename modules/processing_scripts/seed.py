"""face: the form's controls for seed and variation seed."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from modules import errors, infotext_utils, scripts
from modules.infotext_utils import PasteField
from modules.processing import StableDiffusionProcessing
from modules.shared import cmd_opts
from modules.ui_components import ToolButton

random_symbol = "\U0001f3b2\ufe0f"  # 🎲️
reuse_symbol = "\u267b\ufe0f"  # ♻️


class ScriptSeed(scripts.ScriptBuiltinUI):
    section = "seed"
    create_group = False

    def __init__(self) -> None:
        self.seed: gr.Number | gr.Textbox | None = None
        self.reuse_seed: gr.Button | None = None
        self.reuse_subseed: gr.Button | None = None

    def title(self) -> str:
        """Returns the script's name."""
        return "Seed"

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes seed and variation seed."""
        with gr.Row(elem_id=self.elem_id("seed_row")):
            if cmd_opts.use_textbox_seed:
                self.seed = gr.Textbox(label="Seed", value="", elem_id=self.elem_id("seed"), min_width=100)
            else:
                self.seed = gr.Number(label="Seed", value=-1, elem_id=self.elem_id("seed"), min_width=100, precision=0)
            random_seed = ToolButton(
                random_symbol, elem_id=self.elem_id("random_seed"), tooltip="Use a new seed each time: -1"
            )
            self.reuse_seed = ToolButton(
                reuse_symbol, elem_id=self.elem_id("reuse_seed"), tooltip="Use the seed of the selected picture"
            )
            show_extras = gr.Checkbox(label="Extra", elem_id=self.elem_id("subseed_show"), value=False)

        with gr.Group(visible=False, elem_id=self.elem_id("seed_extras")) as extras:
            subseed, random_subseed, subseed_strength = self._variation_row()
            resize_from_w, resize_from_h = self._resize_row()

        self._connect_random(random_seed, "seed")
        self._connect_random(random_subseed, "subseed")
        show_extras.change(
            fn=lambda shown: gr.update(visible=shown), inputs=[show_extras], outputs=[extras], show_progress="hidden"
        )
        generation_info = f"generation_info_{self.tabname}"
        self.on_after_component(
            lambda made: connect_reuse_seed(self.seed, self.reuse_seed, made.component, False), elem_id=generation_info
        )
        self.on_after_component(
            lambda made: connect_reuse_seed(subseed, self.reuse_subseed, made.component, True), elem_id=generation_info
        )
        self.infotext_fields = [
            PasteField(self.seed, "Seed", api="seed"),
            PasteField(show_extras, lambda found: "Variation seed" in found or "Seed resize from-1" in found),
            PasteField(subseed, "Variation seed", api="subseed"),
            PasteField(subseed_strength, "Variation seed strength", api="subseed_strength"),
            # Width and height are crossed here in the API that clients know.
            PasteField(resize_from_w, "Seed resize from-1", api="seed_resize_from_h"),
            PasteField(resize_from_h, "Seed resize from-2", api="seed_resize_from_w"),
        ]
        return [self.seed, show_extras, subseed, subseed_strength, resize_from_w, resize_from_h]

    def _variation_row(self) -> tuple[gr.Number, gr.Button, gr.Slider]:
        with gr.Row(elem_id=self.elem_id("subseed_row")):
            subseed = gr.Number(
                label="Variation seed", value=-1, elem_id=self.elem_id("subseed"), min_width=100, precision=0
            )
            random_subseed = ToolButton(
                random_symbol,
                elem_id=self.elem_id("random_subseed"),
                tooltip="Use a new variation seed each time: -1",
            )
            self.reuse_subseed = ToolButton(
                reuse_symbol,
                elem_id=self.elem_id("reuse_subseed"),
                tooltip="Use the variation seed of the selected picture",
            )
            strength = gr.Slider(
                label="Variation strength",
                value=0.0,
                minimum=0,
                maximum=1,
                step=0.01,
                elem_id=self.elem_id("subseed_strength"),
            )
        return subseed, random_subseed, strength

    def _resize_row(self) -> tuple[gr.Slider, gr.Slider]:
        with gr.Row(elem_id=self.elem_id("seed_resize_from_row")):
            width, height = (
                gr.Slider(
                    minimum=0,
                    maximum=2048,
                    step=8,
                    label=f"Resize seed from {side}",
                    value=0,
                    elem_id=self.elem_id(f"seed_resize_from_{side[0]}"),
                )
                for side in ("width", "height")
            )
        return width, height

    def _connect_random(self, button: gr.Button, item_id: str) -> None:
        button.click(
            fn=None,
            js=f"() => setRandomSeed('{self.elem_id(item_id)}')",
            inputs=[],
            outputs=[],
            show_progress="hidden",
        )

    def setup(
        self,
        p: StableDiffusionProcessing,
        seed: int | str,
        seed_checkbox: bool,
        subseed: int,
        subseed_strength: float,
        seed_resize_from_w: int,
        seed_resize_from_h: int,
    ) -> None:
        """Puts the values of the controls on p, those of a variation only if it is switched on."""
        p.seed = seed
        if seed_checkbox and subseed_strength > 0:
            p.subseed = subseed
            p.subseed_strength = subseed_strength
        if seed_resize_from_w > 0 and seed_resize_from_h > 0:
            p.seed_resize_from_w = seed_resize_from_w
            p.seed_resize_from_h = seed_resize_from_h


def connect_reuse_seed(seed: gr.Number, reuse_seed: gr.Button, generation_info: gr.Textbox, is_subseed: bool) -> None:
    """Has a button put the seed, or the variation seed, of the selected image into a field."""
    reuse_seed.click(
        fn=lambda info, index: seed_of_image(info, index, is_subseed),
        js="(info, seed) => [info, selected_gallery_index()]",
        inputs=[generation_info, seed],
        outputs=[seed],
        show_progress="hidden",
    )


def seed_of_image(generation_info: str, index: int | float, is_subseed: bool) -> Any:
    """Returns the seed of the image at a place of the gallery, of the last one if none is selected (-1).

    generation_info: the JSON of a result. Returns -1 when its infotext names no such seed, and leaves the field as it
    is while there is no result.
    """
    if not generation_info:
        return gr.skip()
    try:
        infotexts = json.loads(generation_info)["infotexts"]
        # Masks among the images have no infotext.
        infotext = infotexts[min(int(index), len(infotexts) - 1)]
    except (ValueError, KeyError, IndexError, TypeError):
        errors.report(f"Could not read the seed of picture {index} from {generation_info!r}")
        return gr.skip()
    parameters = infotext_utils.parse_generation_parameters(infotext, [])
    return int(parameters.get("Variation seed" if is_subseed else "Seed", -1))
