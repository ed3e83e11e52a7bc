"""base: asks git about a checkout on disk, and moves it to another commit. Needs the git program, no package."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

GIT = os.environ.get("GIT", "git")


@dataclass(frozen=True, slots=True)
class RepoInfo:
    """Where a checkout comes from and where it stands.

    remote: URL, None without a remote. branch: None while no branch is checked out. commit_date: seconds since the
    epoch.
    """

    remote: str | None
    branch: str | None
    commit_hash: str
    commit_date: int


def is_checkout(path: str) -> bool:
    """Says whether a folder is the top of a git checkout."""
    return os.path.exists(os.path.join(path, ".git"))


def run_git(path: str, *arguments: str) -> str:
    """Runs git in a folder and returns what it prints. It never asks for a password.

    Raises CalledProcessError, with git's message as stderr, or FileNotFoundError where there is no git.
    """
    return subprocess.run(
        [GIT, "-C", path, *arguments],
        check=True,
        capture_output=True,
        encoding="utf8",
        errors="replace",
        env=os.environ | {"GIT_TERMINAL_PROMPT": "0"},
    ).stdout.strip()


def remote_name(path: str) -> str | None:
    """Returns the name of the remote, the first of several."""
    return run_git(path, "remote").partition("\n")[0] or None


def describe(path: str) -> RepoInfo:
    """Returns what git knows about a checkout."""
    remote = remote_name(path)
    commit_hash, commit_date = run_git(path, "log", "-1", "--format=%H %ct").split()
    return RepoInfo(
        remote=run_git(path, "remote", "get-url", remote) if remote else None,
        branch=run_git(path, "branch", "--show-current") or None,
        commit_hash=commit_hash,
        commit_date=int(commit_date),
    )


def newest_commit(path: str) -> str | None:
    """Returns the hash of the newest commit of the remote's default branch, asked for over the network."""
    remote = remote_name(path)
    return run_git(path, "ls-remote", remote, "HEAD").partition("\t")[0] or None if remote else None


def has_commit(path: str, commit: str) -> bool:
    """Says whether a commit is in the checkout's repository."""
    try:
        run_git(path, "cat-file", "-e", f"{commit}^{{commit}}")
    except subprocess.CalledProcessError:
        return False
    return True


def fetch_and_reset_hard(path: str, commit: str | None = None) -> None:
    """Fetches everything and switches to a commit, the remote's newest by default; local changes are lost."""
    run_git(path, "fetch", "--all")
    run_git(path, "reset", "--hard", commit or f"{remote_name(path)}/HEAD")
