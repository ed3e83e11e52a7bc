"""face: which files the page may have: the table of places, the checks an address has to pass, and the headers of the
answer.

Every way to a file of the server goes through `find`: the addresses `file=...`, and paths that come as values of
components.
"""

from __future__ import annotations

import functools
import mimetypes
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradio import utils as gradio_utils
from gradio.data_classes import _StaticFiles
from PIL import Image

from modules import errors, extensions, images, shared
from modules.paths import data_path, models_path, script_path
from modules.paths_internal import config_states_dir, default_output_dir, extensions_builtin_dir, extensions_dir
from modules.shared_options import OUTPUT_FOLDERS
from modules.util import FileStamp

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".gif", ".bmp", ".jxl"})
VIDEOS = frozenset({".mp4", ".webm"})
TEXTS = frozenset({".txt", ".json", ".csv"})
RESULTS = IMAGES | VIDEOS | TEXTS | {".zip"}
"""What jobs and buttons write to output folders."""

CODE = frozenset({".py", ".pyc", ".pyd", ".pyw", ".so", ".dll", ".exe", ".sh", ".bat", ".cmd", ".ps1", ".ipynb"})
KEYS = frozenset({".env", ".pem", ".key", ".crt", ".pfx", ".p12", ".db", ".sqlite", ".sqlite3"})
PRIVATE = CODE | KEYS
"""Never sent, whatever place they lie in."""

MEDIA_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".txt": "text/plain",
    ".csv": "text/plain",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".avif": "image/avif",
}
"""Types that the registry of the operating system may lack or have wrong."""

HARMLESS_TYPES = re.compile(r"(image|audio|video|font)/(?!svg)[\w.+-]+|text/plain|application/json")
"""What a browser shows without running anything."""

SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self'"

MODEL_FLAGS = ("ckpt_dir", "vae_dir", "embeddings_dir", "hypernetwork_dir", "lora_dir", "lyco_dir_backcompat")


@dataclass(frozen=True)
class Place:
    """A folder, or one file, that the page may have.

    suffixes: of the files it may have; None stands for all but PRIVATE ones. is_code: the files belong to the program
    or to an extension, so that its pages and drawings may run scripts.
    """

    path: str
    suffixes: frozenset[str] | None = None
    is_code: bool = False
    is_chosen: bool = False


@dataclass(frozen=True)
class PageFile:
    """A file the page may have. path: absolute, links followed."""

    path: str
    is_code: bool

    @property
    def media_type(self) -> str:
        """The type the file is sent as."""
        suffix = os.path.splitext(self.path)[1].lower()
        return MEDIA_TYPES.get(suffix) or mimetypes.guess_type(self.path)[0] or "application/octet-stream"

    @property
    def is_inline(self) -> bool:
        """Whether a browser may show it instead of saving it."""
        return self.is_code or self.media_type == "image/svg+xml" or bool(HARMLESS_TYPES.fullmatch(self.media_type))

    def headers(self) -> dict[str, str]:
        """Returns headers that keep what users have put there from running in the page's name."""
        return {"X-Content-Type-Options": "nosniff"} | ({} if self.is_code else {"Content-Security-Policy": SANDBOX})


def places() -> Iterator[Place]:
    """Yields everything the page may have, code first; settings and flags may change it at any time."""
    for name in ("javascript", "html", "localizations", "script.js"):
        yield Place(os.path.join(script_path, name), is_code=True)
    for folder in (extensions_dir, extensions_builtin_dir, *(extension.path for extension in extensions.extensions)):
        yield Place(folder, is_code=True)
    yield Place(os.path.join(data_path, "user.css"), is_code=True)

    for folder in dict.fromkeys((script_path, data_path)):
        yield Place(os.path.join(folder, "notification.mp3"))
        yield Place(os.path.join(folder, "tmp"), TEXTS)  # where extensions leave lists for their scripts
    for folder in (default_output_dir, *(shared.opts.get_default(name) for name in OUTPUT_FOLDERS)):
        yield Place(folder, RESULTS)
    for name in OUTPUT_FOLDERS:
        yield Place(getattr(shared.opts, name), IMAGES, is_chosen=True)
    for folder in (models_path, *(getattr(shared.cmd_opts, name, None) or "" for name in MODEL_FLAGS)):
        yield Place(folder, IMAGES | VIDEOS)  # previews
    for folder in (gradio_utils.get_upload_folder(), *_StaticFiles.all_paths):
        yield Place(str(folder))
    for folder in shared.cmd_opts.gradio_allowed_path or []:
        if os.path.abspath(folder) != data_path:  # the flag's default, which would give away settings and models
            yield Place(folder)


