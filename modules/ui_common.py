"""face: what several tabs share: the panel of results with its buttons, saving from it, refresh buttons and dialogs."""

from __future__ import annotations

import csv
import html
import io
import itertools
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from types import SimpleNamespace
from typing import Any

import gradio as gr

from modules import call_queue, infotext, run_files, scripts, shared, ui_tempdir, util, whole_files
from modules import images as modules_images
from modules import infotext_utils as parameters_copypaste
from modules.image_files import atomic_file
from modules.infotext_utils import image_from_url_text
from modules.job.records import ImageRecord, records_in
from modules.ui_components import ToolButton
from modules.ui_symbols import folder_symbol, refresh_symbol

LOG_COLUMNS = (
    "prompt",
    "seed",
    "width",
    "height",
    "sampler",
    "cfgs",
    "steps",
    "filename",
    "negative_prompt",
    "sd_model_name",
    "sd_model_hash",
)
"""Columns of log.csv in the directory of the Save button."""

LOGGED = {
    "width": "Size-1",
    "height": "Size-2",
    "sampler": "Sampler",
    "cfgs": "CFG scale",
    "steps": "Steps",
    "sd_model_name": "Model",
    "sd_model_hash": "Model hash",
}
"""Column of log.csv -> key of the image's infotext that fills it."""

QUIET: dict[str, Any] = {"show_progress": "hidden"}
"""Arguments of events that show no progress on their outputs."""

WITH_SELECTED_INDEX = "(...inputs) => [...inputs.slice(0, -1), selected_gallery_index()]"
"""Has the page put the number of the selected image into the last input of an event."""


@dataclass
class OutputPanel:
    """The components of a panel of results; what a job of the tab returns goes into the first four."""

    gallery: gr.Gallery | None = None
    generation_info: gr.Textbox | None = None
    infotext: gr.HTML | None = None
    html_log: gr.HTML | None = None
    button_upscale: gr.Button | None = None

    def outputs(self) -> list[gr.components.Component]:
        """Returns the components that a job fills, in the order of its results."""
        return [self.gallery, self.generation_info, self.infotext, self.html_log]


def plaintext_to_html(text: str, classname: str | None = None) -> str:
    """Returns the text as a paragraph, escaped, its lines kept."""
    content = "<br>\n".join(html.escape(line) for line in text.split("\n"))
    return f"<p class='{classname}'>{content}</p>" if classname else f"<p>{content}</p>"


def infotext_to_html(text: str) -> str:
    """Returns an infotext as the page shows it; nothing for an empty one."""
    return plaintext_to_html(text) if text else ""


def update_generation_info(generation_info: str, html_info: str, img_index: int | str) -> tuple[str, Any]:
    """Returns the infotext of the image selected in the gallery; the one shown stays when it has none."""
    try:
        data = json.loads(generation_info)
        index, count = int(img_index), len(data.get("records") or data["infotexts"])
        if not 0 <= index < count:
            return html_info, gr.skip()
        return infotext_to_html(records_in(data, count)[index].infotext), gr.skip()
    except (TypeError, ValueError, KeyError):
        return html_info, gr.skip()


def show_first_image(function: Callable) -> Callable:
    """Returns a handler whose first output, a list of images, opens with the first one large, as Gradio does only on
    its own accord.
    """

    def with_first(images: Any, *rest: Any) -> tuple:
        """Selects the first image of a list."""
        if isinstance(images, list) and images:
            return (gr.update(value=images, selected_index=0), *rest)
        return (images, *rest)

    @wraps(function)
    def shown(*args: Any, **kwargs: Any) -> tuple:
        """Calls the handler."""
        return with_first(*function(*args, **kwargs))

    waits = call_queue.coroutine_of(function)
    if waits is not function:

        @wraps(function)
        async def awaiting(*args: Any, **kwargs: Any) -> tuple:
            """Awaits the handler."""
            return with_first(*await waits(*args, **kwargs))

        call_queue.add_coroutine(shown, awaiting)
    return shown


