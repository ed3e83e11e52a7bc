"""face: the page of hypernetworks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from modules import shared, ui_extra_networks_page
from modules.hashes import sha256_from_cache
from modules.ui_extra_networks_page import quote_js


class ExtraNetworksPageHypernetworks(ui_extra_networks_page.ExtraNetworksPage):
    """A card's text is <hypernet:name:multiplier>, with the multiplier of the settings at the time of the click."""

    def __init__(self) -> None:
        super().__init__("Hypernetworks")

    def refresh(self) -> None:
        """Looks for hypernetworks anew."""
        shared.reload_hypernetworks()

    def create_item(self, name: str, index: int | None = None, enable_filter: bool = True) -> dict[str, Any] | None:
        """Returns the item of a hypernetwork; None if there is none of the name."""
        full_path = shared.hypernetworks.get(name)
        if full_path is None:
            return None
        path = os.path.splitext(full_path)[0]
        sha256 = sha256_from_cache(full_path, f"hypernet/{name}")
        search_terms = [self.search_terms_from_path(path)]
        if sha256:
            search_terms.append(sha256)
        return {
            "name": name,
            "filename": full_path,
            "shorthash": sha256[:10] if sha256 else None,
            "preview": self.find_preview(path),
            "description": self.find_description(path),
            "search_terms": search_terms,
            "prompt": f"{quote_js(f'<hypernet:{name}:')} + opts.extra_networks_default_multiplier + {quote_js('>')}",
            "local_preview": f"{path}.preview.{shared.opts.samples_format}",
            "sort_keys": {"default": index, **self.get_sort_keys(full_path)},
        }

    def list_items(self) -> Iterator[dict[str, Any]]:
        """Yields the items of all hypernetworks."""
        for index, name in enumerate(list(shared.hypernetworks)):
            item = self.create_item(name, index)
            if item is not None:
                yield item

    def allowed_directories_for_previews(self) -> list[str]:
        """Returns the folder of hypernetworks."""
        return [shared.cmd_opts.hypernetwork_dir]
