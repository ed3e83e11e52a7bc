"""engine: model files of the image tools (upscalers, face restorers): finding, downloading and loading them.

Networks come from spandrel, which reads weights without executing what is in them.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import torch

from modules import shared, torchvision_ops
from modules.errors import ModelLoadError, NotFound

if TYPE_CHECKING:
    import spandrel

logger = logging.getLogger(__name__)


def load_file_from_url(
    url: str,
    *,
    model_dir: str,
    progress: bool = True,
    file_name: str | None = None,
    hash_prefix: str | None = None,
) -> str:
    """Returns the path of the file of url in model_dir, downloading it if it is not there yet.

    file_name: its name there, the last part of url if not given. hash_prefix: how its SHA-256 has to start.
    Raises NotFound if it cannot be downloaded.
    """
    path = os.path.abspath(os.path.join(model_dir, file_name or os.path.basename(urlparse(url).path)))
    if not os.path.exists(path):
        os.makedirs(model_dir, exist_ok=True)
        url = url.replace("https://huggingface.co", shared.hf_endpoint)
        logger.info("Downloading %s to %s", url, path)
        try:
            torch.hub.download_url_to_file(url, path, hash_prefix=hash_prefix, progress=progress)
        except (OSError, RuntimeError) as e:
            raise NotFound(f"cannot download {url} ({e}); put the file at {path} by hand") from e
    return path


def load_models(
    model_path: str,
    model_url: str | None = None,
    command_path: str | None = None,
    ext_filter: Sequence[str] | None = None,
    download_name: str | None = None,
    ext_blacklist: Sequence[str] | None = None,
    hash_prefix: str | None = None,
) -> list[str]:
    """Returns the model files under command_path and model_path, in that order, each once.

    ext_filter, ext_blacklist: endings to keep, and to leave out. Without any file: with model_url, that URL; with
    download_name too, the file downloaded under that name (hash_prefix: how its SHA-256 has to start).
    """
    found: dict[str, None] = {}
    for place in dict.fromkeys(filter(None, [command_path, model_path])):
        for path in shared.walk_files(place, ext_filter):
            if os.path.islink(path) and not os.path.exists(path):
                logger.warning("Skipping broken symbolic link %s", path)
            elif not (ext_blacklist and path.endswith(tuple(ext_blacklist))):
                found[path] = None

    if found or model_url is None:
        return list(found)
    if download_name is None:
        return [model_url]
    return [load_file_from_url(model_url, model_dir=model_path, file_name=download_name, hash_prefix=hash_prefix)]


def friendly_name(file: str) -> str:
    """Returns the name shown for a model file or URL: its last part without the extension."""
    return os.path.splitext(os.path.basename(urlparse(file).path if file.startswith("http") else file))[0]


@functools.cache
def has_extra_architectures() -> bool:
    """Makes spandrel importable, with the architectures of spandrel-extra-arches; False if that is not installed."""
    torchvision_ops.declare_missing()
    try:
        import spandrel_extra_arches
    except ImportError:
        return False
    spandrel_extra_arches.install(ignore_duplicates=True)
    return True


def load_spandrel_model(
    path: str | os.PathLike[str],
    *,
    device: str | torch.device | None,
    prefer_half: bool = False,
    dtype: str | torch.dtype | None = None,
    expected_architecture: str | None = None,
) -> spandrel.ModelDescriptor:
    """Loads the network in a file onto a device, ready to run.

    prefer_half: use float16 if the architecture works with it. dtype: the type of its weights. expected_architecture: a
    different one is reported and used all the same. Raises ModelLoadError if spandrel does not know the file.
    """
    has_extra_architectures()
    import spandrel

    try:
        descriptor = spandrel.ModelLoader(device=device).load_from_file(path)
    except FileNotFoundError as e:
        raise NotFound(f"model file {path} does not exist") from e
    except Exception as e:  # whatever a damaged or foreign file makes its reader raise
        raise ModelLoadError(f"{path} cannot be loaded as a model: {e}") from e

    architecture = descriptor.architecture.name
    if expected_architecture and architecture != expected_architecture:
        logger.warning("Model %s is %s, not %s as expected", path, architecture, expected_architecture)
    if prefer_half and descriptor.supports_half:
        descriptor.model.half()
    elif dtype is not None:
        descriptor.model.to(dtype=dtype)
    descriptor.model.eval()
    logger.debug("Loaded %s from %s (device %s, half %s)", architecture, path, device, prefer_half)
    return descriptor