def update_logfile(logfile_path: str, fields: Sequence[str]) -> None:
    """Widens a CSV log written with fewer columns to `fields`; rows that are longer than the header lose what is beyond
    it.
    """
    with open(logfile_path, encoding="utf8", newline="") as file:
        rows = list(csv.reader(file))
    if not rows or set(rows[0]) >= set(fields):
        return
    header = [*rows[0], *(field for field in fields if field not in rows[0])]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    for row in rows[1:]:
        known = row[: len(rows[0])]
        writer.writerows([[*known, *[""] * (len(header) - len(known))]] if row else [])
    util.write_text_atomically(logfile_path, text.getvalue(), newline="")


def append_to_logfile(directory: str, data: dict[str, Any], record: ImageRecord, filename: str) -> None:
    """Adds a row about the first image of a click on Save to log.csv. data: what is known of all images."""
    path = os.path.join(directory, "log.csv")
    if os.path.exists(path):
        update_logfile(path, LOG_COLUMNS)
    is_new = not os.path.exists(path) or os.path.getsize(path) == 0
    parts = infotext.parse_infotext(record.infotext) if record.infotext else {}
    said = {column: parts[key] for column, key in LOGGED.items() if key in parts}
    known = {name: value for name, value in vars(record).items() if value is not None}
    values = {
        **data,
        "sampler": data.get("sampler_name"),
        "cfgs": data.get("cfg_scale"),
        **said,
        **known,
        "filename": filename,
    }
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if is_new:
        writer.writerow(LOG_COLUMNS)
    writer.writerow([values.get(column, "") for column in LOG_COLUMNS])
    whole_files.append(path, text.getvalue().encode("utf8", errors="replace"))


@run_files.one_run()
def save_files(js_data: str, images: Sequence[Any], do_make_zip: bool, index: int) -> tuple[Any, str]:
    """Saves the selected image, or all, to the directory of the setting outdir_save.

    js_data: what the page was told of the result. index: number in the gallery, -1 when none is selected.
    Returns the list of files to download and a line of HTML naming the first.
    """
    if not js_data or not images:
        return gr.update(), plaintext_to_html("There is nothing to save.")
    data = json.loads(js_data)
    first = int(data.get("index_of_first_image") or 0)
    records = records_in(data, len(images))
    is_alone = shared.opts.save_selected_only and max(first, 0) <= index < len(images)
    places = [index] if is_alone else range(len(images))
    os.makedirs(shared.opts.outdir_save, exist_ok=True)

    p = job_for_names(data, records)
    files = []
    for place in places:
        is_grid = place < first or records[place].kind == "grid"
        files += save_entry(p, images[place], records[place], is_grid)
    saved, record = files[0], records[places[0]]
    if shared.opts.save_write_log_csv:
        append_to_logfile(shared.opts.outdir_save, data, record, os.path.basename(saved))
    if do_make_zip:
        files.insert(0, zip_files(p, files, record if is_alone else next(iter(records[first:]), record)))
    return gr.update(value=files, visible=True), plaintext_to_html(f"Saved: {os.path.basename(saved)}")


def job_for_names(data: dict[str, Any], records: Sequence[ImageRecord]) -> SimpleNamespace:
    """Returns what file name patterns know of a result; its seeds and prompts are those of its images."""
    p = SimpleNamespace(**data)
    made = [record for record in records if record.kind in ("image", "other")] or records
    p.all_seeds, p.all_prompts = [record.seed for record in made], [record.prompt for record in made]
    return p


def save_entry(p: SimpleNamespace, entry: Any, record: ImageRecord, is_grid: bool) -> list[str]:
    """Saves an image of a gallery and returns the paths of what was written, the text file beside it last."""
    image = image_from_url_text(entry)
    parameters = parameters_copypaste.parse_generation_parameters(record.infotext, [])
    path, text_path = modules_images.save_image(
        image,
        shared.opts.outdir_save,
        "",
        seed=record.seed,
        prompt=parameters["Prompt"] or record.prompt or "",
        extension=shared.opts.samples_format,
        info=record.infotext,
        grid=is_grid,
        p=p,
        save_to_dirs=shared.opts.use_save_to_dirs_for_ui,
    )
    return [path, text_path] if text_path else [path]


