"""face: the Checkpoint Merger tab."""

from __future__ import annotations

import html
from functools import partial
from typing import Any

import gradio as gr

from modules import call_queue, errors, extras, sd_models, sd_vae, ui_jobs
from modules.ui_common import QUIET, create_refresh_button
from modules.ui_components import FormRow

DESCRIPTIONS = {
    "No interpolation": "Model A as it is, to change its format or precision, or to put a VAE into it. Needs A.",
    "Weighted sum": "A mixture of two models: A * (1 - M) + B * M. Needs A and B.",
    "Add difference": "What B has learned since C, added to A: A + (B - C) * M. Needs A, B and C.",
}


def update_interp_description(value: str) -> str:
    """Returns what a method does, as HTML."""
    return f"<p>{html.escape(DESCRIPTIONS.get(value, ''))}</p>"


def as_html(message: str) -> str:
    """Returns what the tab shows of what became of a merge."""
    text = html.escape(message)
    return f"<div class='error'>{text}</div>" if message.startswith("Failed") else f"<p>{text}</p>"


def modelmerger(*args: Any) -> list[Any]:
    """Merges checkpoints; args as `extras.run_modelmerger`. The message comes as HTML."""
    *updates, message = extras.run_modelmerger(*args)
    return [*updates, as_html(message)]


def merge(*values: Any) -> list[Any]:
    """Runs the job of the tab's values. Raises InvalidInput where it cannot be done."""
    *updates, message = extras.run_modelmerger(*values)
    if message.startswith("Failed"):
        raise errors.InvalidInput(message)
    return [*updates, as_html(message)]


merge.__name__ = modelmerger.__name__  # what programs call it by


def described(model_a: str, model_b: str, model_c: str, method: str, *values: Any) -> str:
    """Returns what is merged."""
    return f"{method}: {' + '.join(filter(None, (model_a, model_b, model_c)))}"


ui_jobs.FORMS["merge"] = ui_jobs.Form(partial(merge, ""), ui_jobs.no_images, described)


def vae_choices() -> list[str]:
    """Returns the choices of the VAE to bake in."""
    return ["None", *sd_vae.vae_dict]


