import os
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from modules import launch_utils, paths_internal, version

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
PYTEST_VERSION = metadata.version("pytest")


@pytest.fixture
def commands(monkeypatch):
    """The commands `run` was asked for; none is run."""
    asked = []
    monkeypatch.setattr(launch_utils, "run", lambda command, *args, **kwargs: asked.append(command) or "")
    return asked


@pytest.fixture
def environment(monkeypatch):
    """An environment in which no variable that the launcher reads is set."""
    for name in (*launch_utils.OBSOLETE_VARIABLES, "TORCH_COMMAND", "TORCH_INDEX_URL", "REQS_FILE", "XFORMERS_PACKAGE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def requirements(folder, *lines, name="requirements.txt"):
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf8")
    return str(path)


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
    return subprocess.check_output(["git", *identity, "-C", str(folder), *arguments], encoding="utf8").strip()


def commit(folder, text):
    folder.mkdir(exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    (folder / "file").write_text(text)
    git(folder, "add", "file")
    git(folder, "commit", "--quiet", "-m", text)
    return git(folder, "rev-parse", "HEAD")


def test_run_returns_output_and_says_what_it_does(capsys):
    assert launch_utils.run([sys.executable, "-c", "print('out')"], "Doing it") == "out\n"
    assert launch_utils.run(f'"{sys.executable}" -c "print(5)"', live=False) == "5\n"
    assert capsys.readouterr().out == "Doing it\n"


def test_run_live_returns_nothing(capfd):
    assert launch_utils.run([sys.executable, "-c", "print('out')"], live=True) == ""
    assert capfd.readouterr().out == "out\n"


def test_run_of_a_failing_command_raises_with_all_there_is_to_know():
    code = "import sys; print('the output'); print('the error', file=sys.stderr); sys.exit(3)"
    with pytest.raises(RuntimeError) as e:
        launch_utils.run([sys.executable, "-c", code], errdesc="It failed")
    for part in ("It failed.", "Error code: 3", "stdout: the output", "stderr: the error"):
        assert part in str(e.value)


def test_run_passes_an_environment():
    command = [sys.executable, "-c", "import os; print(os.environ['WORD'])"]
    assert launch_utils.run(command, custom_env=os.environ | {"WORD": "hello"}) == "hello\n"


@pytest.mark.parametrize(
    ("package", "expected"), [("pytest", True), ("json", True), ("no_such_package", False), ("no_such.package", False)]
)
def test_is_installed(package, expected):
    assert launch_utils.is_installed(package) is expected


def test_run_pip_uses_this_python_and_the_index(commands, monkeypatch):
    monkeypatch.setattr(launch_utils, "index_url", "https://index.example.org")
    launch_utils.run_pip("install x", "x")
    assert commands == [f'"{sys.executable}" -m pip install x --prefer-binary --index-url https://index.example.org']


def test_run_pip_does_nothing_under_skip_install(commands, monkeypatch):
    monkeypatch.setattr(launch_utils.args, "skip_install", True)
    assert launch_utils.run_pip("install x", "x") is None and commands == []


def test_check_run_python():
    assert launch_utils.check_run_python("import json")
    assert not launch_utils.check_run_python("1 / 0")


def test_repositories_of_extensions_lie_in_the_program_folder():
    assert launch_utils.repo_dir("x") == os.path.join(paths_internal.script_path, "repositories", "x")


@needs_git
def test_git_clone_gets_the_commit_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "always")
    first = commit(tmp_path / "origin", "first")
    second = commit(tmp_path / "origin", "second")
    target = str(tmp_path / "clone")

    launch_utils.git_clone(str(tmp_path / "origin"), target, "it")
    assert git(target, "rev-parse", "HEAD") == second
    launch_utils.git_clone(str(tmp_path / "origin"), target, "it", first)
    assert git(target, "rev-parse", "HEAD") == first

    third = commit(tmp_path / "moved", "third")
    launch_utils.git_clone(str(tmp_path / "moved"), target, "it", third)
    assert git(target, "rev-parse", "HEAD") == third


@needs_git
def test_git_pull_recursive_pulls_what_it_can(tmp_path, capsys, monkeypatch):
    commit(tmp_path / "origin", "first")
    folder = tmp_path / "extensions"
    (folder / "plain").mkdir(parents=True)
    git(tmp_path, "clone", "--quiet", str(tmp_path / "origin"), str(folder / "good"))
    commit(folder / "lonely", "no upstream")
    newest = commit(tmp_path / "origin", "second")

    launch_utils.git_pull_recursive(str(folder))
    assert git(folder / "good", "rev-parse", "HEAD") == newest
    printed = capsys.readouterr().out
    assert "Pulled changes for 'good'" in printed and "git pull --autostash failed in lonely" in printed


def test_version_of_the_program(monkeypatch):
    assert launch_utils.git_tag() == version.PROGRAM_VERSION
    launch_utils.commit_hash.cache_clear()
    monkeypatch.setattr(launch_utils, "git", "no-such-git")
    assert launch_utils.commit_hash() == "<none>"
    launch_utils.commit_hash.cache_clear()


@pytest.mark.parametrize(
    ("answer", "message"),
    [("abc\tHEAD\n", "You have the latest version."), ("def\tHEAD\n", "A newer version is available: def")],
)
def test_version_check_compares_with_upstream(monkeypatch, capsys, answer, message):
    monkeypatch.setattr(launch_utils, "run", lambda command: answer)
    launch_utils.version_check("abc")
    assert message in capsys.readouterr().out


def test_version_check_without_git_says_so(monkeypatch, capsys):
    monkeypatch.setattr(launch_utils, "git", "no-such-git")
    launch_utils.version_check("abc")
    assert "Could not look for updates" in capsys.readouterr().out


@pytest.mark.parametrize(("python", "is_warned"), [((3, 10, 1), True), ((3, 12, 0), False), ((3, 14, 0), True)])
def test_untested_python_is_warned_of(monkeypatch, caplog, python, is_warned):
    monkeypatch.setattr(launch_utils.sys, "version_info", python)
    launch_utils.check_python_version()
    assert ("tested with Python 3.11" in caplog.text) is is_warned


def test_requirements_are_read_with_their_pins(tmp_path):
    path = requirements(
        tmp_path, "# a comment", "torch==2.13.0  # why", "", "pillow", "gradio[x]==6.1", "-r other.txt", "a >= 1"
    )
    assert launch_utils.read_requirements(path) == {"torch": "2.13.0", "pillow": None, "gradio": "6.1", "a": None}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"pytest=={PYTEST_VERSION}", True),
        ("pytest==0.1", False),
        ("pytest", True),
        ("no-such-package==1", False),
        ("local==1.0", True),
        ("local==1.0+cpu", True),
        ("local==1.0+cu121", False),
        ("local==1", False),
    ],
)
def test_requirements_met(tmp_path, monkeypatch, line, expected):
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.0+cpu" if name == "local" else real(name))
    assert launch_utils.requirements_met(requirements(tmp_path, line)) is expected


