"""job: what a generation job is asked for, as data: the fields of a request, each declared once, and `JobRequest`.

Nothing here knows the run: no model, no module, no function, no control of the page. What a request field means to
other parts of the program stands in its declaration (`asked`), and they read it from there: the API its ranges, the
infotext reader and the page's form the key a value is pasted from, the txt2img tab what it sends of the hires pass.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from modules.infotext import SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULER

SANE = 1_000_000
"""Largest amount of a number that has no range of its own; far beyond any use, but no overflow either."""

ANY_SEED = (-(2**63), 2**64 - 1)


def asked(default: Any, **facts: Any) -> Any:
    """Declares one request field, with what the rest of the program has to know of it.

    infotext: the key its value is read from. limits: smallest value, and the largest or the setting that holds it.
    page: True where the txt2img tab sends it with the hires pass. same: the entry of its menu that stands for None.
    api: False where the API does not take it.
    """
    return field(default=default, metadata=facts)


def facts(fields_type: type, fact: str) -> dict[str, Any]:
    """Returns field name -> the value of one fact, for the fields that state it."""
    return {f.name: f.metadata[fact] for f in dataclasses.fields(fields_type) if fact in f.metadata}


@dataclass(repr=False)
class RequestFields:
    """What any job can be asked for. The names and their order are those of the constructor that extensions and API
    clients know; "None resolves to a setting" means that the value is taken from the settings when the run starts.
    """

    sd_model: object = asked(None, api=False)
    outpath_samples: str = asked(None, api=False)
    outpath_grids: str = asked(None, api=False)
    prompt: str = asked("", infotext="Prompt")
    prompt_for_display: str = asked(None, api=False)
    negative_prompt: str = asked("", infotext="Negative prompt")
    styles: list[str] = asked(None, infotext="Styles array")
    seed: int = asked(-1, limits=ANY_SEED)
    subseed: int = asked(-1, limits=ANY_SEED)
    subseed_strength: float = 0
    seed_resize_from_h: int = asked(-1, limits=(-SANE, "api_max_size"))
    seed_resize_from_w: int = asked(-1, limits=(-SANE, "api_max_size"))
    seed_enable_extras: bool = asked(True, api=False)
    sampler_name: str = None
    scheduler: str = None
    batch_size: int = asked(1, limits=(1, "api_max_batch_size"), infotext="Batch size")
    n_iter: int = asked(1, limits=(1, "api_max_n_iter"))
    steps: int = asked(50, limits=(1, "api_max_steps"))
    cfg_scale: float = asked(7.0, infotext="CFG scale")
    width: int = asked(512, limits=(8, "api_max_size"), infotext="Size-1")
    height: int = asked(512, limits=(8, "api_max_size"), infotext="Size-2")
    restore_faces: bool = None
    tiling: bool = None
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    extra_generation_params: dict[str, Any] = asked(None, api=False)
    overlay_images: list = asked(None, api=False)
    eta: float = None
    do_not_reload_embeddings: bool = asked(False, api=False)
    denoising_strength: float = asked(None, limits=(0, SANE), infotext="Denoising strength")
    ddim_discretize: str = asked(None, api=False)
    s_min_uncond: float = None
    s_churn: float = None
    s_tmax: float = None
    s_tmin: float = None
    s_noise: float = None
    override_settings: dict[str, Any] = None
    override_settings_restore_afterwards: bool = True
    sampler_index: int = asked(None, api=False)
    refiner_checkpoint: str = None
    refiner_switch_at: float = None
    disable_extra_networks: bool = False
    firstpass_image: Image.Image = None
    comments: dict = None


@dataclass(repr=False)
class Txt2ImgFields(RequestFields):
    """What a job that starts from noise can be asked for, its hires pass included."""

    enable_hr: bool = False
    denoising_strength: float = asked(0.75, limits=(0, SANE), infotext="Denoising strength")
    firstphase_width: int = asked(0, limits=(0, "api_max_size"))
    firstphase_height: int = asked(0, limits=(0, "api_max_size"))
    hr_scale: float = asked(2.0, limits=(0, SANE), infotext="Hires upscale", page=True)
    hr_upscaler: str = asked(None, infotext="Hires upscaler", page=True)
    hr_second_pass_steps: int = asked(0, limits=(0, "api_max_steps"), infotext="Hires steps", page=True)
    hr_resize_x: int = asked(0, limits=(0, "api_max_size"), infotext="Hires resize-1", page=True)
    hr_resize_y: int = asked(0, limits=(0, "api_max_size"), infotext="Hires resize-2", page=True)
    hr_checkpoint_name: str = asked(None, infotext="Hires checkpoint", page=True, same=SAME_CHECKPOINT)
    hr_sampler_name: str = asked(None, infotext="Hires sampler", page=True, same=SAME_SAMPLER)
    hr_scheduler: str = asked(None, infotext="Hires schedule type", page=True, same=SAME_SCHEDULER)
    hr_prompt: str = asked("", infotext="Hires prompt", page=True)
    hr_negative_prompt: str = asked("", infotext="Hires negative prompt", page=True)
    force_task_id: str = None


@dataclass(repr=False)
class Img2ImgFields(RequestFields):
    """What a job that starts from an image can be asked for."""

    init_images: list = None
    resize_mode: int = 0
    denoising_strength: float = asked(0.75, limits=(0, SANE), infotext="Denoising strength")
    image_cfg_scale: float = asked(None, infotext="Image CFG scale")
    mask: Any = None
    mask_blur_x: int = asked(4, limits=(-SANE, "api_max_size"))
    mask_blur_y: int = asked(4, limits=(-SANE, "api_max_size"))
    mask_blur: int = asked(None, limits=(-SANE, "api_max_size"), infotext="Mask blur")
    mask_round: bool = True
    inpainting_fill: int = asked(0, infotext="Masked content")
    inpaint_full_res: bool = asked(True, infotext="Inpaint area")
    inpaint_full_res_padding: int = asked(0, infotext="Masked area padding")
    inpainting_mask_invert: int = asked(0, infotext="Mask mode")
    initial_noise_multiplier: float = None
    latent_mask: Image.Image = None
    force_task_id: str = None


FIELDS: dict[str, type[RequestFields]] = {"txt2img": Txt2ImgFields, "img2img": Img2ImgFields}
"""Kind of job -> what it can be asked for."""


@dataclass(frozen=True)
class ImageBatch:
    """The images a batch job is run on, one after the other, and where its results go."""

    source: str | list[str]
    """A directory, or the files themselves."""
    output_dir: str = ""
    """Gets the results under the names of their sources; empty: as for any job."""
    mask_dir: str = ""
    """Masks by equal stem, or one for all."""
    scale_by: float | None = None
    """Makes each result so many times as large as its source; None: the request's width and height."""
    png_info: list[str] | None = None
    """Parameters to take from the infotext of each source; None: none."""
    png_info_dir: str = ""
    """Where files with those infotexts lie; empty: they are the sources' own."""


@dataclass(frozen=True)
class JobRequest:
    """One generation job as it was asked for. It can be pickled, and sent to another process with the same scripts."""

    kind: str
    """A key of `FIELDS`."""
    fields: dict[str, Any]
    """What the request states of `FIELDS[kind]`, images as PIL; the rest keeps its default. Output folders that are not
    stated are those of the settings."""
    script: str | None = None
    """Name of the selected script."""
    script_values: dict[str, list[Any]] = field(default_factory=dict)
    """Values of scripts' controls by the script's name; what is left out keeps its default."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """What is set on the processing object once the scripts have put their values there, and so wins over those."""
    batch: ImageBatch | None = None
    user: str | None = None
    task_id: str | None = None
    is_api: bool = False

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings this job has values of its own for."""
        return self.fields.get("override_settings") or {}