class UiCheckpointMerger:
    """The tab; its controls are attributes. `blocks` is to be rendered into the page, then `setup` called."""

    def __init__(self) -> None:
        with gr.Blocks(analytics_enabled=False) as self.blocks, gr.Row(equal_height=False):
            with gr.Column(variant="compact", elem_classes="settings-panel"):
                self.create_models()
                self.create_method()
                self.create_file()
                self.create_metadata()
                with FormRow():
                    self.modelmerger_merge = gr.Button("Merge", variant="primary", elem_id="modelmerger_merge")
            with (
                gr.Column(variant="compact", elem_id="modelmerger_results_container"),
                gr.Column(elem_id="modelmerger_results_panel"),
            ):
                self.modelmerger_result = gr.HTML(elem_id="modelmerger_result", show_label=False)
        self.interface = self.blocks

    def create_models(self) -> None:
        """Makes the menus of the three models, and the formula above them."""
        self.interp_description = gr.HTML(
            update_interp_description("Weighted sum"), elem_id="modelmerger_interp_description"
        )
        with FormRow(elem_id="modelmerger_models"):
            self.primary_model_name = self.create_model("primary", "Primary model (A)", "A")
            self.secondary_model_name = self.create_model("secondary", "Secondary model (B)", "B")
            self.tertiary_model_name = self.create_model("tertiary", "Tertiary model (C)", "C")
        self.custom_name = gr.Textbox(label="Custom Name (Optional)", elem_id="modelmerger_custom_name")

    def create_model(self, role: str, label: str, letter: str) -> gr.Dropdown:
        """Makes the menu of one model, with the button that looks for files anew."""
        dropdown = gr.Dropdown(
            sd_models.checkpoint_tiles(),
            value=None,
            label=label,
            elem_id=f"modelmerger_{role}_model_name",
            interactive=True,
        )
        create_refresh_button(
            dropdown,
            sd_models.list_models,
            lambda: {"choices": sd_models.checkpoint_tiles()},
            f"refresh_checkpoint_{letter}",
        )
        return dropdown

    def create_method(self) -> None:
        """Makes the multiplier and the choice of the formula."""
        self.interp_amount = gr.Slider(
            minimum=0.0,
            maximum=1.0,
            step=0.05,
            label="Multiplier (M) - set to 0 to get model A",
            value=0.3,
            elem_id="modelmerger_interp_amount",
        )
        self.interp_method = gr.Radio(
            choices=list(DESCRIPTIONS),
            value="Weighted sum",
            label="Interpolation Method",
            elem_id="modelmerger_interp_method",
        )
        self.interp_method.change(
            fn=update_interp_description, inputs=[self.interp_method], outputs=[self.interp_description], **QUIET
        )

    def create_file(self) -> None:
        """Makes what says how the result is stored."""
        with FormRow():
            self.checkpoint_format = gr.Radio(
                choices=["ckpt", "safetensors"],
                value="safetensors",
                label="Checkpoint format",
                elem_id="modelmerger_checkpoint_format",
            )
            self.save_as_half = gr.Checkbox(value=False, label="Save as float16", elem_id="modelmerger_save_as_half")
        with FormRow():
            with gr.Column():
                self.config_source = gr.Radio(
                    choices=["A, B or C", "B", "C", "Don't"],
                    value="A, B or C",
                    label="Copy config from",
                    type="index",
                    elem_id="modelmerger_config_method",
                )
            with gr.Column(), FormRow():
                self.bake_in_vae = gr.Dropdown(
                    choices=vae_choices(), value="None", label="Bake in VAE", elem_id="modelmerger_bake_in_vae"
                )
                create_refresh_button(
                    self.bake_in_vae,
                    sd_vae.refresh_vae_list,
                    lambda: {"choices": vae_choices()},
                    "modelmerger_refresh_bake_in_vae",
                )
        with FormRow():
            self.discard_weights = gr.Textbox(
                value="",
                label="Discard weights with matching name",
                placeholder="A regular expression",
                elem_id="modelmerger_discard_weights",
            )

    def create_metadata(self) -> None:
        """Makes what says which metadata the result carries."""
        with gr.Accordion("Metadata", open=False) as self.metadata_editor:
            with FormRow():
                self.save_metadata = gr.Checkbox(value=True, label="Save metadata", elem_id="modelmerger_save_metadata")
                self.add_merge_recipe = gr.Checkbox(
                    value=True, label="Add merge recipe metadata", elem_id="modelmerger_add_recipe"
                )
                self.copy_metadata_fields = gr.Checkbox(
                    value=True, label="Copy metadata from merged models", elem_id="modelmerger_copy_metadata"
                )
            self.metadata_json = gr.TextArea("{}", label="Metadata in JSON format")
            self.read_metadata = gr.Button("Read metadata from selected checkpoints")
        self.checkpoint_format.change(
            fn=lambda file_format: gr.update(visible=file_format == "safetensors"),
            inputs=[self.checkpoint_format],
            outputs=[self.metadata_editor],
            **QUIET,
        )
        self.read_metadata.click(
            fn=extras.read_metadata,
            inputs=[self.primary_model_name, self.secondary_model_name, self.tertiary_model_name],
            outputs=[self.metadata_json],
            **QUIET,
        )

    def setup(self, page: Any, demo: gr.Blocks) -> None:
        """Connects the tab once the settings are there."""
        self.setup_ui(page.dummy, page.settings.component_dict["sd_model_checkpoint"])

    def setup_ui(self, dummy_component: Any, sd_model_checkpoint_component: Any) -> None:
        """Has Merge merge, and the new file appear in all lists. The page puts the task's id into `dummy_component`."""
        models = [self.primary_model_name, self.secondary_model_name, self.tertiary_model_name]
        self.modelmerger_merge.click(fn=lambda: "", inputs=[], outputs=[self.modelmerger_result], **QUIET)
        self.modelmerger_merge.click(
            fn=call_queue.wrap_gradio_gpu_call(
                merge, [gr.update() for _ in range(4)], partial(ui_jobs.submit_form, "merge")
            ),
            js="modelmerger",
            inputs=[
                dummy_component,
                *models,
                self.interp_method,
                self.interp_amount,
                self.save_as_half,
                self.custom_name,
                self.checkpoint_format,
                self.config_source,
                self.bake_in_vae,
                self.discard_weights,
                self.save_metadata,
                self.add_merge_recipe,
                self.copy_metadata_fields,
                self.metadata_json,
            ],
            outputs=[*models, sd_model_checkpoint_component, self.modelmerger_result],
            **QUIET,
        )
