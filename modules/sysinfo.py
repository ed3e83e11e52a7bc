"""base: facts about this computer and this installation for bug reports, as JSON text with a checksum.

Reads files and other processes only, so that it works where the program itself does not start.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import threading
from importlib import metadata
from pathlib import Path
from typing import Any

from modules import errors, launch_utils, paths_internal, settings_file, timer
from modules.cmd_args import parser

checksum_token = "The text this line stands in has not been changed"

environment_whitelist = {
    "GIT",
    "INDEX_URL",
    "WEBUI_LAUNCH_LIVE_OUTPUT",
    "PYTHONPATH",
    "TORCH_INDEX_URL",
    "TORCH_COMMAND",
    "REQS_FILE",
    "XFORMERS_PACKAGE",
    "IGNORE_CMD_ARGS_ERRORS",
    "SD_WEBUI_RESTART",
    "SD_WEBUI_LOG_LEVEL",
    "SD_WEBUI_CACHE_DIR",
    "HSA_OVERRIDE_GFX_VERSION",
    "HF_ENDPOINT",
    "GRADIO_ANALYTICS_ENABLED",
    "CUDA_VISIBLE_DEVICES",
    "PYTORCH_ALLOC_CONF",
    "OMP_NUM_THREADS",
    "venv_dir",
    "VENV_DIR",
}

# Flags whose value is a secret, or tells where something secret is.
SECRET_FLAGS = frozenset(
    [
        "--gradio-auth",
        "--gradio-auth-path",
        "--api-auth",
        "--ngrok",
        "--ngrok-options",
        "--tls-keyfile",
        "--tls-certfile",
    ]
)
SECRET_SETTING = re.compile(r"token|password|secret|_key$|api_key", re.IGNORECASE)
SECRET_NAME = re.compile(r"auth(?!or)|key(?!board|frame)|token|passw|pwd|secret|credential", re.IGNORECASE)
"""What is found in the names of flags that hold secrets."""

HIDDEN = "<hidden>"

asking_torch = threading.Lock()
"""Held by the one who asks, so that many requests start one process."""

re_checksum = re.compile(r'"Checksum": "([0-9a-fA-F]{64})"')


def default_filename() -> str:
    """Returns a name for the file, with the time in it."""
    return f"sysinfo-{datetime.datetime.now():%Y-%m-%d-%H-%M}.json"


def pretty_bytes(num: float, suffix: str = "B") -> str:
    """Returns a number of bytes with two or three digits and its unit, as in "1.5GB"."""
    for unit in ["", "K", "M", "G", "T", "P", "E", "Z"]:
        if abs(num) < 1024 or unit == "Z":
            break
        num /= 1024
    return f"{num:.0f}{unit}{suffix}" if unit == "" or num >= 10 else f"{num:.1f}{unit}{suffix}"


def get() -> str:
    """Returns all facts as JSON text; `check` tells whether it was changed afterwards."""
    text = json.dumps(get_dict(), indent=4, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return text.replace(checksum_token, digest, 1)


def check(x: str) -> bool:
    """Says whether text of `get` is unchanged; line ends do not count."""
    match = re_checksum.search(x)
    if match is None:
        return False
    text = x.replace("\r", "").strip().replace(match.group(1), checksum_token, 1)
    return hashlib.sha256(text.encode()).hexdigest() == match.group(1)


def get_dict() -> dict[str, Any]:
    """Returns all facts, by their titles."""
    settings_path = launch_utils.args.ui_settings_file
    return {
        "Platform": platform.platform(),
        "Python": platform.python_version(),
        "Version": launch_utils.git_tag(),
        "Commit": launch_utils.commit_hash(),
        "Git status": git_status(paths_internal.script_path),
        "Script path": paths_internal.script_path,
        "Data path": paths_internal.data_path,
        "Extensions dir": paths_internal.extensions_dir,
        "Checksum": checksum_token,
        "Commandline": get_argv(),
        "Torch env info": get_torch_sysinfo(),
        "Exceptions": errors.get_exceptions(),
        "CPU": get_cpu_info(),
        "RAM": get_ram_info(),
        "Extensions": get_extensions(enabled=True),
        "Inactive extensions": get_extensions(enabled=False),
        "Environment": get_environment(),
        "Config": get_config(settings_path),
        "Startup": timer.startup_record,
        "Packages": get_packages(),
    }


def get_cpu_info() -> dict[str, Any]:
    """Returns the model of the processor and how many cores it has."""
    info: dict[str, Any] = {"model": platform.processor() or platform.machine(), "count logical": os.cpu_count()}
    try:
        import psutil
    except ImportError as e:
        return info | {"error": str(e)}
    return info | {"count physical": psutil.cpu_count(logical=False)}


def get_ram_info() -> dict[str, str]:
    """Returns the amounts of main memory, as texts with their units."""
    try:
        import psutil
    except ImportError as e:
        return {"error": str(e)}
    memory = psutil.virtual_memory()
    fields = ("total", "used", "free", "active", "inactive", "buffers", "cached", "shared")
    return {field: pretty_bytes(getattr(memory, field)) for field in fields if hasattr(memory, field)}


def get_packages() -> list[str]:
    """Returns name==version of every installed package."""
    return sorted({f"{package.name}=={package.version}" for package in metadata.distributions()}, key=str.lower)


def get_environment() -> dict[str, str]:
    """Returns the environment variables that matter here and hold no secrets."""
    return {name: _without_login(value) for name, value in sorted(os.environ.items()) if name in environment_whitelist}


def get_argv() -> list[str]:
    """Returns the command line with the values of secret flags hidden."""
    result: list[str] = []
    hide_next = False
    for arg in sys.argv:
        name, is_pair, _ = arg.partition("=")
        if not arg.startswith("--"):
            result.append(HIDDEN if hide_next else arg)
            continue
        is_secret = is_secret_flag(_full_flag(name))
        result.append(f"{name}={HIDDEN}" if is_secret and is_pair else arg)
        hide_next = is_secret and not is_pair
    return result


def is_secret_flag(name: str) -> bool:
    """Says whether a flag, given as --name or name_of_its_value, holds a secret by its name; extensions have theirs."""
    flag = "--" + name.removeprefix("--").replace("_", "-")
    return flag in SECRET_FLAGS or SECRET_NAME.search(flag) is not None


def without_secret(name: str, value: Any) -> Any:
    """Returns the value of a flag, or one of its kind that tells no more than that the flag is set."""
    if not is_secret_flag(name) or isinstance(value, bool) or not value:
        return value
    if isinstance(value, dict):
        return dict.fromkeys(value, HIDDEN)
    if isinstance(value, list | tuple):
        return [HIDDEN] * len(value)
    return None if isinstance(value, int | float) else HIDDEN


def _without_login(text: str) -> str:
    """Returns text with user and password taken out of the addresses in it."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def _full_flag(name: str) -> str:
    """Returns the flag that a prefix stands for; the name itself if it is a flag, or no flag."""
    flags = [option for action in parser._actions for option in action.option_strings]
    found = [flag for flag in flags if flag.startswith(name)] if name.startswith("--") else []
    return found[0] if name not in flags and len(found) == 1 else name


