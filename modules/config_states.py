"""state: records of what is installed (the program, extensions, their commits, which are enabled), to go back to."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from datetime import datetime
from typing import Any

from modules import errors, extensions, git_repo, shared
from modules.paths_internal import config_states_dir, script_path

logger = logging.getLogger(__name__)

all_config_states: dict[str, dict[str, Any]] = {}
"""Title ("<name>: <date and time>") -> record, newest first."""

RECORDED_FIELDS = ("name", "path", "enabled", "is_builtin", "remote", "commit_hash", "commit_date", "branch")


def list_config_states() -> dict[str, dict[str, Any]]:
    """Reads all records and returns them by title, newest first. A broken file is reported and left out."""
    os.makedirs(config_states_dir, exist_ok=True)
    found = []
    for name in os.listdir(config_states_dir):
        path = os.path.join(config_states_dir, name)
        if not name.endswith(".json"):
            continue
        try:
            with open(path, encoding="utf8") as file:
                record = json.load(file)
            found.append({**record, "created_at": float(record["created_at"]), "filepath": path})
        except (OSError, ValueError, KeyError, TypeError):
            errors.report(f"Could not read config state {path}", exc_info=True)

    all_config_states.clear()
    for record in sorted(found, key=lambda record: record["created_at"], reverse=True):
        time = datetime.fromtimestamp(record["created_at"]).strftime("%Y-%m-%d %H:%M:%S")
        all_config_states[f"{record.get('name') or 'Config'}: {time}"] = record
    return all_config_states


def get_webui_config() -> dict[str, Any]:
    """Returns where the program itself comes from and where it stands; Nones where git cannot tell."""
    fields = ("remote", "commit_hash", "commit_date", "branch")
    try:
        info = git_repo.describe(script_path) if git_repo.is_checkout(script_path) else None
    except (OSError, ValueError, subprocess.CalledProcessError):
        errors.report(f"Could not read the git repository in {script_path}", exc_info=True)
        info = None
    return {name: getattr(info, name, None) for name in fields}


def get_extension_config() -> dict[str, dict[str, Any]]:
    """Returns the record of every extension, by name."""
    for extension in extensions.extensions:
        extension.read_info_from_repo()
    return {
        extension.name: {
            **{field: getattr(extension, field) for field in RECORDED_FIELDS},
            "have_info_from_repo": extension.have_info_from_repo,
        }
        for extension in extensions.extensions
    }


def get_config() -> dict[str, Any]:
    """Returns a record of how things are now."""
    return {
        "created_at": datetime.now().timestamp(),
        "webui": get_webui_config(),
        "extensions": get_extension_config(),
    }


def restore_webui_config(config: dict[str, Any]) -> None:
    """Moves the checkout of the program to the commit of a record; local changes are lost. Failures are reported."""
    commit = config.get("webui", {}).get("commit_hash")
    if not commit:
        errors.report("This config state does not say at which commit the program was: the program stays as it is")
        return
    try:
        git_repo.fetch_and_reset_hard(script_path, commit)
        logger.info("Restored the program to commit %s", commit)
    except (OSError, subprocess.CalledProcessError):
        errors.report(f"Could not restore the program to commit {commit}", exc_info=True)


def restore_extension_config(config: dict[str, Any]) -> None:
    """Moves all extensions but the built-in ones to their commits of a record, and enables those that were enabled.

    Extensions that are not in the record are disabled. What was done is logged, failures too; the settings are saved.
    """
    recorded = config.get("extensions", {})
    extensions.list_extensions()
    disabled = []
    for extension in extensions.extensions:
        record = recorded.get(extension.name)
        if not extension.is_builtin:
            logger.info("%s: %s", extension.name, _restore_extension(extension, record))
        is_enabled = record["enabled"] if record else extension.is_builtin and extension.enabled
        if not is_enabled:
            disabled.append(extension.name)
    shared.opts.disabled_extensions = disabled
    shared.opts.save(shared.config_filename)


def _restore_extension(extension: extensions.Extension, record: dict[str, Any] | None) -> str:
    """Moves one extension to its recorded commit and says what came of it."""
    if record is None:
        return "is not in the config state, disabled"
    commit = record.get("commit_hash")
    if not commit:
        return "left as it is, the config state knows no commit of it"
    extension.read_info_from_repo()
    if extension.commit_hash == commit:
        return f"is at {commit[:8]} already"
    try:
        extension.fetch_and_reset_hard(commit)
    except (OSError, subprocess.CalledProcessError):
        errors.report(f"Could not restore extension {extension.name} to {commit}", exc_info=True)
        return "left as it is"
    return f"restored from {extension.version or 'an unknown commit'} to {commit[:8]}"
