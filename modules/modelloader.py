"""engine: the list of upscalers, made of every subclass of `Upscaler` that has been imported; and the names under which
extensions look for model files.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from modules import (  # noqa: F401  # the upscalers that ship, made known by being imported
    dat_model,
    errors,
    esrgan_model,
    hat_model,
    realesrgan_model,
    scunet_model,
    shared,
    swinir_model,
)
from modules.upscaler import Upscaler, UpscalerLanczos, UpscalerNearest, UpscalerNone, UpscalerResize
from modules.upscaler_utils import SpandrelUpscaler

logger = logging.getLogger(__name__)

ABSTRACT = {SpandrelUpscaler, UpscalerResize}


def load_upscalers() -> None:
    """Fills `shared.sd_upscalers`: None, Lanczos and Nearest, then all models of all upscalers by name."""
    paths = vars(shared.cmd_opts)
    found = []
    # A class defined again, by an extension that was reloaded, takes the place of its former self.
    for upscaler_class in {str(cls): cls for cls in upscaler_classes(Upscaler)}.values():
        kind = upscaler_class.__name__.lower().replace("upscaler", "")
        path = paths.get(f"{kind}_models_path")
        try:
            upscaler = upscaler_class(path)
        except Exception:  # one of an extension that fails must not take the others with it
            errors.report(f"Unable to set up the upscaler {upscaler_class.__name__}", exc_info=True)
            continue
        upscaler.user_path = path
        upscaler.model_download_path = path or upscaler.model_path
        found += upscaler.scalers

    without_model = (UpscalerNone, UpscalerLanczos, UpscalerNearest)
    shared.sd_upscalers[:] = sorted(
        found, key=lambda data: "" if isinstance(data.scaler, without_model) else data.name.lower()
    )


def upscaler_classes(base: type[Upscaler]) -> Iterator[type[Upscaler]]:
    """Yields the concrete subclasses of base, in the order of their definition."""
    for cls in base.__subclasses__():
        if cls not in ABSTRACT:
            yield cls
        yield from upscaler_classes(cls)


from modules.upscaler_files import friendly_name, load_file_from_url, load_models, load_spandrel_model  # noqa: E402, F401  # A1111 names
