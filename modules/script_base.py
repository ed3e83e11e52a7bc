"""job: what a script is: the base classes, and the objects its hooks get. scripts.py loads and runs them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradio.blocks import Block
    from PIL import Image
    from torch import Tensor

    from modules.hooks import MaskBlendArgs
    from modules.processing import Processed, StableDiffusionProcessing

AlwaysVisible = object()
"""What show() returns for a script that takes part in every job of its tab."""


@dataclass
class PostSampleArgs:
    """The argument ps of post_sample: latents (B, C, h, w), or images a hires pass has decoded already."""

    samples: Tensor


@dataclass
class PostprocessImageArgs:
    """The argument pp of postprocess_image and postprocess_image_after_composite."""

    image: Image.Image


@dataclass
class PostProcessMaskOverlayArgs:
    """The argument ppmo of postprocess_maskoverlay: place of the image in its batch, mask (L) and overlay (RGBA)."""

    index: int
    mask_for_overlay: Image.Image | None
    overlay_image: Image.Image | None


@dataclass
class PostprocessBatchListArgs:
    """The argument pp of postprocess_batch_list: images (3, H, W) in 0..1."""

    images: list[Tensor]


@dataclass
class OnComponent:
    """The argument of callbacks that wait for one component."""

    component: Block


class Script:
    """Base of all scripts.

    A script whose show() is AlwaysVisible takes part in every job of its tab, through hooks. Any other is chosen from a
    menu and carries the job out in run(). Each hook gets the values of the script's own controls as args;
    hooks.SCRIPT_HOOKS says when it is called and what it may change.
    """

    name: str | None = None
    """The title in lower case, once the controls are made."""

    section: str | None = None
    """Part of the form the controls stand in, one of the page's or one of the script's own; None is the script area."""

    filename: str | None = None
    args_from: int | None = None
    args_to: int | None = None
    """The script's values are args[args_from:args_to] of all scripts' values."""

    alwayson: bool = False
    is_txt2img: bool = False
    is_img2img: bool = False
    tabname: str | None = None
    """txt2img or img2img; set, as the above, before show() is called."""

    group: Any = None
    """The block around the controls."""

    create_group: bool = True
    """Set to False to do without that block; only where the script is AlwaysVisible."""

    infotext_fields: list[Any] | None = None
    """What to fill from a pasted infotext: (component, key or function of all keys), or infotext_utils.PasteField."""

    paste_field_names: list[str] | None = None
    """Infotext keys that "send to" buttons pass on."""

    api_info: Any = None
    """What GET /sdapi/v1/script-info says of the script."""

    on_before_component_elem_id: list[tuple[str, Callable[[OnComponent], object]]] | None = None
    on_after_component_elem_id: list[tuple[str, Callable[[OnComponent], object]]] | None = None

    setup_for_ui_only: bool = False
    """Whether setup() is skipped for jobs of the API."""

    controls: list[Any] | None = None
    """What ui() returned."""

    def title(self) -> str:
        """Returns the name of the script in the menu and in the API."""
        raise NotImplementedError(f"the class {type(self).__name__} has no title()")

    def ui(self, is_img2img: bool) -> list[Any] | None:
        """Makes the controls and returns them; their values become args."""

    def show(self, is_img2img: bool) -> Any:
        """Returns False if it is not on this tab, True if it is in the menu, AlwaysVisible if it is always on."""
        return True

    def run(self, p: StableDiffusionProcessing, *args: Any) -> Processed | None:
        """Carries out a job for which the script was chosen. None: it is carried out as without the script."""

    def setup(self, p: StableDiffusionProcessing, *args: Any) -> None:
        """Is called when a job was described and nothing of it has run. May change p."""

    def before_process(self, p: StableDiffusionProcessing, *args: Any) -> None:
        """Is called before override_settings are laid over the settings and the model is chosen. May change p."""

    def process(self, p: StableDiffusionProcessing, *args: Any) -> None:
        """Is called when seeds and prompts of all images are laid out. May change p and its lists."""

    def before_process_batch(self, p: StableDiffusionProcessing, *args: Any, **kwargs: Any) -> None:
        """Is called for each batch, before extra networks are read from its prompts. May change p and its lists."""

    def after_extra_networks_activate(self, p: StableDiffusionProcessing, *args: Any, **kwargs: Any) -> None:
        """Is called for each batch, after its extra networks were applied. May change the model."""

    def process_before_every_sampling(self, p: StableDiffusionProcessing, *args: Any, **kwargs: Any) -> None:
        """Is called before each pass over the sampler. May change p, and x, noise, c and uc in place."""

    def process_batch(self, p: StableDiffusionProcessing, *args: Any, **kwargs: Any) -> None:
        """Is called for each batch, before its prompts are encoded. May change p and its lists."""

    def postprocess_batch(self, p: StableDiffusionProcessing, *args: Any, **kwargs: Any) -> None:
        """Is called with the decoded images of each batch, a tensor (B, 3, H, W) in 0..1. May change it in place."""

    def postprocess_batch_list(
        self, p: StableDiffusionProcessing, pp: PostprocessBatchListArgs, *args: Any, **kwargs: Any
    ) -> None:
        """Is called with a list of the images of each batch. May change it; other lists have to stay as long."""

    def on_mask_blend(self, p: StableDiffusionProcessing, mba: MaskBlendArgs, *args: Any) -> None:
        """Is called when inpainting blends latents: at each step, and at the end. May set mba.blended_latent."""

    def post_sample(self, p: StableDiffusionProcessing, ps: PostSampleArgs, *args: Any) -> None:
        """Is called with the latents of each batch. May set ps.samples."""

    def postprocess_image(self, p: StableDiffusionProcessing, pp: PostprocessImageArgs, *args: Any) -> None:
        """Is called for each image, before colour correction and overlay. May set pp.image."""

    def postprocess_maskoverlay(
        self, p: StableDiffusionProcessing, ppmo: PostProcessMaskOverlayArgs, *args: Any
    ) -> None:
        """Is called for each inpainted image, before the original is laid over it. May set both images of ppmo."""

    def postprocess_image_after_composite(
        self, p: StableDiffusionProcessing, pp: PostprocessImageArgs, *args: Any
    ) -> None:
        """Is called for each image, after the overlay, before it is saved. May set pp.image."""

    def postprocess(self, p: StableDiffusionProcessing, processed: Processed, *args: Any) -> None:
        """Is called when a run has ended. May change the images and texts of processed."""

    def before_hr(self, p: StableDiffusionProcessing, *args: Any) -> None:
        """Is called before the hires pass. May change p."""

    def before_component(self, component: Block, **kwargs: Any) -> None:
        """Is called before a Gradio component of the tab is made. May make others."""

    def after_component(self, component: Block, **kwargs: Any) -> None:
        """Is called after a Gradio component of the tab was made. May make others, and attach events."""

    def on_before_component(self, callback: Callable[[OnComponent], object], *, elem_id: str) -> None:
        """Has callback called before the component with this id is made.

        Asked for in __init__ or show(), it sees the whole tab; in ui(), only what is made after the script area.
        """
        self.on_before_component_elem_id = self.on_before_component_elem_id or []
        self.on_before_component_elem_id.append((elem_id, callback))

    def on_after_component(self, callback: Callable[[OnComponent], object], *, elem_id: str) -> None:
        """Has callback called as `on_before_component` does, after the component was made."""
        self.on_after_component_elem_id = self.on_after_component_elem_id or []
        self.on_after_component_elem_id.append((elem_id, callback))

    def describe(self) -> str:
        """Returns a text about the script; shown nowhere."""
        return ""

    def elem_id(self, item_id: str) -> str:
        """Returns the element id of a control: script_[<tab>_]<title>_<item_id>; the tab is there if it is on both."""
        title = re.sub(r"[^a-z_0-9]", "", re.sub(r"\s", "_", self.title().lower()))
        return f"script_{self._tab_prefix()}{title}_{item_id}"

    def _tab_prefix(self) -> str:
        is_on_both_tabs = self.show(True) == self.show(False)
        return f"{'img2img' if self.is_img2img else 'txt2img'}_" if is_on_both_tabs else ""


class ScriptBuiltinUI(Script):
    """Base of scripts that are parts of the form itself: they stand where the tab wants them and set p from the page.

    Jobs of the API bring their values in request fields.
    """

    setup_for_ui_only = True

    def elem_id(self, item_id: str) -> str:
        """Returns the element id of a control: [<tab>_]<item_id>."""
        return f"{self._tab_prefix()}{item_id}"

    def show(self, is_img2img: bool) -> Any:
        """Returns AlwaysVisible: it is a part of its form."""
        return AlwaysVisible
