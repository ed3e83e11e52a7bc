"""engine: names of saved images: filename patterns, what is allowed in a name, and numbers that no two files share.

A pattern is text with [token] groups; a token may carry arguments, as in [datetime<%Y><UTC>].
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import os
import re
import string
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from PIL import Image

from modules import errors, sd_samplers, sd_vae, shared
from modules.image_files import cut_name, translated_errors
from modules.shared_cmd_options import cmd_opts
from modules.whole_files import claimed

invalid_filename_chars = "/" if cmd_opts.unix_filenames_sanitization else '#<>:"/\\|?*\n\r\t'
invalid_filename_prefix = " "
invalid_filename_postfix = " ."
max_filename_part_length = cmd_opts.filenames_max_length

# White space and ASCII punctuation other than the backslash part the words of [prompt_words].
re_nonletters = re.compile(rf"[\s{re.escape(string.punctuation.replace(chr(92), ''))}]+")
re_pattern = re.compile(r"\[([^\[\]]+)\]")
re_pattern_arg = re.compile(r"(.*)<([^>]*)>$")

# What a token that has nothing to say returns: it vanishes together with the literal text before it.
NOTHING_AND_SKIP_PREVIOUS_TEXT = object()

NUMBERING_ATTEMPTS = 500


def options_of(p: Any) -> Any:
    """Returns the settings that hold for files of the job p: its snapshot while it runs, else those of the program."""
    return getattr(p, "opts_snapshot", None) or shared.opts


def sanitize_filename_part(text: str | None, replace_spaces: bool = True) -> str | None:
    """Returns text as it may stand in a file name, cut to --filenames-max-length characters."""
    if text is None:
        return None
    if replace_spaces:
        text = text.replace(" ", "_")
    text = text.translate({ord(char): "_" for char in invalid_filename_chars})
    text = text.lstrip(invalid_filename_prefix)[:max_filename_part_length]
    return text.rstrip(invalid_filename_postfix)


@functools.cache
def get_scheduler_str(sampler_name: str, scheduler_name: str) -> str:
    """Returns the schedule type for file names; Automatic becomes the sampler's own schedule where it has one."""
    if scheduler_name == "Automatic":
        config = sd_samplers.find_sampler_config(sampler_name)
        scheduler_name = config.options.get("scheduler", "Automatic")
    return scheduler_name.capitalize()


@functools.cache
def get_sampler_scheduler_str(sampler_name: str, scheduler_name: str) -> str:
    """Returns the name of a sampler followed by its schedule type, for file names."""
    return f"{sampler_name} {get_scheduler_str(sampler_name, scheduler_name)}"


def get_sampler_scheduler(p: Any, sampler: bool) -> str | object:
    """Returns the schedule type of a job, with the sampler's name before it if sampler is true."""
    if not hasattr(p, "scheduler") or not hasattr(p, "sampler_name"):
        return NOTHING_AND_SKIP_PREVIOUS_TEXT
    describe = get_sampler_scheduler_str if sampler else get_scheduler_str
    return sanitize_filename_part(describe(p.sampler_name, p.scheduler), replace_spaces=False)


