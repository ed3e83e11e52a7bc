"""job: what a run knows: what was asked for, and what its stages have worked out so far.

These are the bases of the processing classes; stages take them, as they need the data only.
"""

from __future__ import annotations

import logging
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modules import shared
from modules.job.request import Img2ImgFields, RequestFields, Txt2ImgFields

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from modules.opts_snapshot import OptsSnapshot
    from modules.rng import ImageRNG
    from modules.runtime_context import RuntimeContext
    from modules.sd_models_types import WebuiSdModel
    from modules.sd_samplers_common import Sampler

logger = logging.getLogger(__name__)


COMMON = ("comments", "cached_c", "cached_uc", "cached_hr_c", "cached_hr_uc", "notes_made")
"""What copies of a job keep in common: the remarks shown below the result of all of them, and encoded prompts with what
encoding told of them.
"""


def copy_of_job(p: RunState) -> RunState:
    """Returns a job that starts from what this one is now, for one of several images, cells or lines.

    Lists and dicts are its own, so that nothing a run, a hook or a script puts there reaches the next; what is in them
    is shared.
    """
    job = copy(p)
    for name, value in vars(p).items():
        if type(value) in (dict, list) and name not in COMMON:
            vars(job)[name] = value.copy()
    job.notes_told = []
    return job


@dataclass(repr=False)
class RunState(RequestFields):
    """The request of a run (`RequestFields`, the constructor's arguments), and the rest, which its stages fill.

    Hooks may change any of it, and put attributes of their own beside. `opts_snapshot` and `runtime_context` are None
    until a run has begun. `scripts` is the runner whose hooks the run calls, `sampler` the sampler of the pass that
    runs. `notes_made`: what encoding prompts has told this job and those it is a copy of, `notes_told`: this job.
    """

    token_merging_ratio = 0
    token_merging_ratio_hr = 0

    if TYPE_CHECKING:  # it is a property, see below
        sd_model: WebuiSdModel

    scripts_value: Any = field(default=None, init=False)
    script_args_value: list[Any] = field(default=None, init=False)
    scripts_setup_complete: bool = field(default=False, init=False)

    sampler: Sampler | None = field(default=None, init=False)
    is_using_inpainting_conditioning: bool = field(default=False, init=False)
    paste_to: tuple | None = field(default=None, init=False)

    is_hr_pass: bool = field(default=False, init=False)

    c: tuple = field(default=None, init=False)
    uc: tuple = field(default=None, init=False)

    rng: ImageRNG | None = field(default=None, init=False)
    step_multiplier: int = field(default=1, init=False)
    color_corrections: list = field(default=None, init=False)

    all_prompts: list[str] = field(default=None, init=False)
    all_negative_prompts: list[str] = field(default=None, init=False)
    all_seeds: list[int] = field(default=None, init=False)
    all_subseeds: list[int] = field(default=None, init=False)
    iteration: int = field(default=0, init=False)
    main_prompt: str = field(default=None, init=False)
    main_negative_prompt: str = field(default=None, init=False)

    prompts: list[str] = field(default=None, init=False)
    negative_prompts: list[str] = field(default=None, init=False)
    seeds: list[int] = field(default=None, init=False)
    subseeds: list[int] = field(default=None, init=False)
    extra_network_data: dict[str, Any] = field(default=None, init=False)

    notes_made: list = field(default_factory=list, init=False)
    notes_told: list = field(default_factory=list, init=False)

    user: str = field(default=None, init=False)

    sd_model_name: str = field(default=None, init=False)
    sd_model_hash: str = field(default=None, init=False)
    sd_vae_name: str = field(default=None, init=False)
    sd_vae_hash: str = field(default=None, init=False)
    sd_module_names: tuple = field(default=(), init=False)

    is_api: bool = field(default=False, init=False)

    opts_snapshot: OptsSnapshot | None = field(default=None, init=False)
    runtime_context: RuntimeContext | None = field(default=None, init=False)

    def __post_init__(self):
        if self.sampler_index is not None:
            logger.warning("sampler_index is deprecated and has no effect; use sampler_name")
        self.comments = {}
        if self.styles is None:
            self.styles = []
        self.sampler_noise_scheduler_override = None
        self.extra_generation_params = self.extra_generation_params or {}
        self.override_settings = self.override_settings or {}
        self.script_args_value = {}
        self.refiner_checkpoint_info = None
        if not self.seed_enable_extras:
            self.subseed, self.subseed_strength = -1, 0
            self.seed_resize_from_h = self.seed_resize_from_w = 0

    @property
    def scripts(self) -> Any:
        """The runner whose hooks this job calls."""
        return self.scripts_value

    @scripts.setter
    def scripts(self, value: Any) -> None:
        self.scripts_value = value
        self._setup_scripts_once()

    @property
    def script_args(self) -> list[Any]:
        """The flat argument list all scripts take their slices from."""
        return self.script_args_value

    @script_args.setter
    def script_args(self, value: Any) -> None:
        self.script_args_value = value
        self._setup_scripts_once()

    def _setup_scripts_once(self) -> None:
        if self.scripts_value and self.script_args_value and not self.scripts_setup_complete:
            self.setup_scripts()

    def setup_scripts(self) -> None:
        """Calls the scripts' `setup` hooks."""
        self.scripts_setup_complete = True
        self.scripts.setup_scrips(self, is_ui=not self.is_api)

    def comment(self, text: str) -> None:
        """Adds a remark that is shown below the result; the same text once only."""
        self.comments[text] = 1


RunState.sd_model = property(
    lambda self: shared.sd_model,
    lambda self, value: None,
    doc="The loaded model, always; what a constructor passes for it is accepted and ignored, as callers expect.",
)


@dataclass(repr=False)
class Txt2ImgState(Txt2ImgFields, RunState):
    """The same of a run that starts from noise, its hires pass included."""

    hr_checkpoint_info: dict = field(default=None, init=False)
    hr_upscale_to_x: int = field(default=0, init=False)
    hr_upscale_to_y: int = field(default=0, init=False)
    truncate_x: int = field(default=0, init=False)
    truncate_y: int = field(default=0, init=False)
    applied_old_hires_behavior_to: tuple = field(default=None, init=False)
    latent_scale_mode: dict = field(default=None, init=False)
    hr_c: tuple | None = field(default=None, init=False)
    hr_uc: tuple | None = field(default=None, init=False)
    all_hr_prompts: list[str] = field(default=None, init=False)
    all_hr_negative_prompts: list[str] = field(default=None, init=False)
    hr_prompts: list[str] = field(default=None, init=False)
    hr_negative_prompts: list[str] = field(default=None, init=False)
    hr_extra_network_data: list = field(default=None, init=False)


@dataclass(repr=False)
class Img2ImgState(Img2ImgFields, RunState):
    """The same of a run that starts from an image."""

    image_mask: Any = field(default=None, init=False)

    nmask: torch.Tensor = field(default=None, init=False)
    image_conditioning: torch.Tensor = field(default=None, init=False)
    init_img_hash: str = field(default=None, init=False)
    mask_for_overlay: Image.Image = field(default=None, init=False)
    init_latent: torch.Tensor = field(default=None, init=False)