def test_ignored_requirements_do_not_count(tmp_path):
    path = requirements(tmp_path, "no-such-package==1", "pytest")
    assert launch_utils.requirements_met(path, ignored=["no-such-package"])


@pytest.mark.parametrize("name", [launch_utils.REQUIREMENTS_FILE, launch_utils.TEST_REQUIREMENTS_FILE])
def test_what_the_program_and_its_tests_need_is_pinned_and_installed(name):
    path = os.path.join(paths_internal.script_path, name)
    assert all(launch_utils.read_requirements(path).values())
    assert launch_utils.requirements_met(path)


def test_requirements_for_other_machines_do_not_count(tmp_path):
    path = requirements(
        tmp_path,
        "here==1 ; python_full_version >= '3.11'",
        "twice==1; python_full_version < '3'",
        "twice==2; python_full_version >= '3'",
        "elsewhere==1 ; sys_platform == 'none'",
    )
    assert launch_utils.read_requirements(path) == {"here": "1", "twice": "2"}


def test_markers_are_not_asked_before_there_is_what_reads_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "packaging.markers", None)
    assert launch_utils.applies_here("elsewhere==1 ; sys_platform == 'none'")


def test_the_lock_file_is_what_is_installed(environment, monkeypatch, commands):
    monkeypatch.setattr(launch_utils, "requirements_met", lambda path, ignored: False)
    launch_utils.install_packages()
    lock = os.path.join(paths_internal.script_path, "requirements_lock.txt")
    assert [command for command in commands if "-r" in command] == [
        f'"{sys.executable}" -m pip install -r "{lock}" --prefer-binary'
    ]


