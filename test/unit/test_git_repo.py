"""Questions to git about a checkout, and moving it."""

import subprocess

import pytest

from modules import git_repo

IDENTITY = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]


def commit(path, message):
    subprocess.run(["git", *IDENTITY, "commit", "-q", "--allow-empty", "-m", message], cwd=path, check=True)
    return git_repo.run_git(str(path), "rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path):
    path = tmp_path / "origin"
    path.mkdir()
    subprocess.run(["git", *IDENTITY, "init", "-q"], cwd=path, check=True)
    commit(path, "first")
    return path


@pytest.fixture
def checkout(origin, tmp_path):
    path = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", str(origin), str(path)], check=True)
    return str(path)


def test_describe(checkout, origin):
    info = git_repo.describe(checkout)
    assert (info.remote, info.branch) == (str(origin), "main")
    assert info.commit_hash == git_repo.newest_commit(checkout)
    assert info.commit_date > 1_000_000_000


def test_a_repository_of_ones_own_has_no_remote(origin):
    assert git_repo.describe(str(origin)).remote is None
    assert git_repo.newest_commit(str(origin)) is None


def test_a_detached_checkout_has_no_branch(checkout):
    git_repo.run_git(checkout, "checkout", "-q", "--detach")
    assert git_repo.describe(checkout).branch is None


def test_a_plain_folder_is_no_checkout(tmp_path, checkout):
    assert not git_repo.is_checkout(str(tmp_path))
    assert git_repo.is_checkout(checkout)


def test_moving_forward_and_back(checkout, origin):
    first = git_repo.describe(checkout).commit_hash
    second = commit(origin, "second")
    assert git_repo.newest_commit(checkout) == second
    assert not git_repo.has_commit(checkout, second)
    git_repo.fetch_and_reset_hard(checkout)
    assert git_repo.describe(checkout).commit_hash == second
    assert git_repo.has_commit(checkout, first)
    git_repo.fetch_and_reset_hard(checkout, first)
    assert git_repo.describe(checkout).commit_hash == first


def test_failures_say_what_git_said(checkout):
    with pytest.raises(subprocess.CalledProcessError) as caught:
        git_repo.fetch_and_reset_hard(checkout, "nonsense")
    assert "nonsense" in caught.value.stderr
