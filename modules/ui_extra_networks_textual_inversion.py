"""face: the page of embeddings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from modules import sd_hijack, shared, ui_extra_networks_page
from modules.ui_extra_networks_page import quote_js


class ExtraNetworksPageTextualInversion(ui_extra_networks_page.ExtraNetworksPage):
    """The embeddings that fit the loaded model; a card's text is the word itself, and may go to either prompt."""

    def __init__(self) -> None:
        super().__init__("Textual Inversion")
        self.allow_negative_prompt = True

    def refresh(self) -> None:
        """Looks for embeddings anew."""
        sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)

    def create_item(self, name: str, index: int | None = None, enable_filter: bool = True) -> dict[str, Any] | None:
        """Returns the item of an embedding; None if there is none of the name with a file of its own."""
        embedding = sd_hijack.model_hijack.embedding_db.word_embeddings.get(name)
        if embedding is None or embedding.filename is None:
            return None
        path = os.path.splitext(embedding.filename)[0]
        search_terms = [self.search_terms_from_path(embedding.filename)]
        if embedding.hash:
            search_terms.append(embedding.hash)
        return {
            "name": name,
            "filename": embedding.filename,
            "shorthash": embedding.shorthash,
            "preview": self.find_preview(path),
            "description": self.find_description(path),
            "search_terms": search_terms,
            "prompt": quote_js(embedding.name),
            "local_preview": f"{path}.preview.{shared.opts.samples_format}",
            "sort_keys": {"default": index, **self.get_sort_keys(embedding.filename)},
        }

    def list_items(self) -> Iterator[dict[str, Any]]:
        """Yields the items of all embeddings."""
        for index, name in enumerate(list(sd_hijack.model_hijack.embedding_db.word_embeddings)):
            item = self.create_item(name, index)
            if item is not None:
                yield item

    def allowed_directories_for_previews(self) -> list[str]:
        """Returns the folders of embeddings."""
        return list(sd_hijack.model_hijack.embedding_db.embedding_dirs)
