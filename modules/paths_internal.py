"""base: where things are, found before anything else is imported. Stdlib only, so that the launcher can use it.

Importing it appends COMMANDLINE_ARGS to sys.argv, because the flags in there take part in finding the folders.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path


def normalized_filepath(filepath: str) -> str:
    """Returns filepath absolute, without resolving links."""
    return str(Path(filepath).absolute())


def split_arguments(line: str) -> list[str]:
    """Splits a command line as a shell does; on Windows a backslash is a path separator, not an escape."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    if os.name == "nt":
        lexer.escape = ""
    return list(lexer)


commandline_args = os.environ.get("COMMANDLINE_ARGS", "")
sys.argv += split_arguments(commandline_args)

cwd = os.getcwd()
modules_path = os.path.dirname(os.path.realpath(__file__))
script_path = os.path.dirname(modules_path)
packages_path = os.path.join(modules_path, "packages")

sd_configs_path = os.path.join(script_path, "configs")
sd_default_config = os.path.join(sd_configs_path, "v1-inference.yaml")
sd_model_file = os.path.join(script_path, "model.ckpt")
default_sd_model_file = sd_model_file

parser_pre = argparse.ArgumentParser(add_help=False)
parser_pre.add_argument("--data-dir", type=normalized_filepath, default=script_path)
parser_pre.add_argument("--models-dir", type=normalized_filepath, default=None)
cmd_opts_pre = parser_pre.parse_known_args()[0]

data_path: str = cmd_opts_pre.data_dir
models_path: str = cmd_opts_pre.models_dir or os.path.join(data_path, "models")
extensions_dir = os.path.join(data_path, "extensions")
extensions_builtin_dir = os.path.join(script_path, "extensions-builtin")
config_states_dir = os.path.join(data_path, "config_states")
default_output_dir = os.path.join(data_path, "outputs")

# Shipped with the program: the checkpoint that is there from the first start, and the tokenizer of CLIP.
embedded_dir = os.path.join(modules_path, "embedded")

roboto_ttf_file = os.path.join(modules_path, "Roboto-Regular.ttf")
