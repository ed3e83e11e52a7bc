"""face: the handlers of the tabs PNG Info and Checkpoint Merger: what an image says, and a merge with its message."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr
from PIL import Image

from modules import errors, images, merge, sd_models, shared
from modules.job import checkpoint_merge
from modules.ui_common import plaintext_to_html


def run_pnginfo(image: Image.Image | None) -> tuple[str, str | None, str]:
    """Returns "", the infotext of an image, and all that its file says as HTML."""
    if image is None:
        return "", "", ""
    geninfo, items = images.read_info_from_image(image)
    said = {"parameters": geninfo, **items} if geninfo is not None else items
    if not said:
        return "", geninfo, "<div><p>Nothing found in the image.</p></div>"
    entries = (
        f'<div class="infotext"><p><b>{html.escape(str(key))}</b></p>{plaintext_to_html(str(text))}</div>'
        for key, text in said.items()
    )
    return "", geninfo, "\n".join(entries)


def run_modelmerger(
    id_task: str,
    primary_model_name: str,
    secondary_model_name: str,
    tertiary_model_name: str,
    interp_method: str,
    multiplier: float,
    save_as_half: bool,
    custom_name: str,
    checkpoint_format: str,
    config_source: int,
    bake_in_vae: str,
    discard_weights: str,
    save_metadata: bool,
    add_merge_recipe: bool,
    copy_metadata_fields: bool,
    metadata_json: str,
) -> list[Any]:
    """Merges checkpoints into a new file, and returns updates of the tab's four model lists and a message.

    A request that cannot be carried out changes nothing; the message says why.
    """
    try:
        method = merge.METHODS.get(interp_method)
        if method is None:
            raise errors.InvalidInput(f"unknown interpolation method {interp_method!r}", field="interp_method")
        request = checkpoint_merge.MergeRequest(
            checkpoint_merge.find_models(method, primary_model_name, secondary_model_name, tertiary_model_name),
            method,
            float(multiplier),
            save_as_half,
            custom_name,
            checkpoint_format,
            config_source,
            bake_in_vae,
            discard_weights,
            save_metadata,
            add_merge_recipe,
            copy_metadata_fields,
            metadata_json,
        )
        path = checkpoint_merge.merge_checkpoints(request)
    except errors.WebuiError as e:
        message = f"Failed: {e}"
        shared.state.textinfo = message
        return [*[gr.update()] * 4, message]

    choices = [(title, title) for title in sd_models.checkpoint_tiles()]
    return [*[gr.update(choices=choices) for _ in range(4)], f"Checkpoint saved to {path}"]


from modules.job.checkpoint_merge import create_config, read_metadata  # noqa: E402, F401  # A1111 names
from modules.merge import SKIPPED_KEYS as checkpoint_dict_skip_on_merge  # noqa: E402, F401  # A1111 names
from modules.merge import to_half  # noqa: E402, F401