def zip_files(p: SimpleNamespace, files: Sequence[str], record: ImageRecord) -> str:
    """Packs files into an archive in the directory of the Save button, named by the record of an image; returns its
    path.
    """
    namegen = modules_images.FilenameGenerator(p, record.seed, record.prompt, None, zip=True)
    name = namegen.apply(shared.opts.grid_zip_filename_pattern or "[datetime]_[[model_name]]_[seed]-[seed_last]")
    wanted = os.path.join(shared.opts.outdir_save, f"{name}.zip")
    os.makedirs(os.path.dirname(wanted), exist_ok=True)
    with (
        modules_images.unused_name(wanted) as path,
        atomic_file(path) as written,
        zipfile.ZipFile(written, "w") as archive,
    ):
        for file, entry in zip(files, names_in_archive(files), strict=True):
            archive.write(file, entry)
    return path


def names_in_archive(files: Sequence[str]) -> list[str]:
    """Returns the names of files without folders, numbered where those of several folders are alike."""
    names: list[str] = []
    for file in files:
        stem, extension = os.path.splitext(os.path.basename(file))
        candidates = (f"{stem}{f'-{number}' if number else ''}{extension}" for number in itertools.count())
        names.append(next(name for name in candidates if name not in names))
    return names


def open_folder(directory: str, images: Sequence[Any] | None = None, index: int | None = None) -> None:
    """Opens the output directory on the server's desktop, or that of the selected image if the user chose so."""
    if shared.cmd_opts.hide_ui_dir_config:
        return
    choice = shared.opts.open_dir_button_choice
    if choice.startswith("Subdirectory") and images and index is not None and 0 <= index < len(images):
        path = images[index][0] if isinstance(images[index], (tuple, list)) else str(images[index])
        if os.path.exists(path) and ("temp dir" in choice or not ui_tempdir.is_gradio_temp_path(path)):
            directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        gr.Info(f"The folder {directory} does not exist yet: it is made when something is saved in it.")
        return
    util.open_folder(directory)


def create_output_panel(tabname: str, outdir: str, toprow: Any = None) -> OutputPanel:
    """Makes the right half of a tab: gallery, buttons, infotext and the line below it. A toprow that is compact gets
    its Generate button here.
    """
    panel = OutputPanel()
    with gr.Column(elem_id=f"{tabname}_results"):
        if toprow is not None:
            toprow.create_inline_toprow_image()
        with gr.Column(elem_id=f"{tabname}_results_panel"):
            with gr.Group(elem_id=f"{tabname}_gallery_container"):
                panel.gallery = gr.Gallery(
                    label="Output",
                    show_label=False,
                    elem_id=f"{tabname}_gallery",
                    columns=4,
                    preview=True,
                    height=shared.opts.gallery_height or None,
                    object_fit="contain",
                    interactive=False,
                    buttons=[],
                    format="png",
                )
            with gr.Row(elem_id=f"image_buttons_{tabname}", elem_classes="image-buttons"):
                buttons = create_result_buttons(tabname, panel, outdir)
            if tabname == "extras":
                create_extras_texts(panel)
            else:
                create_result_texts(tabname, panel, buttons)
    return panel


def create_result_buttons(tabname: str, panel: OutputPanel, outdir: str) -> dict[str, gr.Button]:
    """Makes the row below the gallery; returns the buttons that save, by name."""
    buttons: dict[str, gr.Button] = {}
    folder = ToolButton(
        folder_symbol,
        elem_id=f"{tabname}_open_folder",
        visible=not shared.cmd_opts.hide_ui_dir_config,
        tooltip="Open the folder of the pictures",
    )
    folder.click(
        fn=lambda images, index: open_folder(shared.opts.outdir_samples or outdir, images, index),
        js=WITH_SELECTED_INDEX,
        inputs=[panel.gallery, folder],
    )
    if tabname != "extras":
        buttons["save"] = ToolButton("💾", elem_id=f"save_{tabname}", tooltip=f"Save to {shared.opts.outdir_save}")
        buttons["zip"] = ToolButton("🗃️", elem_id=f"save_zip_{tabname}", tooltip="Save and pack into a zip archive")
    create_send_buttons(tabname, panel)
    if tabname == "txt2img":
        panel.button_upscale = ToolButton(
            "✨", elem_id=f"{tabname}_upscale", tooltip="Upscale the picture with the settings of Hires. fix"
        )
    return buttons