def get_torch_sysinfo() -> dict[str, Any] | str:
    """Returns what torch says about itself and its devices."""
    try:
        with asking_torch:
            info = torch_environment()
    except (OSError, ValueError, subprocess.TimeoutExpired) as e:
        return f"not available: {e}"
    return {key: value.splitlines() if "\n" in str(value) else value for key, value in info.items()}


@functools.cache
def torch_environment() -> dict[str, Any]:
    """Returns what torch says, asked once in another process, which takes seconds. Raises OSError, ValueError or
    TimeoutExpired, and is asked again then.
    """
    code = "import json; from torch.utils.collect_env import get_env_info; print(json.dumps(get_env_info()._asdict()))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120, encoding="utf8")
    return json.loads(answer.stdout)


def run_git(path: str | Path, *args: str) -> str | None:
    """Returns what git prints in a folder; None if there is no git or no checkout."""
    try:
        answer = subprocess.run([launch_utils.git, "-C", str(path), *args], capture_output=True, encoding="utf8")
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def git_status(path: str | Path) -> str | None:
    """Returns the branch and the changed files of a checkout; None for a folder that is none."""
    if not (Path(path) / ".git").exists():
        return None
    return run_git(path, "status", "--short", "--branch")


def get_info_from_repo_path(path: Path) -> dict[str, Any]:
    """Returns name, path and, of a git checkout, commit, branch and address of an extension."""
    is_checkout = (path / ".git").exists()
    remote = run_git(path, "remote", "get-url", "origin") if is_checkout else None
    return {
        "name": path.name,
        "path": str(path),
        "version": run_git(path, "rev-parse", "HEAD") if is_checkout else None,
        "branch": run_git(path, "branch", "--show-current") if is_checkout else None,
        "remote": _without_login(remote) if remote else remote,
    }


def get_extensions(*, enabled: bool) -> list[dict[str, Any]]:
    """Returns the user's extensions that the settings leave enabled, or those they do not."""
    folder = Path(paths_internal.extensions_dir)
    if not folder.is_dir():
        return []
    active = set(settings_file.enabled_extensions(launch_utils.args.ui_settings_file, str(folder)))
    found = [path for path in sorted(folder.iterdir()) if path.is_dir() and (path.name in active) == enabled]
    return [get_info_from_repo_path(path) for path in found]


def get_config(settings_path: str | None = None) -> dict[str, Any]:
    """Returns the stored settings with those that look like secrets hidden."""
    settings = settings_file.read_settings(settings_path or launch_utils.args.ui_settings_file)
    return {key: HIDDEN if SECRET_SETTING.search(key) and value else value for key, value in settings.items()}