def blocked_paths() -> list[str]:
    """Returns what is never sent though it may lie in one of the places: settings, logins, keys, states, the cache."""
    flags = ("ui_settings_file", "ui_config_file", "gradio_auth_path", "tls_keyfile", "tls_certfile")
    files = [getattr(shared.cmd_opts, name, None) for name in flags]
    folders = [os.path.join(data_path, "cache"), config_states_dir]
    return [os.path.abspath(path) for path in (*files, *folders) if path]


def allowed_paths() -> list[str]:
    """Returns folders and files from which functions of the page may return files to Gradio."""
    return list(dict.fromkeys(os.path.abspath(place.path) for place in places() if place.path))


def is_inside(path: str, directory: str) -> bool:
    """Says whether a path is a directory or lies in it, links followed."""
    path, directory = os.path.realpath(path), os.path.realpath(directory)
    return path == directory or path.startswith(os.path.join(directory, ""))


def absolute_path(path: str) -> str:
    """Returns the file a `file=` address means: relative ones lie in the folder of the program."""
    return os.path.abspath(os.path.join(script_path, path))


def is_plain(path: str) -> bool:
    """Says whether an address can be looked up without harm: no control characters, no way up, and none of Windows'
    network paths, devices, streams and names with an ignored end, which would pass for something else or call another
    host.
    """
    drive, rest = os.path.splitdrive(path)
    parts = re.split(r"[/\\]", rest) if os.name == "nt" else path.split("/")
    is_network = re.match(r"[/\\]{2}", path) is not None or len(drive) > 2
    is_odd = any(part == ".." or (os.name == "nt" and (":" in part or part != part.rstrip(". "))) for part in parts)
    return not (is_network or is_odd or re.search(r"[\x00-\x1f\x7f]", path))


def has_hidden_part(path: str, root: str) -> bool:
    """Says whether a file is hidden, or in a hidden folder below root, which may be the file itself."""
    parts = Path(path).relative_to(root).parts or (os.path.basename(path),)
    return any(part.startswith(".") for part in parts)


def fits(path: str, place: Place) -> bool:
    """Says whether a file, links followed, is one of a place."""
    root = os.path.realpath(place.path)
    if not is_inside(path, root) or has_hidden_part(path, root):
        return False
    suffix = os.path.splitext(path)[1].lower()
    is_sent = suffix not in PRIVATE and (place.suffixes is None or suffix in place.suffixes)
    return is_sent and (not place.is_chosen or is_result(path))


def is_result(path: str) -> bool:
    """Says whether a file is an image that holds the parameters of a job."""
    try:
        return _has_parameters(path, FileStamp.of(path))
    except OSError:
        return False


@functools.lru_cache(maxsize=4096)
def _has_parameters(path: str, stamp: FileStamp) -> bool:
    try:
        with images.read(path) as image:
            text, _ = images.read_info_from_image(image)
    except (OSError, SyntaxError, ValueError, errors.WebuiError, Image.DecompressionBombError):
        return False
    return text is not None and "Steps: " in text


def find(path: str) -> PageFile | None:
    """Returns the file at a `file=` address or path, if the page may have it; None does not tell whether it exists."""
    if not path or not is_plain(path):
        return None
    real = os.path.realpath(absolute_path(path))
    place = next((place for place in places() if place.path and fits(real, place)), None)
    if place is None or not os.path.isfile(real) or any(is_inside(real, blocked) for blocked in blocked_paths()):
        return None
    return PageFile(real, place.is_code)
