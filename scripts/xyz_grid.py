"""X/Y/Z plot: a grid of images in which up to three values of a job vary. Here are its axes and its controls.

An axis is a row of `axis_options`; extensions append theirs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from modules import (
    bounds,
    checkpoints,
    errors,
    option_values,
    runtime_utils,
    scripts,
    sd_models,
    sd_modules,
    sd_samplers,
    sd_schedulers,
    sd_vae,
    shared,
)
from modules.processing import Processed, StableDiffusionProcessing, fix_seed
from modules.shared import opts
from modules.ui_components import ToolButton
from modules.xyz_plot import (
    TITLE,
    Apply,
    AxisOption,
    AxisOptionImg2Img,
    AxisOptionTxt2Img,
    Confirm,
    Plot,
    PlotOptions,
    check_size,
    csv_string_to_list_strip,
    format_nothing,
    format_remove_path,
    format_value,
    format_value_join_list,
    list_to_csv_string,
    read_axis,
    size_of,
    str_permutations,
)

fill_values_symbol = "\U0001f4d2"  # 📒


def apply_field(field: str) -> Apply:
    """Sets an attribute of the job."""

    def apply(p: StableDiffusionProcessing, x: Any, xs: list[Any]) -> None:
        """Sets the attribute to x."""
        setattr(p, field, x)

    return apply


def apply_override(field: str, boolean: bool = False) -> Apply:
    """Sets a setting of the job; boolean: the value is a word for yes, as the text "true", or anything else."""

    def apply(p: StableDiffusionProcessing, x: Any, xs: list[Any]) -> None:
        """Overrides the setting by x."""
        p.override_settings[field] = x.strip().lower() in option_values.YES if boolean else x

    return apply


def do_nothing(p: StableDiffusionProcessing, x: Any, xs: list[Any]) -> None:
    """Changes nothing."""


def apply_prompt(p: StableDiffusionProcessing, x: str, xs: list[str]) -> None:
    """Replaces the first value of the axis by x in both prompts. Raises InvalidInput if neither has it."""
    if xs[0] not in p.prompt and xs[0] not in p.negative_prompt:
        raise errors.InvalidInput(
            f"Prompt S/R did not find {xs[0]} in prompt or negative prompt; begin with a text that is there",
            field="script_args",
        )
    p.prompt = p.prompt.replace(xs[0], x)
    p.negative_prompt = p.negative_prompt.replace(xs[0], x)


def apply_order(p: StableDiffusionProcessing, x: Sequence[str], xs: list[Sequence[str]]) -> None:
    """Puts tokens into the places where they first occur in the prompt, in the order of x."""
    missing = [token for token in x if token not in p.prompt]
    if missing:
        raise errors.InvalidInput(f"Prompt order did not find {', '.join(missing)} in the prompt", field="script_args")
    texts_between, rest = [], p.prompt
    for token in sorted(x, key=p.prompt.index):
        before, _, rest = rest.partition(token)
        texts_between.append(before)
    p.prompt = "".join(itertools.chain.from_iterable(zip(texts_between, x, strict=True))) + rest


def apply_checkpoint(p: StableDiffusionProcessing, x: str, xs: list[str]) -> None:
    """Chooses the checkpoint whose name fits x best."""
    p.override_settings["sd_model_checkpoint"] = find_checkpoint(x).name


def apply_size(p: StableDiffusionProcessing, x: str, xs: list[str]) -> None:
    """Sets the size from a text like 512x768; any other is reported and changes nothing."""
    size = size_of(x)
    if size is None:
        errors.report(f"X/Y/Z plot: {x!r} is no size like 512x768; the size stays as it is")
    else:
        p.width, p.height = size


def find_vae(name: str) -> str:
    """Returns the VAE file of this name, in any letter case. Raises InvalidInput if there is none."""
    if name.strip().lower() in ("auto", "automatic"):
        return "Automatic"
    if name.strip().lower() == "none":
        return "None"
    return read_vae(name)


def apply_vae(p: StableDiffusionProcessing, x: str, xs: list[str]) -> None:
    """Chooses the VAE of the name x."""
    p.override_settings["sd_vae"] = find_vae(x)


def read_modules(names: str) -> list[str]:
    """Returns the files that a text names, parted by " + "; "Built in" is none. Raises NotFound for one not there."""
    return sd_modules.names_of(name.strip() for name in names.split(" + "))


def apply_styles(p: StableDiffusionProcessing, x: str, xs: list[str]) -> None:
    """Adds the styles that x names, parted by commas."""
    p.styles.extend(x.split(","))


def apply_uni_pc_order(p: StableDiffusionProcessing, x: int, xs: list[int]) -> None:
    """Sets the order of UniPC, which has to be lower than the number of steps."""
    p.override_settings["uni_pc_order"] = min(x, p.steps - 1)


def apply_face_restore(p: StableDiffusionProcessing, opt: str, x: Any) -> None:
    """Chooses a face restorer by its name, or the one of the settings by "true", "yes", "y", "1"; else none."""
    restorers = {"codeformer": "CodeFormer", "gfpgan": "GFPGAN"}
    if opt.lower() in restorers:
        p.face_restoration_model = restorers[opt.lower()]
    p.restore_faces = opt.lower() in (*restorers, "true", "yes", "y", "1")


FACE_RESTORE = ("CodeFormer", "GFPGAN", "true", "yes", "y", "1", "false", "no", "n", "0", "none", "off")
"""Words that the axis of face restorers takes."""


def find_checkpoint(name: str) -> sd_models.CheckpointInfo:
    """Returns the checkpoint that fits a name best; raises InvalidInput if there is none."""
    info = checkpoints.find(name)
    if info is None:
        raise errors.InvalidInput(f"Unknown checkpoint: {name}{checkpoints.nearest(name)}", field="script_args")
    return info


def apply_sampler(prefix: str = "") -> Apply:
    """Chooses the sampler, and a schedule named after it, of the first pass or with "hr_" of the second."""

    def apply(p: StableDiffusionProcessing, x: str, xs: list[str]) -> None:
        """Sets the name that x means, and the schedule if it says one."""
        name, schedule = sd_samplers.read_name(x)
        setattr(p, f"{prefix}sampler_name", name)
        if schedule is not None:
            setattr(p, f"{prefix}scheduler", schedule)

    return apply


def apply_schedule(p: StableDiffusionProcessing, x: str, xs: list[str]) -> None:
    """Chooses the schedule that x means."""
    p.scheduler = find_schedule(x).label


def find_schedule(name: str) -> sd_schedulers.Scheduler:
    """Returns the schedule of a name; raises InvalidInput if there is none."""
    found = sd_schedulers.find(name)
    if found is None:
        known = [schedule.label for schedule in sd_schedulers.schedulers]
        raise errors.InvalidInput(
            f"Unknown schedule type: {name}{option_values.nearest(name, known)}", field="script_args"
        )
    return found


def checked(read: Callable[[str], object]) -> Confirm:
    """Refuses what a function that reads a value refuses."""

    def confirm(p: StableDiffusionProcessing, xs: list[str]) -> None:
        """Raises InvalidInput for the first value that cannot be read."""
        for x in xs:
            try:
                read(x)
            except errors.WebuiError as e:
                raise errors.InvalidInput(e.message, field="script_args") from e

    return confirm


def confirm_setting(field: str) -> Confirm:
    """Refuses values that a setting cannot have."""
    return checked(lambda x: runtime_utils.checked_value(field, x))


def one_of(what: str, choices: Callable[[], Iterable[str]]) -> Callable[[str], str]:
    """Returns what reads one of some names, in any letter case."""

    def read(x: str) -> str:
        """Returns the name as it is listed; raises InvalidInput if it is not."""
        try:
            return option_values.one_of(list(choices()), x.strip())
        except ValueError as e:
            raise errors.InvalidInput(f"{what}: {x} {e}", field="script_args") from e

    return read


def confirm_samplers(p: StableDiffusionProcessing, xs: list[str]) -> None:
    """Raises InvalidInput for a name that no sampler has."""
    checked(sd_samplers.read_name)(p, xs)


def confirm_sizes(p: StableDiffusionProcessing, xs: list[str]) -> None:
    """Raises InvalidInput for a text that is no size."""
    for x in xs:
        if size_of(x) is None:
            raise errors.InvalidInput(f"Size: {x!r} is no size like 512x768", field="script_args")


def confirm_styles(p: StableDiffusionProcessing, xs: list[str]) -> None:
    """Raises InvalidInput for a name that no style has; an empty one, or None, is a column without any."""
    names = [name.strip() for x in xs for name in x.split(",")]
    read = one_of("Styles", lambda: shared.prompt_styles.styles)
    checked(read)(p, [name for name in names if name and name not in ("None", *shared.prompt_styles.styles)])


def confirm_checkpoints(p: StableDiffusionProcessing, xs: list[str]) -> None:
    """Raises InvalidInput for a name that fits no checkpoint."""
    for x in xs:
        find_checkpoint(x)


def confirm_checkpoints_or_none(p: StableDiffusionProcessing, xs: list[str]) -> None:
    """Raises InvalidInput for a name that fits no checkpoint and does not mean none either."""
    confirm_checkpoints(p, [x for x in xs if x not in (None, "", "None", "none")])


def confirm_range(min_val: float, max_val: float, axis_label: str) -> Confirm:
    """Refuses values outside of min_val..max_val."""

    def confirm(p: StableDiffusionProcessing, xs: list[float]) -> None:
        """Raises InvalidInput for a value outside of the range."""
        for x in xs:
            if not min_val <= x <= max_val:
                raise errors.InvalidInput(
                    f"{axis_label}: value {x} is out of range {min_val} to {max_val}", field="script_args"
                )

    return confirm


def boolean_choice(reverse: bool = False) -> Callable[[], list[str]]:
    """Returns what lists the texts True and False, the other way round if reverse."""

    def choices() -> list[str]:
        """Returns the two texts."""
        return ["False", "True"] if reverse else ["True", "False"]

    return choices


def checkpoint_choices() -> list[str]:
    """Returns the titles of all checkpoints by name."""
    return sorted(sd_models.checkpoints_list, key=str.casefold)


def sampler_choices() -> list[str]:
    """Returns the names of the samplers that the settings do not hide."""
    return [sampler.name for sampler in sd_samplers.samplers if sampler.name not in opts.hide_samplers]


def hires_upscaler_choices() -> list[str]:
    """Returns the names of what can enlarge latents or images between the passes."""
    return [*shared.latent_upscale_modes, *(upscaler.name for upscaler in shared.sd_upscalers)]


read_hires_upscaler = one_of("Hires upscaler", hires_upscaler_choices)
read_vae = one_of("VAE", lambda: sd_vae.vae_dict)


axis_options: list[AxisOption] = [
    AxisOption("Nothing", str, do_nothing, format_value=format_nothing),
    AxisOption("Seed", int, apply_field("seed")),
    AxisOption("Var. seed", int, apply_field("subseed")),
    AxisOption("Var. strength", float, apply_field("subseed_strength")),
    AxisOption("Steps", int, apply_field("steps")),
    AxisOptionTxt2Img("Hires steps", int, apply_field("hr_second_pass_steps")),
    AxisOption("CFG Scale", float, apply_field("cfg_scale")),
    AxisOptionImg2Img("Image CFG Scale", float, apply_field("image_cfg_scale")),
    AxisOption("Prompt S/R", str, apply_prompt, format_value=format_value),
    AxisOption("Prompt order", str_permutations, apply_order, format_value=format_value_join_list),
    AxisOptionTxt2Img(
        "Sampler",
        str,
        apply_sampler(),
        format_value=format_value,
        confirm=confirm_samplers,
        choices=sampler_choices,
    ),
    AxisOptionTxt2Img(
        "Hires sampler",
        str,
        apply_sampler("hr_"),
        confirm=confirm_samplers,
        choices=sampler_choices,
    ),
    AxisOptionImg2Img(
        "Sampler",
        str,
        apply_sampler(),
        format_value=format_value,
        confirm=confirm_samplers,
        choices=sampler_choices,
    ),
    AxisOption(
        "Checkpoint name",
        str,
        apply_checkpoint,
        format_value=format_remove_path,
        confirm=confirm_checkpoints,
        cost=1.0,
        choices=checkpoint_choices,
    ),
    AxisOption("Negative Guidance minimum sigma", float, apply_field("s_min_uncond")),
    AxisOption("Sigma Churn", float, apply_field("s_churn")),
    AxisOption("Sigma min", float, apply_field("s_tmin")),
    AxisOption("Sigma max", float, apply_field("s_tmax")),
    AxisOption("Sigma noise", float, apply_field("s_noise")),
    AxisOption(
        "Schedule type",
        str,
        apply_schedule,
        confirm=checked(find_schedule),
        choices=lambda: [schedule.label for schedule in sd_schedulers.schedulers],
    ),
    AxisOption("Schedule min sigma", float, apply_override("sigma_min")),
    AxisOption("Schedule max sigma", float, apply_override("sigma_max")),
    AxisOption("Schedule rho", float, apply_override("rho")),
    AxisOption("Beta schedule alpha", float, apply_override("beta_dist_alpha")),
    AxisOption("Beta schedule beta", float, apply_override("beta_dist_beta")),
    AxisOption("Eta", float, apply_field("eta")),
    AxisOption("Clip skip", int, apply_override("CLIP_stop_at_last_layers")),
    AxisOption("Denoising", float, apply_field("denoising_strength")),
    AxisOption("Initial noise multiplier", float, apply_field("initial_noise_multiplier")),
    AxisOption("Extra noise", float, apply_override("img2img_extra_noise")),
    AxisOptionTxt2Img(
        "Hires upscaler",
        str,
        lambda p, x, xs: setattr(p, "hr_upscaler", read_hires_upscaler(x)),
        confirm=checked(read_hires_upscaler),
        choices=hires_upscaler_choices,
    ),
    AxisOptionImg2Img("Cond. Image Mask Weight", float, apply_field("inpainting_mask_weight")),
    AxisOption(
        "VAE",
        str,
        apply_vae,
        confirm=checked(find_vae),
        cost=0.7,
        choices=lambda: ["Automatic", "None", *sd_vae.vae_dict],
    ),
    AxisOption("Styles", str, apply_styles, confirm=confirm_styles, choices=lambda: list(shared.prompt_styles.styles)),
    AxisOption("UniPC Order", int, apply_uni_pc_order, cost=0.5),
    AxisOption(
        "Face restore",
        str,
        apply_face_restore,
        format_value=format_value,
        confirm=checked(one_of("Face restore", lambda: FACE_RESTORE)),
    ),
    AxisOption("Token merging ratio", float, apply_override("token_merging_ratio")),
    AxisOption("Token merging ratio high-res", float, apply_override("token_merging_ratio_hr")),
    AxisOption(
        "Always discard next-to-last sigma",
        str,
        apply_override("always_discard_next_to_last_sigma", boolean=True),
        confirm=confirm_setting("always_discard_next_to_last_sigma"),
        choices=boolean_choice(reverse=True),
    ),
    AxisOption(
        "SGM noise multiplier",
        str,
        apply_override("sgm_noise_multiplier", boolean=True),
        confirm=confirm_setting("sgm_noise_multiplier"),
        choices=boolean_choice(reverse=True),
    ),
    AxisOption(
        "Refiner checkpoint",
        str,
        apply_field("refiner_checkpoint"),
        format_value=format_remove_path,
        confirm=confirm_checkpoints_or_none,
        cost=1.0,
        choices=lambda: ["None", *checkpoint_choices()],
    ),
    AxisOption("Refiner switch at", float, apply_field("refiner_switch_at")),
    AxisOption(
        "RNG source",
        str,
        apply_override("randn_source"),
        confirm=confirm_setting("randn_source"),
        choices=lambda: ["GPU", "CPU", "NV"],
    ),
    AxisOption(
        "FP8 mode",
        str,
        apply_override("fp8_storage"),
        confirm=confirm_setting("fp8_storage"),
        cost=0.9,
        choices=lambda: ["Disable", "Enable for SDXL", "Enable"],
    ),
    AxisOption("Size", str, apply_size, confirm=confirm_sizes),
]

own_axis_options: list[AxisOption] = [
    AxisOption(
        "VAE and text encoders",
        str,
        lambda p, x, xs: p.override_settings.update(forge_additional_modules=read_modules(x)),
        format_value=format_value,
        confirm=checked(read_modules),
        cost=0.9,
        choices=lambda: ["Built in", *sd_modules.module_dict],
    ),
]
"""Axes that v1.10.1 does not have: the last ones, after those of extensions, as requests name an axis by its number."""


@dataclass
class AxisControls:
    """The controls of an axis: what it varies, values to type, values to choose, and the button that fills all in."""

    letter: str
    type: gr.Dropdown
    values: gr.Textbox
    chosen: gr.Dropdown
    fill: gr.Button


class Script(scripts.Script):
    def title(self) -> str:
        """Returns its name in the menu and in the API."""
        return TITLE

    @property
    def current_axis_options(self) -> list[AxisOption]:
        """The axes of the tab, those included that extensions add after the controls are made, as they do without a
        page.
        """
        return [o for o in (*axis_options, *own_axis_options) if o.is_img2img in (None, self.is_img2img)]

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes the controls: what each axis varies and its values, and what is made of the cells."""
        with gr.Row(), gr.Column(scale=19):
            axes = [self.axis_row(letter) for letter in "XYZ"]
        with gr.Row(variant="compact", elem_id="axis_options"):
            with gr.Column():
                draw_legend = gr.Checkbox(label="Draw legend", value=True, elem_id=self.elem_id("draw_legend"))
                no_fixed_seeds = gr.Checkbox(
                    label="Keep -1 for seeds", value=False, elem_id=self.elem_id("no_fixed_seeds")
                )
                with gr.Row():
                    vary_seeds = [self.vary_seeds_box(letter) for letter in "XYZ"]
            with gr.Column():
                include_lone_images = gr.Checkbox(
                    label="Include Sub Images", value=False, elem_id=self.elem_id("include_lone_images")
                )
                include_sub_grids = gr.Checkbox(
                    label="Include Sub Grids", value=False, elem_id=self.elem_id("include_sub_grids")
                )
                csv_mode = gr.Checkbox(
                    label="Use text inputs instead of dropdowns", value=False, elem_id=self.elem_id("csv_mode")
                )
            with gr.Column():
                margin_size = gr.Slider(
                    label="Grid margins (px)",
                    minimum=0,
                    maximum=500,
                    value=0,
                    step=2,
                    elem_id=self.elem_id("margin_size"),
                )
        with gr.Row(variant="compact", elem_id="swap_axes"):
            for first, second in ((0, 1), (1, 2), (0, 2)):
                self.swap_button(axes[first], axes[second])

        self.connect(axes, csv_mode)
        self.infotext_fields = [pasted for axis in axes for pasted in pasted_fields(axis)]
        return [
            *(control for axis in axes for control in (axis.type, axis.values, axis.chosen)),
            draw_legend,
            include_lone_images,
            include_sub_grids,
            no_fixed_seeds,
            *vary_seeds,
            margin_size,
            csv_mode,
        ]

    def axis_row(self, letter: str) -> AxisControls:
        """Makes the controls of an axis."""
        name = letter.lower()
        labels = [option.label for option in self.current_axis_options]
        with gr.Row():
            return AxisControls(
                letter,
                type=gr.Dropdown(
                    label=f"{letter} type",
                    choices=labels,
                    value=labels[1 if letter == "X" else 0],
                    type="index",
                    elem_id=self.elem_id(f"{name}_type"),
                ),
                values=gr.Textbox(label=f"{letter} values", lines=1, elem_id=self.elem_id(f"{name}_values")),
                chosen=gr.Dropdown(
                    label=f"{letter} values", choices=[], value=[], visible=False, multiselect=True, interactive=True
                ),
                fill=ToolButton(
                    value=fill_values_symbol,
                    elem_id=f"xyz_grid_fill_{name}_tool_button",
                    visible=False,
                    tooltip="Fill in all values",
                ),
            )

    def vary_seeds_box(self, letter: str) -> gr.Checkbox:
        """Makes the checkbox for seeds that differ along an axis."""
        return gr.Checkbox(
            label=f"Vary seeds for {letter}",
            value=False,
            min_width=80,
            elem_id=self.elem_id(f"vary_seeds_{letter.lower()}"),
            tooltip=f"Use different seeds for images along the {letter} axis",
        )

    def swap_button(self, first: AxisControls, second: AxisControls) -> None:
        """Makes the button that exchanges what two axes vary."""
        letters = first.letter + second.letter
        button = gr.Button(
            value=f"Swap {first.letter}/{second.letter} axes", elem_id=f"{letters.lower()}_grid_swap_axes_button"
        )
        one = [first.type, first.values, first.chosen]
        other = [second.type, second.values, second.chosen]
        button.click(fn=self.swapped, inputs=one + other, outputs=other + one)

    def swapped(self, *values: Any) -> list[Any]:
        """Returns values of two axes, with their types, which arrive as numbers, as labels."""
        labelled = list(values)
        for place in (0, 3):
            labelled[place] = self.current_axis_options[values[place] or 0].label
        return labelled

    def connect(self, axes: list[AxisControls], csv_mode: gr.Checkbox) -> None:
        """Shows for each axis what its type needs: text, or a menu and the button that chooses all of it."""
        for axis in axes:
            inputs = [axis.type, axis.values, axis.chosen, csv_mode]
            outputs = [axis.fill, axis.values, axis.chosen]
            axis.type.change(fn=self.shown_values, inputs=inputs, outputs=outputs)
            csv_mode.change(fn=self.shown_values, inputs=inputs, outputs=outputs)
            axis.fill.click(fn=self.all_values, inputs=[axis.type, csv_mode], outputs=[axis.values, axis.chosen])

    def shown_values(
        self, axis_type: int | None, text: str, chosen: list[str] | None, csv_mode: bool
    ) -> tuple[Any, Any, Any]:
        """Returns updates for fill button, text and menu; values go over from text to menu and back.

        What stays as it is comes without a value, as the user may be typing by now.
        """
        option = self.current_axis_options[axis_type or 0]
        choices = option.choices() if option.choices is not None else []
        has_menu = bool(choices) and not csv_mode
        new_text, new_chosen = moved_values(text, chosen or [], choices, csv_mode)
        return (
            gr.update(visible=bool(choices)),
            gr.update(visible=not has_menu, **changed_value(text, new_text)),
            gr.update(visible=has_menu, choices=choices, **changed_value(chosen or [], new_chosen)),
        )

    def all_values(self, axis_type: int | None, csv_mode: bool) -> tuple[Any, Any]:
        """Returns updates for text and menu: everything the axis can be."""
        option = self.current_axis_options[axis_type or 0]
        if option.choices is None:
            return gr.update(), gr.update()
        choices = option.choices()
        return (list_to_csv_string(choices), gr.update()) if csv_mode else (gr.update(), choices)

    def axis_option(self, axis_type: int | None) -> AxisOption:
        """Returns what an entry of the type menus varies, the first for none. Raises InvalidInput if there is none."""
        try:
            return self.current_axis_options[axis_type or 0]
        except IndexError as e:
            last = len(self.current_axis_options) - 1
            raise errors.InvalidInput(
                f"There is no axis type {axis_type}: the last is {last}", field="script_args"
            ) from e

    def run(
        self,
        p: StableDiffusionProcessing,
        x_type: int | None,
        x_values: str | None,
        x_values_dropdown: Any,
        y_type: int | None,
        y_values: str | None,
        y_values_dropdown: Any,
        z_type: int | None,
        z_values: str | None,
        z_values_dropdown: Any,
        draw_legend: bool,
        include_lone_images: bool,
        include_sub_grids: bool,
        no_fixed_seeds: bool,
        vary_seeds_x: bool,
        vary_seeds_y: bool,
        vary_seeds_z: bool,
        margin_size: int,
        csv_mode: bool,
    ) -> Processed:
        """Makes the plot, and afterwards loads again what the settings choose, because cells may have changed it."""
        if not no_fixed_seeds:
            fix_seed(p)
        if not opts.return_grid:
            p.batch_size = 1
        axes = tuple(
            read_axis(p, self.axis_option(axis_type), text, chosen, csv_mode, no_fixed_seeds)
            for axis_type, text, chosen in (
                (x_type, x_values, x_values_dropdown),
                (y_type, y_values, y_values_dropdown),
                (z_type, z_values, z_values_dropdown),
            )
        )
        check_size(p, axes)
        bounds.current().check_margin(margin_size)
        options = PlotOptions(
            draw_legend,
            include_lone_images,
            include_sub_grids,
            no_fixed_seeds,
            (vary_seeds_x, vary_seeds_y, vary_seeds_z),
            margin_size,
        )
        try:
            return Plot(p, axes, options).run()
        finally:
            errors.run(load_chosen_model, "loading the model of the settings after an X/Y/Z plot")


