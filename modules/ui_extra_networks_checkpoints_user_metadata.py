"""face: the editor of notes about a checkpoint, with the VAE it is to be used with."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import call_queue, sd_models, sd_vae, ui_extra_networks_user_metadata
from modules.ui_common import create_refresh_button


def vae_choices() -> list[str]:
    """Returns the choices of the preferred VAE."""
    return ["Automatic", "None", *sd_vae.vae_dict]


class CheckpointUserMetadataEditor(ui_extra_networks_user_metadata.UserMetadataEditor):
    """Notes go to the keys description, notes and vae of the JSON file beside the checkpoint."""

    select_vae: gr.Dropdown

    def create_editor(self) -> None:
        """Makes the fields of the editor, with a menu of VAEs."""
        self.create_default_editor_elems()
        with gr.Row():
            self.select_vae = gr.Dropdown(
                choices=vae_choices(),
                value="None",
                label="Preferred VAE",
                elem_id="checpoint_edit_user_metadata_preferred_vae",
                interactive=True,
            )
            create_refresh_button(
                self.select_vae,
                sd_vae.refresh_vae_list,
                lambda: {"choices": vae_choices()},
                "checpoint_edit_user_metadata_refresh_preferred_vae",
            )
        self.edit_notes = gr.TextArea(label="Notes", lines=4, interactive=True)
        self.create_default_buttons()
        self.setup_edit_handler([self.edit_notes, self.select_vae])
        self.setup_save_handler(
            self.button_save, self.save_user_metadata, [self.edit_description, self.edit_notes, self.select_vae]
        )

    def put_values_into_components(self, name: str) -> list[Any]:
        """Returns the values of the fields for a card, the preferred VAE last."""
        values = super().put_values_into_components(name)
        return [*values[:5], self.get_user_metadata(name).get("vae", "")]

    def save_user_metadata(self, name: str, desc: str, notes: str, vae: str) -> None:
        """Stores what the fields hold, and lets the checkpoint know its VAE."""
        metadata = self.get_user_metadata(name)
        metadata["description"] = desc
        metadata["notes"] = notes
        metadata["vae"] = vae
        self.write_user_metadata(name, metadata)
        self.update_vae(name)

    def update_vae(self, name: str) -> None:
        """Puts the VAE into use, after the job that runs, if the checkpoint is the loaded one."""
        model = sd_models.model_data.sd_model
        if model is not None and model.sd_checkpoint_info.filename == self.get_item(name)["filename"]:
            with call_queue.queue_lock:
                sd_vae.reload_vae_weights(model)
