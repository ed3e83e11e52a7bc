"""The editor of notes about a Lora network: what goes into the prompt with its tag, and what it was trained on."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import gradio as gr

from modules import ui_extra_networks_user_metadata

SHOWN_TAGS = 24

WORDS_OF_A_SENTENCE = 6
"""From so many words on, on average, captions are sentences; their words count as tags then."""

TRAINING_FACTS = {
    "ss_sd_model_name": "Trained on",
    "ss_base_model_version": "Version",
    "ss_network_module": "Trained by",
    "ss_network_dim": "Rank",
    "ss_resolution": "Resolution",
    "ss_clip_skip": "Clip skip",
    "ss_num_train_images": "Images",
}
"""Key of the metadata -> what the table of the file calls it."""


def noted_text(metadata: Mapping[str, Any], key: str) -> str:
    """Returns a text of what the user noted; empty for anything else that a file may hold there."""
    value = metadata.get(key)
    return value if isinstance(value, str) else ""


def noted_weight(metadata: Mapping[str, Any]) -> float:
    """Returns the weight that the user prefers; 0 for none."""
    value = metadata.get("preferred weight")
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else 0


def build_tags(metadata: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Returns the tags a network was trained with and how often each was there, the most frequent first."""
    counts: Counter[str] = Counter()
    datasets = metadata.get("ss_tag_frequency")
    for tags in datasets.values() if isinstance(datasets, Mapping) else []:
        for tag, count in tags.items() if isinstance(tags, Mapping) else []:
            if tag.strip() and isinstance(count, int | float):
                counts[tag.strip()] += int(count)
    if is_of_sentences(counts):
        counts = words_of(counts)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def is_of_sentences(captions: Iterable[str]) -> bool:
    """Tells whether captions are sentences, not tags."""
    lengths = [len(caption.split()) for caption in captions]
    return bool(lengths) and sum(lengths) / len(lengths) >= WORDS_OF_A_SENTENCE


def words_of(captions: Mapping[str, int]) -> Counter[str]:
    """Returns how often the words of captions were there; words of up to two letters say nothing."""
    counts: Counter[str] = Counter()
    for caption, count in captions.items():
        for word in re.findall(r"[^\W_][\w'-]{2,}", caption):
            counts[word] += count
    return counts