@pytest.mark.parametrize(
    ("variables", "index", "expected"),
    [
        ({}, "", "pip install torch==2.13.0 torchvision"),
        ({"TORCH_INDEX_URL": "T"}, "", "pip install torch==2.13.0 torchvision --extra-index-url T"),
        ({}, "I", "pip install torch==2.13.0 torchvision --index-url I"),
        ({"TORCH_COMMAND": "pip install mine", "TORCH_INDEX_URL": "T"}, "I", "pip install mine"),
    ],
)
def test_torch_command(environment, variables, index, expected):
    environment.setattr(launch_utils, "index_url", index)
    for name, value in variables.items():
        environment.setenv(name, value)
    assert launch_utils.torch_command({"torch": "2.13.0", "x": "1"}) == expected


def test_what_torch_brings_along_is_what_the_lock_file_pins(environment, commands):
    environment.setattr(launch_utils.args, "reinstall_torch", True)
    launch_utils.install_packages()
    lock = os.path.join(paths_internal.script_path, "requirements_lock.txt")
    assert f'-c "{lock}"' in commands[0]


def test_satisfied_environment_runs_nothing(environment, tmp_path, commands):
    environment.setenv("REQS_FILE", requirements(tmp_path, f"pytest=={PYTEST_VERSION}", "torch", "torchvision"))
    launch_utils.install_packages()
    assert commands == []


def test_missing_packages_are_installed_torch_first(environment, tmp_path, commands):
    path = requirements(tmp_path, "torch==0.1", "torchvision==0.2", "no-such-package==1")
    environment.setenv("REQS_FILE", path)
    environment.setattr(launch_utils, "is_installed", lambda name: False)
    environment.setattr(launch_utils.args, "xformers", True)
    environment.setattr(launch_utils.args, "ngrok", "token")
    launch_utils.install_packages()
    wanted = ["pip install torch==0.1 torchvision==0.2", "pip install -U -I --no-deps xformers==", "pip install ngrok"]
    for command, part in zip(commands, [*wanted, f'pip install -r "{path}"'], strict=True):
        assert part in command


def test_torch_of_the_user_is_left_alone(environment, tmp_path):
    kept = ["# pins", "no-such-package==1", "other ; sys_platform != 'x'"]
    path = requirements(tmp_path, *kept, "torch==0.1", "torchvision==0.2", "sympy==0.3")
    environment.setenv("REQS_FILE", path)
    environment.setenv("TORCH_COMMAND", "pip install my_torch")
    installed = []

    def note_file(command, *args, **kwargs):
        installed.append(Path(shlex.split(command)[2]).read_text(encoding="utf8"))

    environment.setattr(launch_utils, "pip", note_file)
    launch_utils.install_packages()
    assert [text.splitlines() for text in installed] == [kept]


