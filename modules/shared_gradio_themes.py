"""face: the look of the page as Gradio theme variables, and the choice of another theme. Rules that need CSS are in
css/.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.themes.utils import colors, sizes

from modules import errors, paths_internal, shared

logger = logging.getLogger(__name__)

gradio_hf_hub_themes = [
    "gradio/base",
    "gradio/citrus",
    "gradio/default",
    "gradio/glass",
    "gradio/monochrome",
    "gradio/ocean",
    "gradio/origin",
    "gradio/seafoam",
    "gradio/soft",
    "ParityError/Anime",
    "ParityError/Interstellar",
    "earneleh/paris",
    "finlaymacklon/boxy_violet",
    "freddyaboulton/dracula_revamped",
    "gstaff/xkcd",
    "step-3-profile-pic/soft",
    "ysharma/steampunk",
]
"""Suggestions for the theme setting; any theme of Gradio's hub can be typed."""

SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Ubuntu", "sans-serif")
MONOSPACE_FONTS = ("ui-monospace", "SF Mono", "Cascadia Mono", "Noto Sans Mono", "Consolas", "monospace")

SEA = colors.Color(
    name="sea",
    c50="#effcf9",
    c100="#cdf5ec",
    c200="#9ceada",
    c300="#63d8c3",
    c400="#33bea8",
    c500="#16a08c",
    c600="#0b7c70",
    c700="#0c635b",
    c800="#10504a",
    c900="#11423e",
    c950="#042725",
)
STONE = colors.Color(
    name="stone",
    c50="#f6f7f9",
    c100="#eceff2",
    c200="#dfe4e9",
    c300="#c6ced6",
    c400="#93a0ad",
    c500="#647180",
    c600="#4b5764",
    c700="#38424c",
    c800="#252c34",
    c900="#191e24",
    c950="#101419",
)


class SerenaTheme(gr.themes.Base):
    """Quiet greys, one accent, small gaps: the page is a workbench."""

    def __init__(self) -> None:
        super().__init__(
            primary_hue=SEA,
            secondary_hue=SEA,
            neutral_hue=STONE,
            text_size=sizes.text_sm,
            spacing_size=sizes.spacing_sm,
            radius_size=sizes.radius_md,
            font=SYSTEM_FONTS,
            font_mono=MONOSPACE_FONTS,
        )
        self.name = "serena"
        self.set_controls()
        self.set_buttons()
        self.set_surfaces()  # last, as every call of `set` puts the background back to Gradio's

    def set_surfaces(self) -> None:
        """Sets backgrounds, texts, borders and shadows."""
        self.set(
            body_background_fill="*neutral_50",
            body_background_fill_dark="*neutral_950",
            body_text_color="*neutral_800",
            body_text_color_dark="#dde3e9",
            body_text_color_subdued="*neutral_600",
            body_text_color_subdued_dark="#a4b0bc",
            background_fill_primary="white",
            background_fill_primary_dark="*neutral_900",
            background_fill_secondary="*neutral_50",
            background_fill_secondary_dark="*neutral_950",
            border_color_primary="*neutral_200",
            border_color_primary_dark="#2c343d",
            border_color_accent="*primary_500",
            border_color_accent_dark="*primary_500",
            border_color_accent_subdued="*primary_200",
            border_color_accent_subdued_dark="*primary_800",
            block_background_fill="transparent",
            block_background_fill_dark="transparent",
            block_border_width="0px",
            block_border_width_dark="0px",
            block_padding="0px",
            block_radius="6px",
            block_shadow="none",
            block_shadow_dark="none",
            block_title_text_color="*neutral_600",
            block_title_text_color_dark="#a4b0bc",
            block_title_text_weight="500",
            block_label_text_color="*neutral_600",
            block_label_text_color_dark="#a4b0bc",
            block_label_text_weight="500",
            block_label_background_fill="*background_fill_primary",
            block_label_background_fill_dark="*background_fill_primary",
            block_info_text_color="*neutral_600",
            block_info_text_color_dark="#a4b0bc",
            panel_background_fill="white",
            panel_background_fill_dark="*neutral_900",
            panel_border_width="0px",
            form_gap_width="0px",
            layout_gap="10px",
            link_text_color="*primary_700",
            link_text_color_dark="*primary_300",
            accordion_text_color="*body_text_color",
            accordion_text_color_dark="*body_text_color",
        )

    def set_controls(self) -> None:
        """Sets fields, sliders, checkboxes and their labels."""
        self.set(
            input_background_fill="white",
            input_background_fill_dark="#12171c",
            input_background_fill_focus="white",
            input_background_fill_focus_dark="#12171c",
            input_background_fill_hover="white",
            input_background_fill_hover_dark="#12171c",
            input_border_color="*neutral_300",
            input_border_color_dark="#343e48",
            input_border_color_hover="*neutral_400",
            input_border_color_hover_dark="#4a5663",
            input_border_color_focus="*primary_500",
            input_border_color_focus_dark="*primary_500",
            input_border_width="1px",
            input_border_width_dark="1px",
            input_padding="6px 10px",
            input_radius="6px",
            input_shadow="none",
            input_shadow_dark="none",
            input_shadow_focus="0 0 0 3px rgba(22, 160, 140, .16)",
            input_shadow_focus_dark="0 0 0 3px rgba(51, 190, 168, .18)",
            input_placeholder_color="*neutral_500",
            input_placeholder_color_dark="#8a97a4",
            slider_color="*primary_600",
            slider_color_dark="*primary_500",
            checkbox_background_color="white",
            checkbox_background_color_dark="#12171c",
            checkbox_background_color_selected="*primary_600",
            checkbox_background_color_selected_dark="*primary_600",
            checkbox_border_color="*neutral_400",
            checkbox_border_color_dark="#586573",
            checkbox_border_color_selected="*primary_600",
            checkbox_border_color_selected_dark="*primary_500",
            checkbox_border_radius="4px",
            checkbox_label_background_fill="white",
            checkbox_label_background_fill_dark="#12171c",
            checkbox_label_background_fill_hover="*neutral_100",
            checkbox_label_background_fill_hover_dark="#1f262d",
            checkbox_label_background_fill_selected="*primary_50",
            checkbox_label_background_fill_selected_dark="#0d2b2a",
            checkbox_label_border_color="*neutral_300",
            checkbox_label_border_color_dark="#343e48",
            checkbox_label_border_color_selected="*primary_500",
            checkbox_label_border_color_selected_dark="*primary_600",
            checkbox_label_border_width="1px",
            checkbox_label_border_width_dark="1px",
            checkbox_label_padding="4px 10px",
            checkbox_label_shadow="none",
            checkbox_label_text_color_selected="*primary_800",
            checkbox_label_text_color_selected_dark="#cdf5ec",
            checkbox_label_text_weight="400",
        )

    def set_buttons(self) -> None:
        """Sets the kinds of buttons."""
        self.set(
            button_border_width="1px",
            button_border_width_dark="1px",
            button_large_padding="8px 14px",
            button_large_radius="6px",
            button_large_text_size="*text_md",
            button_large_text_weight="500",
            button_small_radius="6px",
            button_medium_radius="6px",
            button_primary_background_fill="*primary_600",
            button_primary_background_fill_dark="*primary_600",
            button_primary_background_fill_hover="*primary_700",
            button_primary_background_fill_hover_dark="*primary_700",
            button_primary_border_color="transparent",
            button_primary_border_color_dark="transparent",
            button_primary_text_color="white",
            button_primary_text_color_dark="white",
            button_secondary_background_fill="white",
            button_secondary_background_fill_dark="#20272e",
            button_secondary_background_fill_hover="*neutral_100",
            button_secondary_background_fill_hover_dark="#2a323b",
            button_secondary_border_color="*neutral_300",
            button_secondary_border_color_dark="#343e48",
            button_secondary_border_color_hover="*neutral_400",
            button_secondary_border_color_hover_dark="#4a5663",
            button_secondary_text_color="*neutral_700",
            button_secondary_text_color_dark="#dde3e9",
        )