def toggled(tag: str, text: str) -> str:
    """Returns a text of parts between commas without a tag if it is one of them, else with it at the end."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return ", ".join([part for part in parts if part != tag] if tag in parts else [*parts, tag])


def random_prompt(tags: list[tuple[str, int]]) -> str:
    """Returns tags drawn each as often as it was trained, relative to the most frequent; brackets are words there."""
    most = max((count for _, count in tags), default=0)
    drawn = [tag for tag, count in tags if random.random() * most < count]
    return ", ".join(re.sub(r"([()\[\]{}])", r"\\\1", tag) for tag in drawn)


class LoraUserMetadataEditor(ui_extra_networks_user_metadata.UserMetadataEditor):
    """Notes go to the keys description, sd version, activation text, preferred weight, negative text and notes of the
    JSON file beside the network.
    """

    select_sd_version: gr.Dropdown
    taginfo: gr.HighlightedText
    edit_activation_text: gr.Textbox
    slider_preferred_weight: gr.Slider
    edit_negative_text: gr.Textbox
    row_random_prompt: gr.Row
    random_prompt: gr.Textbox

    def create_extra_default_items_in_left_column(self) -> None:
        """Makes the menu of versions."""
        self.select_sd_version = gr.Dropdown(
            ["SD1", "SD2", "SDXL", "Unknown"], value="Unknown", label="Stable Diffusion version", interactive=True
        )

    def create_editor(self) -> None:
        """Makes the fields of the editor."""
        self.create_default_editor_elems()
        self.taginfo = gr.HighlightedText(
            label="Training dataset tags", show_legend=False, elem_classes="training-tags", interactive=False
        )
        self.edit_activation_text = gr.Text(
            label="Activation text", info="Goes into the prompt after the tag", interactive=True
        )
        self.slider_preferred_weight = gr.Slider(
            label="Preferred weight",
            info="0: the multiplier of the settings",
            minimum=0.0,
            maximum=2.0,
            step=0.01,
            value=0.0,
            interactive=True,
        )
        self.edit_negative_text = gr.Text(
            label="Negative prompt", info="Goes into the negative prompt", interactive=True
        )
        with gr.Row() as self.row_random_prompt:
            with gr.Column(scale=8):
                self.random_prompt = gr.Textbox(label="Random prompt", lines=4, max_lines=4, interactive=False)
            with gr.Column(scale=1, min_width=120):
                generate = gr.Button("Generate", size="lg", scale=1)
        self.edit_notes = gr.TextArea(label="Notes", lines=4, interactive=True)
        self.create_default_buttons()

        generate.click(
            fn=self.generate_random_prompt,
            inputs=[self.edit_name_input],
            outputs=[self.random_prompt],
            show_progress="hidden",
        )
        self.taginfo.select(
            fn=self.select_tag,
            inputs=[self.edit_activation_text],
            outputs=[self.edit_activation_text],
            show_progress="hidden",
        )
        self.setup_edit_handler(
            [
                self.edit_notes,
                self.select_sd_version,
                self.taginfo,
                self.edit_activation_text,
                self.slider_preferred_weight,
                self.edit_negative_text,
                self.row_random_prompt,
                self.random_prompt,
            ]
        )
        self.setup_save_handler(
            self.button_save,
            self.save_lora_user_metadata,
            [
                self.edit_description,
                self.select_sd_version,
                self.edit_activation_text,
                self.slider_preferred_weight,
                self.edit_negative_text,
                self.edit_notes,
            ],
        )

    @staticmethod
    def select_tag(activation_text: str, event: gr.SelectData) -> str:
        """Returns the activation text with the clicked tag toggled."""
        return toggled(event.value[0], activation_text)

    def get_metadata_table(self, name: str) -> list[tuple[str, str]]:
        """Returns facts about the file and how it was trained."""
        metadata = self.page.items.get(name, {}).get("metadata") or {}
        facts = [(label, str(metadata[key])) for key, label in TRAINING_FACTS.items() if key in metadata]
        return [*super().get_metadata_table(name), *facts]

    def tags(self, name: str) -> list[tuple[str, int]]:
        """Returns the tags an item was trained with; see `build_tags`."""
        return build_tags(self.page.items.get(name, {}).get("metadata") or {})

    def generate_random_prompt(self, name: str) -> str:
        """Returns a prompt like those an item was trained with."""
        return random_prompt(self.tags(name))

    def put_values_into_components(self, name: str) -> list[Any]:
        """Returns the values of the fields for a card."""
        metadata = self.get_user_metadata(name)
        tags = self.tags(name)
        return [
            *super().put_values_into_components(name)[:5],
            self.page.items.get(name, {}).get("sd_version", "Unknown"),
            gr.update(value=[(tag, str(count)) for tag, count in tags[:SHOWN_TAGS]], visible=bool(tags)),
            noted_text(metadata, "activation text"),
            noted_weight(metadata),
            noted_text(metadata, "negative text"),
            gr.update(visible=bool(tags)),
            random_prompt(tags),
        ]

    def save_lora_user_metadata(
        self,
        name: str,
        desc: str,
        sd_version: str,
        activation_text: str,
        preferred_weight: float,
        negative_text: str,
        notes: str,
    ) -> None:
        """Stores what the fields hold."""
        metadata = self.get_user_metadata(name)
        metadata["description"] = desc
        metadata["sd version"] = sd_version
        metadata["activation text"] = activation_text
        metadata["preferred weight"] = preferred_weight
        metadata["negative text"] = negative_text
        metadata["notes"] = notes
        self.write_user_metadata(name, metadata)
