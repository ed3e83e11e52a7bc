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


NO_QUESTIONS = {"GIT_TERMINAL_PROMPT": "0", "GIT_HTTP_LOW_SPEED_LIMIT": "100", "GIT_HTTP_LOW_SPEED_TIME": "30"}
"""Variables under which git asks for no password, and gives a server up that sends nothing for 30 seconds."""


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
        env=NO_QUESTIONS | os.environ | {"GIT_TERMINAL_PROMPT": "0"},
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


def followed_branch(path: str) -> str:
    """Returns the branch of the remote that a checkout follows, "HEAD" where it follows none: the default branch."""
    try:
        upstream = run_git(path, "rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}")
    except subprocess.CalledProcessError:  # no branch is checked out, or it has no upstream
        return "HEAD"
    return upstream.partition("/")[2] or "HEAD"


def newest_commit(path: str) -> str | None:
    """Returns the hash of the newest commit of the branch that a checkout follows, asked for over the network.

    Where the remote has that branch no more, it is that of the default branch; None without a remote.
    """
    remote = remote_name(path)
    if remote is None:
        return None
    branch = followed_branch(path)
    lines = run_git(path, "ls-remote", remote, "HEAD", f"refs/heads/{branch}").splitlines()
    commits = {name: commit for commit, _, name in (line.partition("\t") for line in lines)}
    return commits.get(f"refs/heads/{branch}") or commits.get("HEAD")


def clone(address: str, target: str, branch: str = "") -> None:
    """Clones a repository with its submodules into a folder that does not exist yet."""
    chosen = ["--branch", branch] if branch else []
    parent, name = os.path.split(os.path.abspath(target))
    run_git(parent, "clone", "--quiet", "--recurse-submodules", *chosen, "--", address, name)


def has_commit(path: str, commit: str) -> bool:
    """Says whether a commit is in the checkout's repository."""
    try:
        run_git(path, "cat-file", "-e", f"{commit}^{{commit}}")
    except subprocess.CalledProcessError:
        return False
    return True


def fetch_and_reset_hard(path: str, commit: str | None = None) -> None:
    """Fetches everything and switches to a commit, by default the newest of the branch that the checkout follows; local
    changes are lost.
    """
    run_git(path, "fetch", "--all")
    run_git(path, "reset", "--hard", commit or newest_commit(path) or "HEAD")
    if os.path.exists(os.path.join(path, ".gitmodules")):
        run_git(path, "submodule", "update", "--init", "--recursive")