def reload_gradio_theme(theme_name: str | None = None) -> None:
    """Puts the theme of that name, or of the setting gradio_theme, into `shared.gradio_theme`; ours if it can't be had.

    A theme of the hub is downloaded once and kept in <data dir>/tmp/gradio_themes when gradio_themes_cache is on.
    """
    theme_name = theme_name or shared.opts.gradio_theme
    theme: Any = SerenaTheme()
    if theme_name and theme_name != "Default":
        try:
            theme = load_theme(theme_name)
        except Exception as e:  # the hub raises whatever its HTTP client does
            errors.display(e, f"loading the theme {theme_name}")
    shared.gradio_theme = theme


def load_theme(theme_name: str) -> Any:
    """Returns a theme that ships with Gradio (gradio/soft, ...), else one of the hub, from the cache if it is there."""
    built_in = getattr(gr.themes, theme_name.removeprefix("gradio/").capitalize(), None)
    if isinstance(built_in, type):
        return built_in(font=SYSTEM_FONTS, font_mono=MONOSPACE_FONTS)
    directory = os.path.join(paths_internal.data_path, "tmp", "gradio_themes")
    path = os.path.join(directory, re.sub(r"[^\w-]", "_", theme_name) + ".json")
    if shared.opts.gradio_themes_cache and os.path.exists(path):
        return gr.themes.ThemeClass.load(path)
    theme = gr.themes.ThemeClass.from_hub(theme_name)
    os.makedirs(directory, exist_ok=True)
    theme.dump(path)
    return theme


def resolve_var(name: str, gradio_theme: Any = None, history: Sequence[str] = ()) -> str:
    """Returns the value of a theme variable, followed through references such as "*neutral_50".

    Dark variables that are not set are those of the light theme. Raises ValueError for one that leads back to itself.
    """
    theme = gradio_theme or shared.gradio_theme
    if name in history:
        raise ValueError(f"The theme variable {name} refers to itself")
    value = getattr(theme, name, None)
    if value is None and name.endswith("_dark"):
        return resolve_var(name.removesuffix("_dark"), theme, [*history, name])
    if not isinstance(value, str) or not value.startswith("*"):
        return value
    reference = value[1:]
    dark = f"{reference}_dark"
    if name.endswith("_dark") and getattr(theme, dark, None) is not None and dark not in history:
        return resolve_var(dark, theme, [*history, name])
    return resolve_var(reference, theme, [*history, name])
