"""face: the page of checkpoints: a click loads one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from modules import checkpoints, sd_models, shared, ui_extra_networks_html, ui_extra_networks_page
from modules.ui_extra_networks_checkpoints_user_metadata import CheckpointUserMetadataEditor


def card_name(checkpoint: sd_models.CheckpointInfo) -> str:
    """Returns the file's name, or its path below the folder when another file has that name."""
    is_known_by_it = sd_models.checkpoint_aliases.get(checkpoint.name_for_extra) is checkpoint
    return checkpoint.name_for_extra if is_known_by_it else checkpoint.name


class ExtraNetworksPageCheckpoints(ui_extra_networks_page.ExtraNetworksPage):
    """A card's click is `selectCheckpoint(title)`; nothing goes into a prompt."""

    def __init__(self) -> None:
        super().__init__("Checkpoints")
        self.allow_prompt = False

    def refresh(self) -> None:
        """Looks for checkpoints anew."""
        sd_models.list_models()

    def create_item(self, name: str, index: int | None = None, enable_filter: bool = True) -> dict[str, Any] | None:
        """Returns the item of a checkpoint; None if there is none of the name."""
        checkpoint = sd_models.checkpoint_aliases.get(name)
        if checkpoint is None:
            return None
        companion = checkpoints.companion_of(checkpoint.filename)
        path = os.path.splitext(companion)[0]
        search_terms = [self.search_terms_from_path(companion)]
        if checkpoint.sha256:
            search_terms.append(checkpoint.sha256)
        return {
            "name": card_name(checkpoint),
            "filename": checkpoint.filename,
            "shorthash": checkpoint.shorthash,
            "preview": self.find_preview(path),
            "description": self.find_description(path),
            "search_terms": search_terms,
            "onclick": f'"{ui_extra_networks_html.call("return selectCheckpoint", checkpoint.title)}"',
            "local_preview": f"{path}.{shared.opts.samples_format}",
            "metadata": checkpoint.metadata,
            "sort_keys": {"default": index, **self.get_sort_keys(checkpoint.filename)},
        }

    def list_items(self) -> Iterator[dict[str, Any]]:
        """Yields the items of all checkpoints."""
        for index, title in enumerate(list(sd_models.checkpoints_list)):
            item = self.create_item(title, index)
            if item is not None:
                yield item

    def companion_of(self, item: dict[str, Any]) -> str | None:
        """Returns the path that notes about a checkpoint are named after; see `checkpoints.companion_of`."""
        return checkpoints.companion_of(item["filename"])

    def allowed_directories_for_previews(self) -> list[str]:
        """Returns the folders of checkpoints."""
        return [path for path in (shared.cmd_opts.ckpt_dir, sd_models.model_path) if path]

    def create_user_metadata_editor(self, ui: Any, tabname: str) -> CheckpointUserMetadataEditor:
        """Returns the editor that also knows the preferred VAE."""
        return CheckpointUserMetadataEditor(ui, tabname, self)