class FilenameGenerator:
    """Fills filename patterns for one image of a job.

    p: the job, or None. seed, prompt: of this image. image: PIL. zip: for an archive of several images.
    replacements: the tokens; extensions may add to it. A function gets the generator and the token's arguments; text it
    returns is inserted, None leaves the token as it is.
    """

    replacements: ClassVar[dict[str, Callable[..., Any]]] = {
        "basename": lambda self: self.basename or "img",
        "seed": lambda self: self.seed if self.seed is not None else "",
        "seed_first": lambda self: self.seed if self.p.batch_size == 1 else self.p.all_seeds[0],
        "seed_last": lambda self: NOTHING_AND_SKIP_PREVIOUS_TEXT if self.p.batch_size == 1 else self.p.all_seeds[-1],
        "steps": lambda self: self.p and self.p.steps,
        "cfg": lambda self: self.p and self.p.cfg_scale,
        "width": lambda self: self.image.width,
        "height": lambda self: self.image.height,
        "styles": lambda self: self.styles(),
        "sampler": lambda self: self.p and sanitize_filename_part(self.p.sampler_name, replace_spaces=False),
        "sampler_scheduler": lambda self: self.p and get_sampler_scheduler(self.p, True),
        "scheduler": lambda self: self.p and get_sampler_scheduler(self.p, False),
        "model_hash": lambda self: getattr(self.p, "sd_model_hash", None) or shared.sd_model.sd_model_hash,
        "model_name": lambda self: sanitize_filename_part(
            shared.sd_model.sd_checkpoint_info.name_for_extra, replace_spaces=False
        ),
        "date": lambda self: datetime.datetime.now().strftime("%Y-%m-%d"),
        "datetime": lambda self, *args: self.datetime(*args),
        "job_timestamp": lambda self: getattr(self.p, "job_timestamp", shared.state.job_timestamp),
        "prompt_hash": lambda self, *args: self.string_hash(self.prompt, *args),
        "negative_prompt_hash": lambda self, *args: self.string_hash(self.p.negative_prompt, *args),
        "full_prompt_hash": lambda self, *args: self.string_hash(f"{self.p.prompt} {self.p.negative_prompt}", *args),
        "prompt": lambda self: sanitize_filename_part(self.prompt),
        "prompt_no_styles": lambda self: self.prompt_no_style(),
        "prompt_spaces": lambda self: sanitize_filename_part(self.prompt, replace_spaces=False),
        "prompt_words": lambda self: self.prompt_words(),
        "batch_number": lambda self: self.batch_number(),
        "batch_size": lambda self: self.p.batch_size,
        "generation_number": lambda self: self.generation_number(),
        "hasprompt": lambda self, *args: self.hasprompt(*args),
        "clip_skip": lambda self: self.options.CLIP_stop_at_last_layers,
        "denoising": lambda self: (
            self.p.denoising_strength if self.p and self.p.denoising_strength else NOTHING_AND_SKIP_PREVIOUS_TEXT
        ),
        "user": lambda self: self.p.user,
        "vae_filename": lambda self: self.get_vae_filename(),
        "none": lambda self: "",
        "image_hash": lambda self, *args: self.image_hash(*args),
    }
    default_time_format = "%Y%m%d%H%M%S"

    def __init__(
        self,
        p: Any,
        seed: int | None,
        prompt: str | None,
        image: Image.Image,
        zip: bool = False,
        basename: str | None = "",
    ):
        self.p = p
        self.seed = seed
        self.prompt = prompt
        self.image = image
        self.zip = zip
        self.basename = basename
        self.options = options_of(p)

    def styles(self) -> str | None:
        """Returns the names of the styles, "None" without any."""
        if self.p is None:
            return None
        names = ", ".join(style for style in self.p.styles if style != "None") or "None"
        return sanitize_filename_part(names, replace_spaces=False)

    def batch_number(self) -> int | object:
        """Returns the place of the image in its batch, from 1; nothing in a batch of one or a zip."""
        if self.p.batch_size == 1 or self.zip:
            return NOTHING_AND_SKIP_PREVIOUS_TEXT
        return self.p.batch_index + 1

    def generation_number(self) -> int | object:
        """Returns the place of the image in its job, from 1; nothing in a job of one or a zip."""
        if (self.p.n_iter == 1 and self.p.batch_size == 1) or self.zip:
            return NOTHING_AND_SKIP_PREVIOUS_TEXT
        return self.p.iteration * self.p.batch_size + self.p.batch_index + 1

    def get_vae_filename(self) -> str:
        """Returns the name of the loaded VAE file up to its first dot."""
        if sd_vae.loaded_vae_file is None:
            return "NoneType"
        return os.path.basename(sd_vae.loaded_vae_file).lstrip(".").split(".")[0]

    def hasprompt(self, *args: str) -> str | None:
        """Returns, for each argument "word|default", the word where the prompt has it and else the default."""
        if self.p is None or self.prompt is None:
            return None
        lower = self.prompt.lower()
        found = ""
        for arg in args:
            expected, _, default = arg.partition("|")
            expected = expected.lower()
            default = default.split("|")[0]
            found += (expected if expected in lower else default) if arg else ""
        return sanitize_filename_part(found)

    def prompt_no_style(self) -> str | None:
        """Returns the prompt without the texts that its styles added."""
        if self.p is None or self.prompt is None:
            return None
        prompt = self.prompt
        for style in shared.prompt_styles.get_style_prompts(self.p.styles):
            for part in (style or "").split("{prompt}"):
                prompt = prompt.replace(part, "").replace(", ,", ",").strip().strip(",")
        return sanitize_filename_part(prompt, replace_spaces=False)

    def prompt_words(self) -> str | None:
        """Returns the first words of the prompt, as many as directories_max_prompt_words says."""
        words = [word for word in re_nonletters.split(self.prompt or "") if word] or ["empty"]
        count = self.options.directories_max_prompt_words
        return sanitize_filename_part(" ".join(words[:count]), replace_spaces=False)

    def datetime(self, *args: str) -> str | None:
        """Returns the time in the format args[0] and time zone args[1]; where one makes no sense the usual is taken."""
        time_format = args[0] if args and args[0] else self.default_time_format
        try:
            zone = ZoneInfo(args[1]) if len(args) > 1 else None
        except (ValueError, OSError, LookupError):
            zone = None
        now = datetime.datetime.now(zone)
        try:
            text = now.strftime(time_format)
        except ValueError:
            text = now.strftime(self.default_time_format)
        return sanitize_filename_part(text, replace_spaces=False)

    def image_hash(self, *args: str) -> str:
        """Returns the SHA-256 of the pixels, cut to args[0] digits if given."""
        length = int(args[0]) if args and args[0] else None
        return hashlib.sha256(self.image.tobytes()).hexdigest()[:length]

    def string_hash(self, text: str, *args: str) -> str:
        """Returns the SHA-256 of text, cut to args[0] (default 8) digits."""
        length = int(args[0]) if args and args[0] else 8
        return hashlib.sha256(text.encode()).hexdigest()[:length]

    def apply(self, x: str) -> str:
        """Returns the pattern x with its tokens filled in; what is no token stays as it is."""
        result = ""
        end = 0
        for match in re_pattern.finditer(x):
            text, end = x[end : match.start()], match.end()
            replacement = self._replace(match.group(1))
            if replacement is not NOTHING_AND_SKIP_PREVIOUS_TEXT:
                result += f"{text}{replacement}"
        return result + x[end:]

    def _replace(self, token: str) -> Any:
        """Returns what stands for a token; the bare token itself if it is unknown, failed or says None."""
        name, args = token, []
        while name.endswith(">"):
            head, opening, arg = name[:-1].rpartition("<")
            if not opening or ">" in arg:
                break
            name, args = head, [arg, *args]

        function = self.replacements.get(name.lower())
        replacement = None
        if function is not None:
            try:
                replacement = function(self, *args)
            except Exception:  # extensions add functions; a file gets a name whatever they do
                errors.report(f"Error adding [{name}] to filename", exc_info=True)
        return f"[{name}]" if replacement is None else replacement


