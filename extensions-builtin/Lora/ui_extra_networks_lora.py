"""The page of Lora networks: a click puts the tag of one into the prompt, with what its user noted to go with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import network
import network_files
import networks
from ui_edit_user_metadata import LoraUserMetadataEditor, noted_text, noted_weight

from modules import errors, infotext, model_families, sd_models, shared, ui_extra_networks, weights
from modules.adapter_files import folders
from modules.ui_extra_networks import quote_js


@dataclass(frozen=True)
class Filter:
    """Which networks are shown. model: version of the loaded checkpoint, None to show all. unknown: whether those
    of unknown version are.
    """

    model: network.SdVersion | None
    unknown: bool

    @classmethod
    def from_opts(cls, opts: Any) -> Filter:
        """Returns what the settings say of the checkpoint in use."""
        model = None if opts.lora_show_all else version_of_model()
        return cls(model=model, unknown=model is None or model.name not in opts.lora_hide_unknown_for_versions)

    def shows(self, version: network.SdVersion) -> bool:
        """Tells whether networks of a version are shown."""
        if version is network.SdVersion.Unknown:
            return self.unknown
        return self.model in (None, version)


def version_of_model() -> network.SdVersion | None:
    """Returns the version of the loaded checkpoint, None for one that the versions of networks do not tell apart.

    While none is loaded, that of the one that will be, if its header says it: the list waits for no loading.
    """
    model = sd_models.model_data.sd_model
    try:
        family = model.family if model else chosen_family()
    except (OSError, errors.ModelLoadError):
        family = None
    name = network_files.VERSIONS.get(family.architecture) if family else None
    return network.SdVersion[name] if name else None


def chosen_family() -> model_families.Family | None:
    """Returns the family of the chosen checkpoint, None if its file has no header that tells."""
    filename = sd_models.select_checkpoint().filename
    return model_families.detect(weights.read_shapes(filename)) if weights.is_safetensors(filename) else None


def name_in_tags(found: network.NetworkOnDisk) -> str:
    """Returns the name by which a tag finds a network: the one that the user prefers, if it finds no other network."""
    names = [infotext.tag_name(name) for name in (found.get_alias(), found.name)]
    return next((name for name in names if networks.find(name) is found), names[0])


class ExtraNetworksPageLora(ui_extra_networks.ExtraNetworksPage):
    """A card's text is <lora:alias:weight> and the activation text; the negative text goes to the negative prompt."""

    def __init__(self) -> None:
        super().__init__("Lora")

    def refresh(self) -> None:
        """Looks for networks anew."""
        networks.list_available_networks()

    def create_item(self, name: str, index: int | None = None, enable_filter: bool = True) -> dict[str, Any] | None:
        """Returns the item of a network; None if there is none of the name, or if it is not for the loaded model."""
        shown = Filter.from_opts(shared.opts) if enable_filter else None
        return self._item(name, index, shown)

    def _item(self, name: str, index: int | None, shown: Filter | None) -> dict[str, Any] | None:
        found = networks.available_networks.get(name)
        if found is None:
            return None
        item = {"name": name, "filename": found.filename, "shorthash": found.shorthash}
        self.read_user_metadata(item)
        version = self._version(found, item["user_metadata"])
        if shown is not None and not shown.shows(version):
            return None

        path = os.path.splitext(found.filename)[0]
        metadata = network_files.Metadata(found.filename, found.facts)
        preview = self.find_preview(path)
        if preview is None and found.facts.has_cover:
            preview = self.find_embedded_preview(path, name, metadata)
        search_terms = [self.search_terms_from_path(found.filename)]
        if found.hash:
            search_terms.append(found.hash)
        return {
            "description": self.find_description(path),
            **item,
            "preview": preview,
            "search_terms": search_terms,
            "local_preview": f"{path}.{shared.opts.samples_format}",
            "metadata": metadata,
            "sort_keys": {"default": index, **self.get_sort_keys(found.filename)},
            "sd_version": version.name,
            **self._prompts(found, item["user_metadata"]),
        }

    @staticmethod
    def _version(found: network.NetworkOnDisk, metadata: Mapping[str, Any]) -> network.SdVersion:
        """Returns the version the user noted, else the one the file names."""
        return network.SdVersion.__members__.get(noted_text(metadata, "sd version"), found.sd_version)

    @staticmethod
    def _prompts(found: network.NetworkOnDisk, metadata: Mapping[str, Any]) -> dict[str, str]:
        """Returns the texts of a card as JavaScript expressions."""
        weight = str(noted_weight(metadata) or "opts.extra_networks_default_multiplier")
        activation_text = noted_text(metadata, "activation text")
        ending = f"> {activation_text}" if activation_text else ">"
        negative_text = noted_text(metadata, "negative text")
        return {
            "prompt": f"{quote_js(f'<lora:{name_in_tags(found)}:')} + {weight} + {quote_js(ending)}",
            "negative_prompt": quote_js(f"({negative_text}:1)") if negative_text else "",
        }

    def list_items(self) -> Iterator[dict[str, Any]]:
        """Yields the items of all networks for the loaded model."""
        shown = Filter.from_opts(shared.opts)
        for index, name in enumerate(list(networks.available_networks)):
            item = self._item(name, index, shown)
            if item is not None:
                yield item

    def allowed_directories_for_previews(self) -> list[str]:
        """Returns the folders of networks."""
        return folders.folders()

    def create_user_metadata_editor(self, ui: Any, tabname: str) -> LoraUserMetadataEditor:
        """Returns the editor that also knows what goes with the tag."""
        return LoraUserMetadataEditor(ui, tabname, self)