def test_npu_requirements_follow_the_torch_command(environment, tmp_path, commands):
    environment.setenv("REQS_FILE", requirements(tmp_path, "pytest"))
    environment.setenv("REQS_FILE_FOR_NPU", requirements(tmp_path, "no-such-package==1", name="npu.txt"))
    environment.setenv("TORCH_COMMAND", "pip install torch_npu")
    launch_utils.install_packages()
    assert ["npu.txt" in command for command in commands] == [True]


def test_reinstall_torch_installs_it_though_it_is_there(environment, tmp_path, commands):
    environment.setenv("REQS_FILE", requirements(tmp_path, "pytest"))
    environment.setattr(launch_utils.args, "reinstall_torch", True)
    launch_utils.install_packages()
    assert commands == [f'"{sys.executable}" -m pip install torch torchvision']


@pytest.fixture
def extensions_dir(tmp_path, monkeypatch):
    folder = tmp_path / "extensions"
    for name in ("b", "a"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setattr(launch_utils, "extensions_dir", str(folder))
    return folder


def test_installers_of_enabled_extensions_run_with_the_program_on_their_path(extensions_dir, capsys):
    code = "import os; from modules import version; print('installed', os.path.basename(os.path.dirname(__file__)))"
    (extensions_dir / "a" / "install.py").write_text(code)
    (extensions_dir / "b" / "install.py").write_text("1 / 0")
    launch_utils.run_extensions_installers(str(extensions_dir / "config.json"))
    assert capsys.readouterr().out == "installed a\n"


def test_failing_installer_is_reported(extensions_dir, caplog):
    (extensions_dir / "b" / "install.py").write_text("1 / 0")
    launch_utils.run_extension_installer(str(extensions_dir / "b"))
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("flag", ["disable_all_extensions", "disable_extra_extensions"])
def test_flags_switch_extensions_off(extensions_dir, monkeypatch, flag):
    assert launch_utils.list_extensions("no settings") == ["a", "b"]
    monkeypatch.setattr(launch_utils.args, flag, True)
    assert launch_utils.list_extensions("no settings") == []


def test_prepare_environment_says_what_it_does_in_order(environment, tmp_path, commands, capsys):
    environment.setenv("REQS_FILE", requirements(tmp_path, "pytest"))
    environment.setenv("BLIP_REPO", "x")
    environment.setattr(launch_utils.args, "update_check", True)
    environment.setattr(launch_utils.args, "update_all_extensions", True)
    environment.setattr(launch_utils, "extensions_dir", str(tmp_path))
    launch_utils.commit_hash.cache_clear()
    launch_utils.prepare_environment()
    launch_utils.commit_hash.cache_clear()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "The environment variable BLIP_REPO has no effect in this version."
    assert lines[1].startswith("Python 3.")
    assert f"Version: {version.PROGRAM_VERSION}" in lines
    assert lines[-1] == "You have the latest version."


def test_skip_install_skips_pip_and_installers(environment, extensions_dir, commands):
    (extensions_dir / "a" / "install.py").write_text("")
    environment.setenv("REQS_FILE", requirements(extensions_dir, "no-such-package==1"))
    environment.setattr(launch_utils.args, "skip_install", True)
    launch_utils.prepare_environment()
    assert [command for command in commands if "pip" in command or "install.py" in command] == []


def test_test_server_adds_its_flags_once(monkeypatch):
    monkeypatch.setattr(launch_utils.sys, "argv", ["launch.py", "--api"])
    launch_utils.configure_for_tests()
    assert launch_utils.sys.argv == ["launch.py", "--api", "--skip-torch-cuda-test", "--disable-nan-check"]


def test_launcher_ends_after_preparing_when_told_to(tmp_path):
    environment = os.environ | {"REQS_FILE": requirements(tmp_path, "pytest")}
    command = [sys.executable, "launch.py", "--exit", "--data-dir", str(tmp_path)]
    output = subprocess.check_output(command, cwd=Path(paths_internal.script_path), env=environment, encoding="utf8")
    assert version.PROGRAM_VERSION in output and "Launching" not in output