def load_chosen_model() -> None:
    """Loads the checkpoint and VAE of the settings."""
    sd_models.reload_model_weights()
    sd_vae.reload_vae_weights()


def moved_values(text: str, chosen: list[str], choices: list[str], csv_mode: bool) -> tuple[str, list[str]]:
    """Returns text and chosen values of an axis as they are where the other of the two is shown from now on."""
    known = [value for value in chosen if value in choices]
    if csv_mode:
        return (list_to_csv_string(known), []) if chosen else (text, known)
    if choices and text:
        return "", [value for value in csv_string_to_list_strip(text) if value in choices]
    return text, known


def changed_value(old: Any, new: Any) -> dict[str, Any]:
    """Returns the part of an update that gives a control its value; none where that stays."""
    return {} if new == old else {"value": new}


def pasted_fields(axis: AxisControls) -> list[tuple[Any, Any]]:
    """Returns what an infotext fills in of an axis."""
    key = f"{axis.letter} Values"
    return [
        (axis.type, f"{axis.letter} Type"),
        (axis.values, key),
        (axis.chosen, lambda parameters: gr.update(value=csv_string_to_list_strip(parameters.get(key, "")))),
    ]


from modules.xyz_plot import AxisInfo, format_value_add_label  # noqa: E402, F401  # A1111 names
