"""face: the styles dropdown of a tab and the dialog that edits them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import shared, styles, ui_common, ui_components

styles_edit_symbol = "\U0001f58c\ufe0f"  # 🖌️
styles_materialize_symbol = "\U0001f4cb"  # 📋
styles_copy_symbol = "\U0001f4dd"  # 📝


def select_style(name: str | None) -> tuple[Any, ...]:
    """Returns the texts of a style for the editor, and which of its buttons apply: Delete for one that exists, Save for
    any name.
    """
    style = shared.prompt_styles.styles.get(name)
    existing = style is not None
    prompt = style.prompt if existing else gr.update()
    negative_prompt = style.negative_prompt if existing else gr.update()
    return prompt, negative_prompt, gr.update(visible=existing), gr.update(visible=bool(name))


def save_style(name: str | None, prompt: str, negative_prompt: str) -> Any:
    """Stores a style in its file, or in the default one if it is new."""
    if not name:
        return gr.update(visible=False)
    existing = shared.prompt_styles.styles.get(name)
    path = existing.path if existing is not None else None
    shared.prompt_styles.styles[name] = styles.PromptStyle(name, prompt, negative_prompt, path)
    shared.prompt_styles.save_styles()
    return gr.update(visible=True)


def delete_style(name: str | None) -> tuple[Any, Any, Any]:
    """Removes a style and empties the editor; without a name (the user thought better of it) nothing changes."""
    if not name:
        return gr.skip(), gr.skip(), gr.skip()
    shared.prompt_styles.styles.pop(name, None)
    shared.prompt_styles.save_styles()
    return "", "", ""


def materialize_styles(prompt: str, negative_prompt: str, styles: list[str]) -> list[Any]:
    """Merges the selected styles into the prompts and empties the selection."""
    prompt = shared.prompt_styles.apply_styles_to_prompt(prompt, styles)
    negative_prompt = shared.prompt_styles.apply_negative_styles_to_prompt(negative_prompt, styles)
    return [gr.update(value=prompt), gr.update(value=negative_prompt), gr.update(value=[])]


def refresh_styles() -> tuple[Any, Any]:
    """Returns the names of all styles for the two dropdowns of a tab."""
    names = list(shared.prompt_styles.styles)
    return gr.update(choices=names), gr.update(choices=names)


class UiPromptStyles:
    """The styles row of a tab: `dropdown` holds the selected names, the rest is the editor."""

    def __init__(self, tabname: str, main_ui_prompt: gr.Textbox, main_ui_negative_prompt: gr.Textbox):
        self.tabname = tabname
        self.main_ui_prompt = main_ui_prompt
        self.main_ui_negative_prompt = main_ui_negative_prompt
        with gr.Row(elem_id=f"{tabname}_styles_row"):
            self.dropdown = gr.Dropdown(
                label="Styles",
                show_label=False,
                elem_id=f"{tabname}_styles",
                choices=list(shared.prompt_styles.styles),
                value=[],
                multiselect=True,
                interactive=True,
            )
            edit_button = ui_components.ToolButton(
                styles_edit_symbol, elem_id=f"{tabname}_styles_edit_button", tooltip="Edit styles"
            )
        with gr.Group(elem_id=f"{tabname}_styles_dialog", elem_classes="popup-dialog") as dialog:
            self.create_selection()
            self.create_editor()
        ui_common.setup_dialog(button_show=edit_button, dialog=dialog, button_close=self.close)
        self.connect()

    def create_selection(self) -> None:
        """Makes the menu of styles with the buttons beside it."""
        with gr.Row():
            self.selection = gr.Dropdown(
                label="Styles",
                elem_id=f"{self.tabname}_styles_edit_select",
                choices=list(shared.prompt_styles.styles),
                value=[],
                allow_custom_value=True,
                interactive=True,
                info="Choose a style, or type a new name to make one.",
            )
            ui_common.create_refresh_button(
                [self.dropdown, self.selection],
                shared.prompt_styles.reload,
                lambda: {"choices": list(shared.prompt_styles.styles)},
                f"refresh_{self.tabname}_styles",
            )
            self.materialize = ui_components.ToolButton(
                styles_materialize_symbol,
                elem_id=f"{self.tabname}_style_apply_dialog",
                tooltip="Put the styles selected in the main page into its prompts",
            )
            self.copy = ui_components.ToolButton(
                styles_copy_symbol,
                elem_id=f"{self.tabname}_style_copy",
                tooltip="Copy the page's prompts into this style",
            )

    def create_editor(self) -> None:
        """Makes the prompts of a style and the buttons that store and delete it."""
        with gr.Row():
            self.prompt = gr.Textbox(
                label="Prompt",
                show_label=True,
                elem_id=f"{self.tabname}_edit_style_prompt",
                lines=3,
                elem_classes=["prompt"],
            )
        with gr.Row():
            self.neg_prompt = gr.Textbox(
                label="Negative prompt",
                show_label=True,
                elem_id=f"{self.tabname}_edit_style_neg_prompt",
                lines=3,
                elem_classes=["prompt"],
            )
        with gr.Row():
            self.save = gr.Button("Save", variant="primary", elem_id=f"{self.tabname}_edit_style_save", visible=False)
            self.delete = gr.Button(
                "Delete", variant="stop", elem_id=f"{self.tabname}_edit_style_delete", visible=False
            )
            self.close = gr.Button("Close", elem_id=f"{self.tabname}_edit_style_close")

    def connect(self) -> None:
        """Connects the controls of the editor."""
        quiet: dict[str, Any] = {"show_progress": "hidden"}
        texts = [self.prompt, self.neg_prompt]
        self.selection.change(select_style, [self.selection], [*texts, self.delete, self.save], **quiet)
        saved = self.save.click(save_style, [self.selection, *texts], [self.delete], **quiet)
        saved.then(refresh_styles, None, [self.dropdown, self.selection], **quiet)
        deleted = self.delete.click(
            delete_style,
            [self.selection],
            [self.selection, *texts],
            js='(name) => [name && confirm("Delete the style " + name + "?") ? name : ""]',
            **quiet,
        )
        deleted.then(refresh_styles, None, [self.dropdown, self.selection], **quiet)
        self.copy.click(lambda *prompts: prompts, [self.main_ui_prompt, self.main_ui_negative_prompt], texts, **quiet)
        self.setup_apply_button(self.materialize)

    def setup_apply_button(self, button: gr.Button) -> None:
        """Has a button merge the selected styles into the page's prompts."""
        prompts = [self.main_ui_prompt, self.main_ui_negative_prompt]
        button.click(
            fn=materialize_styles,
            inputs=[*prompts, self.dropdown],
            outputs=[*prompts, self.dropdown],
            show_progress="hidden",
        ).then(fn=None, js=f"() => {{ update_{self.tabname}_tokens(); closePopup(); }}", show_progress="hidden")