def number_prefix(number: int, basename: str | None) -> str:
    """Returns how the name of a numbered file starts."""
    return f"{basename}-{number:04}" if basename else f"{number:05}"


def numbered_names(path: str, basename: str | None) -> Iterator[tuple[str, int]]:
    """Yields what in the folder path has a number, and the number.

    A number is what stands before the first "-" of a name, after "<basename>-" where there is a basename. A folder has
    one only if it is written like ours, as the patterns "[date]/[seed]" make it: one called 2024-03-05 is not number
    2024.
    """
    prefix = f"{basename}-" if basename else ""
    width = len(number_prefix(0, basename)) - len(prefix)
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name.removeprefix(prefix)
            if not entry.name.startswith(prefix) or not name[:1].isdecimal():
                continue
            number, dash, _ = name.partition("-")
            if not dash:
                number = os.path.splitext(number)[0]
            if number.isdecimal() and ((dash and len(number) == width) or not entry.is_dir()):
                yield entry.name, int(number)


def get_next_sequence_number(path: str, basename: str | None) -> int:
    """Returns the number after the highest in the folder path, 0 for none."""
    return max((number for _, number in numbered_names(path, basename)), default=-1) + 1


@contextmanager
def reserved_number(path: str, basename: str | None) -> Iterator[int]:
    """Yields a number that nothing in the folder path has, and that nobody else is given while the block runs.

    The reservation is a file of its own, "<number>.tmp", so it holds between processes. The folder is read again once
    it is made, because another process may have written a file of that number in between. Raises NotSaved for a folder
    that cannot be written to.
    """
    for _ in range(NUMBERING_ATTEMPTS):
        number = get_next_sequence_number(path, basename)
        marker = f"{number_prefix(number, basename)}.tmp"
        with _reservation(os.path.join(path, marker)) as is_ours:
            if is_ours and (number, False) not in {(n, name == marker) for name, n in numbered_names(path, basename)}:
                yield number
                return
    raise errors.WebuiError(f"no free number for a file was found in {path}")


@contextmanager
def unused_name(path: str, is_taken: Callable[[str], bool] = os.path.exists) -> Iterator[str]:
    """Yields path, or path with -1, -2, ... before its extension: a name that no file has and nobody else is given.

    is_taken: tells of a path whether it, or what belongs to it, is there. Raises NotSaved for a folder that cannot be
    written to.
    """
    stem, extension = os.path.splitext(path)
    candidate, suffix = path, 0
    while True:
        if not is_taken(candidate):
            with _reservation(f"{candidate}.tmp") as is_ours:
                if is_ours and not is_taken(candidate):
                    yield candidate
                    return
        suffix += 1
        candidate = f"{stem}-{suffix}{extension}"


@contextmanager
def _reservation(path: str) -> Iterator[bool]:
    """Yields whether the file path, which reserves a name, is ours until the block ends."""
    with ExitStack() as until_the_end:
        with translated_errors(os.path.dirname(path)):
            is_ours = until_the_end.enter_context(claimed(path))
        yield is_ours


def shorten_filename(path: str) -> str:
    """Returns path with its last part cut to what file systems take."""
    stem, extension = os.path.splitext(path)
    folder, name = os.path.split(stem)
    return os.path.join(folder, cut_name(name, extension)) + extension