def create_send_buttons(tabname: str, panel: OutputPanel) -> None:
    """Makes the buttons that send the image, and from txt2img its settings, to another tab."""
    runners = {"txt2img": scripts.scripts_txt2img, "img2img": scripts.scripts_img2img}
    paste_field_names = runners[tabname].paste_field_names if tabname in runners else []
    destinations = {"img2img": ("🖼️", "img2img"), "inpaint": ("🎨️", "img2img inpainting"), "extras": ("📐", "Extras")}
    for destination, (symbol, name) in destinations.items():
        button = ToolButton(
            symbol, elem_id=f"{tabname}_send_to_{destination}", tooltip=f"Send the picture and its settings to {name}"
        )
        binding = parameters_copypaste.ParamBinding(
            paste_button=button,
            tabname=destination,
            source_tabname="txt2img" if tabname == "txt2img" else None,
            source_image_component=panel.gallery,
            paste_field_names=paste_field_names,
        )
        parameters_copypaste.register_paste_params_button(binding)


def create_extras_texts(panel: OutputPanel) -> None:
    """Makes the texts below the results of the Extras tab."""
    panel.generation_info = gr.HTML(elem_id="html_info_x_extras")
    panel.infotext = gr.HTML(elem_id="html_info_extras", elem_classes="infotext")
    panel.html_log = gr.HTML(elem_id="html_log_extras")


def create_result_texts(tabname: str, panel: OutputPanel, buttons: dict[str, gr.Button]) -> None:
    """Makes downloads, infotext and log, and what the Save buttons and a change of the selected image do to them."""
    downloads = gr.File(
        None,
        file_count="multiple",
        interactive=False,
        show_label=False,
        visible=False,
        elem_id=f"download_files_{tabname}",
    )
    with gr.Group():
        panel.infotext = gr.HTML(elem_id=f"html_info_{tabname}", elem_classes="infotext")
        panel.html_log = gr.HTML(elem_id=f"html_log_{tabname}", elem_classes="html-log")
        panel.generation_info = gr.Textbox(visible=False, elem_id=f"generation_info_{tabname}")
        if tabname in ("txt2img", "img2img"):
            refresh = gr.Button(visible=False, elem_id=f"{tabname}_generation_info_button")
            refresh.click(
                fn=update_generation_info,
                js=WITH_SELECTED_INDEX,
                inputs=[panel.generation_info, panel.infotext, panel.infotext],
                outputs=[panel.infotext, panel.infotext],
                show_progress="hidden",
            )
    for name, zipped in (("save", "false"), ("zip", "true")):
        buttons[name].click(
            fn=save_files,
            js=f"(x, y, z, w) => [x, y, {zipped}, selected_gallery_index()]",
            inputs=[panel.generation_info, panel.gallery, panel.infotext, panel.infotext],
            outputs=[downloads, panel.html_log],
            show_progress="hidden",
        )


def create_refresh_button(
    refresh_component: Any, refresh_method: Callable[[], Any] | None, refreshed_args: Any, elem_id: str
) -> ToolButton:
    """Returns a button that rescans something and updates the choices of a component, or of several.

    refreshed_args: the properties to set, or a function that returns them after `refresh_method` has run.
    """
    components = refresh_component if isinstance(refresh_component, list) else [refresh_component]
    for component in components:
        component.refreshed_args = refreshed_args  # for a page that is loaded later, see ui.PageBlocks
    label = next((component.label for component in components if getattr(component, "label", None)), None)

    def refresh() -> Any:
        """Looks for choices anew, and returns the updates that show them."""
        if refresh_method is not None:
            refresh_method()
        arguments = refreshed_args() if callable(refreshed_args) else refreshed_args
        for component in components:
            for key, value in arguments.items():
                setattr(component, key, value)
        updates = [gr.update(**arguments) for _ in components]
        return updates if len(updates) > 1 else updates[0]

    button = ToolButton(refresh_symbol, elem_id=elem_id, tooltip=f"{label}: refresh" if label else "Refresh")
    button.click(fn=refresh, inputs=[], outputs=components, show_progress="hidden")
    return button


def setup_dialog(button_show: gr.Button, dialog: Any, *, button_close: gr.Button | None = None) -> None:
    """Has a button open a hidden block as a popup, and another one close it."""
    dialog.visible = False
    button_show.click(
        fn=lambda: gr.update(visible=True),
        inputs=[],
        outputs=[dialog],
        show_progress="hidden",
    ).then(fn=None, js=f'() => popupId("{dialog.elem_id}")')
    if button_close:
        button_close.click(fn=None, js="closePopup")
