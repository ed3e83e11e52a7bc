"""state: named prompt texts (styles) in CSV files.

Reading and writing them, applying them to a prompt, finding them again in one.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from modules import errors, util


class PromptStyle(NamedTuple):
    """A style: texts for prompt and negative prompt, and the file it is kept in.

    A divider between files has no texts.
    """

    name: str
    prompt: str | None
    negative_prompt: str | None
    path: str | None = None


DIVIDER_PATH = "do_not_save"
DIVIDER_WIDTH = 40
LONGEST_TEXT = 2**31 - 1
csv.field_size_limit(LONGEST_TEXT)  # by default a longer text than 128 KiB ends the reading of a file


def merge_prompts(style_prompt: str | None, prompt: str) -> str:
    """Puts a prompt where the style says {prompt}, else the style behind the prompt after a comma."""
    style_prompt = style_prompt or ""
    if "{prompt}" in style_prompt:
        return style_prompt.replace("{prompt}", prompt)
    return ", ".join(part for part in (prompt.strip(), style_prompt.strip()) if part)


def apply_styles_to_prompt(prompt: str, styles: Iterable[str | None]) -> str:
    """Applies the texts of several styles, one after the other."""
    for style in styles:
        prompt = merge_prompts(style, prompt)
    return prompt


def extract_style_text_from_prompt(style_text: str | None, prompt: str) -> tuple[bool, str]:
    """Undoes merge_prompts: (whether the style is in the prompt, the prompt without it)."""
    style_text = (style_text or "").strip()
    prompt = prompt.strip()
    if "{prompt}" in style_text:
        left, _, right = style_text.partition("{prompt}")
        if len(prompt) >= len(left) + len(right) and prompt.startswith(left) and prompt.endswith(right):
            return True, prompt[len(left) : len(prompt) - len(right)]
    elif prompt.endswith(style_text):
        return True, prompt.removesuffix(style_text).removesuffix(", ")
    return False, prompt


def extract_original_prompts(style: PromptStyle, prompt: str, negative_prompt: str) -> tuple[bool, str, str]:
    """Takes a style out of both prompts: (True, the rest of each) if it is in both, else (False, both as they were).

    A style without texts is in none.
    """
    if not style.prompt and not style.negative_prompt:
        return False, prompt, negative_prompt
    in_prompt, prompt_left = extract_style_text_from_prompt(style.prompt, prompt)
    in_negative, negative_left = extract_style_text_from_prompt(style.negative_prompt, negative_prompt)
    if in_prompt and in_negative:
        return True, prompt_left, negative_left
    return False, prompt, negative_prompt


class StyleDatabase:
    """All styles by name, in the order of their files.

    paths: CSV files or patterns with * and ?; the first is where styles without a file go. Files that do not exist are
    made when styles are saved.
    """

    def __init__(self, paths: Sequence[str | Path]):
        self.no_style = PromptStyle("None", "", "", None)
        self.styles: dict[str, PromptStyle] = {}
        self.paths: list[str | Path] = list(paths)
        self.all_styles_files: list[Path] = []
        self.prompt_fields = [field for field in PromptStyle._fields if field != "path"]
        self.default_path = first_file(self.paths[0])
        self.reload()

    def reload(self) -> None:
        """Reads all files again; with several of them each begins with a divider."""
        files = [self.default_path, *(file for path in self.paths for file in files_of(path))]
        self.all_styles_files = list(dict.fromkeys(files))
        self.styles.clear()
        for file in self.all_styles_files:
            if len(self.all_styles_files) > 1:
                divider = f" {file.stem.upper()} ".center(DIVIDER_WIDTH, "-")
                self.styles[divider] = PromptStyle(divider, None, None, DIVIDER_PATH)
            if file.is_file():
                self.load_from_csv(file)

    def load_from_csv(self, path: str | Path) -> None:
        """Adds the styles of a file with columns name, prompt (or text, as it once was called) and negative_prompt.

        Rows whose name starts with # are comments. A file that cannot be read is reported and left out.
        """
        try:
            text = decoded(Path(path).read_bytes())
            for row in csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True):
                name = row.get("name")
                if name and not name.startswith("#"):
                    prompt = row["prompt"] if "prompt" in row else row["text"]
                    self.styles[name] = PromptStyle(name, prompt or "", row.get("negative_prompt") or "", str(path))
        except (OSError, ValueError, KeyError, csv.Error):
            errors.report(
                f"Could not read styles from {path}: expected columns name,prompt,negative_prompt", exc_info=True
            )

    def get_style_paths(self) -> set[str]:
        """Returns every file that styles are kept in. Styles without a file are given the default one."""
        for name, style in self.styles.items():
            if not style.path:
                self.styles[name] = style._replace(path=str(self.default_path))
        return {str(self.default_path), *(style.path for style in self.styles.values())} - {DIVIDER_PATH}

    def get_style_prompts(self, styles: Iterable[str]) -> list[str | None]:
        """Returns the prompt texts of the named styles; unknown names count as empty styles."""
        return [self.styles.get(name, self.no_style).prompt for name in styles]

    def get_negative_style_prompts(self, styles: Iterable[str]) -> list[str | None]:
        """Returns the negative prompt texts of the named styles; unknown names count as empty styles."""
        return [self.styles.get(name, self.no_style).negative_prompt for name in styles]

    def apply_styles_to_prompt(self, prompt: str, styles: Iterable[str]) -> str:
        """Returns the prompt with the named styles."""
        return apply_styles_to_prompt(prompt, self.get_style_prompts(styles))

    def apply_negative_styles_to_prompt(self, prompt: str, styles: Iterable[str]) -> str:
        """Returns the negative prompt with the named styles."""
        return apply_styles_to_prompt(prompt, self.get_negative_style_prompts(styles))

    def save_styles(self, path: str | None = None) -> None:
        """Writes every style to its file, after copying the file to <file>.bak.

        Path is ignored; older callers give it.
        """
        files = self.get_style_paths() | {str(file) for file in self.all_styles_files if file.is_file()}
        for file in sorted(files):
            if os.path.exists(file):
                shutil.copy(file, f"{file}.bak")
            text = io.StringIO()
            writer = csv.DictWriter(text, fieldnames=self.prompt_fields, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(style._asdict() for style in self.styles.values() if style.path == file)
            util.write_text_atomically(file, text.getvalue(), encoding="utf-8-sig", newline="")

    def extract_styles_from_prompt(self, prompt: str, negative_prompt: str) -> tuple[list[str], str, str]:
        """Finds styles in a pair of prompts.

        (names in the order they were applied, prompt and negative prompt without them).
        """
        extracted: list[str] = []
        remaining = list(self.styles.values())
        found = True
        while found:
            found = False
            for style in remaining:
                found, prompt, negative_prompt = extract_original_prompts(style, prompt, negative_prompt)
                if found:
                    remaining.remove(style)
                    extracted.append(style.name)
                    break
        return extracted[::-1], prompt, negative_prompt


def decoded(content: bytes) -> str:
    """Returns the text of a file: UTF-8, or as spreadsheets write it, UTF-16 with its mark or Windows-1252."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", errors="replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", errors="replace")
    return text.replace("\0", "")


def is_pattern(path: str | Path) -> bool:
    """Says whether a path stands for several files."""
    return any(wildcard in os.path.basename(path) for wildcard in "*?")


def files_of(path: str | Path) -> list[Path]:
    """Returns files a pattern matches now, sorted; a plain path stands for itself, there or not."""
    path = Path(path)
    return sorted(path.parent.glob(path.name)) if is_pattern(path) else [path]


def first_file(path: str | Path) -> Path:
    """Returns the file new styles go to: the first one of a pattern, or styles.csv in its folder when there is none."""
    return next(iter(files_of(path)), Path(path).parent / "styles.csv")
