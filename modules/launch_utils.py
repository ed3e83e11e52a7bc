"""base: prepares the environment before anything heavy is imported: packages, extensions' installers, git. Stdlib only.

Extensions use run, run_pip, is_installed and the git helpers in their install.py, through the names in launch.py.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping

from modules import cmd_args, errors, launch_pins, settings_file
from modules.cache import cache_dir
from modules.paths_internal import extensions_dir, packages_path, script_path
from modules.timer import startup_timer
from modules.version import PROGRAM_VERSION

args, _ = cmd_args.parser.parse_known_args()

python = sys.executable
git = os.environ.get("GIT", "git")
index_url = os.environ.get("INDEX_URL", "")
dir_repos = "repositories"
default_command_live = os.environ.get("WEBUI_LAUNCH_LIVE_OUTPUT") == "1"

SUPPORTED_PYTHONS = ((3, 11), (3, 12), (3, 13))
REQUIREMENTS_FILE = "requirements_lock.txt"
TEST_REQUIREMENTS_FILE = "requirements_test_lock.txt"
TORCH_PACKAGES = ("torch", "torchvision")
TORCH_REQUIREMENTS = ("mpmath", "setuptools", "sympy")
"""What nothing but torch requires: other builds of it want other versions."""
XFORMERS_PACKAGE = "xformers==0.0.35"
NGROK_PACKAGE = "ngrok==1.7.0"

# Variables of v1.10.1 that named what is not installed any more, or that only its shell scripts read.
OBSOLETE_VARIABLES = (
    "ASSETS_REPO",
    "STABLE_DIFFUSION_REPO",
    "STABLE_DIFFUSION_XL_REPO",
    "K_DIFFUSION_REPO",
    "BLIP_REPO",
    "ASSETS_COMMIT_HASH",
    "STABLE_DIFFUSION_COMMIT_HASH",
    "STABLE_DIFFUSION_XL_COMMIT_HASH",
    "K_DIFFUSION_COMMIT_HASH",
    "BLIP_COMMIT_HASH",
    "CLIP_PACKAGE",
    "OPENCLIP_PACKAGE",
    "install_dir",
    "clone_dir",
    "LAUNCH_SCRIPT",
    "ACCELERATE",
    "NO_TCMALLOC",
    "PIP_INSTALLER_LOCATION",
)

re_requirement = re.compile(r"\s*([-_.a-zA-Z0-9]+)(?:\[[^]]*])?\s*(?:==\s*([-+_.a-zA-Z0-9]+))?")


def run(
    command: str | list[str],
    desc: str | None = None,
    errdesc: str | None = None,
    custom_env: Mapping[str, str] | None = None,
    live: bool = default_command_live,
) -> str:
    """Runs a command, a text through the shell, and returns its output; empty if it is live, shown as it comes.

    desc: printed before. errdesc: what failed, for the RuntimeError raised when the command does not exit with 0.
    """
    if desc is not None:
        print(desc, flush=True)

    pipe = None if live else subprocess.PIPE
    result = subprocess.run(
        command,
        shell=isinstance(command, str),
        env=None if custom_env is None else dict(custom_env),
        encoding="utf8",
        errors="ignore",
        stdout=pipe,
        stderr=pipe,
    )
    if result.returncode != 0:
        lines = [f"{errdesc or 'Error running command'}.", f"Command: {command}", f"Error code: {result.returncode}"]
        lines += [f"stdout: {result.stdout}"] if result.stdout else []
        lines += [f"stderr: {result.stderr}"] if result.stderr else []
        raise RuntimeError("\n".join(lines))
    return result.stdout or ""


def is_installed(package: str) -> bool:
    """Says whether a package is there, by the name pip or import knows it under."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        try:
            return importlib.util.find_spec(package) is not None
        except ModuleNotFoundError:
            return False
    return True


def run_pip(command: str, desc: str | None = None, live: bool = default_command_live) -> str | None:
    """Runs pip with the arguments in command; nothing happens under --skip-install. desc names what is installed.

    Raises RuntimeError, before anything is installed, when it asks for another version of a package of the program.
    """
    if not args.skip_install and (problems := launch_pins.conflicts(command, pinned())):
        raise RuntimeError(f"Couldn't install {desc}, and nothing was changed: {'; '.join(problems)}.")
    return pip(command, desc, live)


def pip(command: str, desc: str | None, live: bool = default_command_live) -> str | None:
    """Runs pip for the program itself, which may come before any package is there to compare versions with."""
    if args.skip_install:
        return None
    index = f" --index-url {index_url}" if index_url else ""
    return run(
        f'"{python}" -m pip {command} --prefer-binary{index}',
        desc=f"Installing {desc}",
        errdesc=f"Couldn't install {desc}",
        live=live,
    )


def pinned() -> dict[str, str]:
    """Returns name -> version of the packages that nobody may change; a torch chosen by hand is the user's."""
    chosen_by_hand = (*TORCH_PACKAGES, *TORCH_REQUIREMENTS) if "TORCH_COMMAND" in os.environ else TORCH_REQUIREMENTS
    pins = read_requirements(_in_script_path(os.environ.get("REQS_FILE", REQUIREMENTS_FILE)))
    return {name: version for name, version in pins.items() if version and name not in chosen_by_hand}


def check_run_python(code: str) -> bool:
    """Says whether a new Python process runs code without an error."""
    return subprocess.run([python, "-c", code], capture_output=True).returncode == 0


def repo_dir(name: str) -> str:
    """Returns the folder of a repository that extensions clone beside the program."""
    return os.path.join(script_path, dir_repos, name)


def run_git(
    dir: str,
    name: str,
    command: str,
    desc: str | None = None,
    errdesc: str | None = None,
    custom_env: Mapping[str, str] | None = None,
    live: bool = default_command_live,
) -> str:
    """Runs git with the arguments in command inside a checkout, and returns its output; see `run`."""
    return run(f'"{git}" -C "{dir}" {command}', desc, errdesc or f"git {command} failed in {name}", custom_env, live)


def git_clone(url: str, dir: str, name: str, commithash: str | None = None) -> None:
    """Clones url into dir unless it is there, and checks out commithash if it is given and not checked out."""
    if not os.path.exists(dir):
        run(f'"{git}" clone "{url}" "{dir}"', f"Cloning {name} into {dir}...", f"Couldn't clone {name}", live=True)

    if commithash is None or run_git(dir, name, "rev-parse HEAD").strip() == commithash:
        return
    if run_git(dir, name, "remote get-url origin").strip() != url:
        run_git(dir, name, f'remote set-url origin "{url}"')
    run_git(dir, name, "fetch", f"Fetching updates for {name}...", f"Couldn't fetch {name}")
    run_git(
        dir, name, f"checkout {commithash}", f"Checking out {name} at {commithash}...", f"Couldn't check out {name}"
    )


def git_pull_recursive(dir: str) -> None:
    """Pulls every git checkout directly in dir; one that fails is reported and left as it is."""
    for name in sorted(os.listdir(dir)):
        path = os.path.join(dir, name)
        if not os.path.exists(os.path.join(path, ".git")):
            continue
        try:
            print(f"Pulled changes for '{name}': {run_git(path, name, 'pull --autostash').strip()}")
        except RuntimeError as e:
            print(e)


@functools.lru_cache
def commit_hash() -> str:
    """Returns the commit the program was checked out at; "<none>" outside a git checkout."""
    try:
        return run([git, "-C", script_path, "rev-parse", "HEAD"]).strip()
    except (OSError, RuntimeError):
        return "<none>"


def git_tag() -> str:
    """Returns the program's version. Extensions compare it with versions of v1.10.1, so it begins like one."""
    return PROGRAM_VERSION


def version_check(commit: str) -> None:
    """Prints whether the checkout stands where its upstream branch does."""
    try:
        latest = run([git, "-C", script_path, "ls-remote", "origin", "HEAD"]).partition("\t")[0].strip()
    except (OSError, RuntimeError) as e:
        print(f"Could not look for updates: {e}")
        return
    print(
        "You have the latest version." if latest == commit else f"A newer version is available: {latest}. Use git pull."
    )


def check_python_version() -> None:
    """Warns of a Python version for which there may be no packages."""
    if sys.version_info[:2] not in SUPPORTED_PYTHONS:
        errors.print_error_explanation(f"""
            This program is tested with Python 3.11, 3.12 and 3.13; this is {sys.version.split()[0]}.
            If packages cannot be installed, use one of those: remove the folder venv and start again with it.
            --skip-python-version-check hides this message.
        """)


def read_requirements(requirements_file: str) -> dict[str, str | None]:
    """Returns name -> pinned version of a requirements file; None for a package of any version.

    Lines whose environment marker is for other machines do not count.
    """
    with open(requirements_file, encoding="utf8") as file:
        lines = [line.partition("#")[0].strip() for line in file]
    found = [re_requirement.match(line) for line in lines if line and not line.startswith("-") and applies_here(line)]
    return {match.group(1): match.group(2) for match in found if match is not None}


def applies_here(requirement: str) -> bool:
    """Says whether the environment marker of a requirement, what follows its semicolon, is true of this Python.

    Nobody can say before `packaging` is installed; it is required itself, so requirements are not met without it.
    """
    _, _, marker = requirement.partition(";")
    try:
        from packaging.markers import Marker
    except ImportError:
        return True
    return not marker or Marker(marker).evaluate()


def requirements_met(requirements_file: str, ignored: Collection[str] = ()) -> bool:
    """Says whether every package of a requirements file is installed at its version; those in ignored do not count.

    The local part of an installed version ("2.13.0+cpu") may be anything if the pin has none.
    """
    for name, wanted in read_requirements(requirements_file).items():
        if name in ignored:
            continue
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return False
        if wanted is not None and wanted not in (installed, installed.partition("+")[0]):
            return False
    return True


def torch_command(requirements: Mapping[str, str | None], constraints: str | None = None) -> str:
    """Returns the arguments of `python -m` that install torch: TORCH_COMMAND, or pip with the pins of the requirements.

    TORCH_INDEX_URL, if set, is searched for these beside the usual index. constraints: file of the versions of what
    torch brings along, so that nothing is fetched twice.
    """
    if custom := os.environ.get("TORCH_COMMAND"):
        return custom
    pins = [f"{name}=={requirements[name]}" if requirements.get(name) else name for name in TORCH_PACKAGES]
    torch_index_url = os.environ.get("TORCH_INDEX_URL")
    extra = [f"--extra-index-url {torch_index_url}"] if torch_index_url else []
    base = [f"--index-url {index_url}"] if index_url else []
    pinned = [f'-c "{constraints}"'] if constraints else []
    return " ".join(["pip install", *pins, *pinned, *base, *extra])


def install_requirements(requirements_file: str, desc: str, ignored: Collection[str] = ()) -> None:
    """Installs what a requirements file names unless it is met; packages in ignored are left as they are."""
    if requirements_met(requirements_file, ignored):
        return
    if ignored:
        with open(requirements_file, encoding="utf8") as file:
            named = [(re_requirement.match(line), line) for line in file]
        with tempfile.TemporaryDirectory() as folder:
            wanted = os.path.join(folder, os.path.basename(requirements_file))
            with open(wanted, "w", encoding="utf8") as file:
                file.writelines(line for match, line in named if match is None or match.group(1) not in ignored)
            pip(f'install -r "{wanted}"', desc, live=True)
    else:
        pip(f'install -r "{requirements_file}"', desc, live=True)


def install_packages() -> None:
    """Installs torch, the packages the flags ask for, and the requirements; what is there already costs nothing."""
    requirements_file = _in_script_path(os.environ.get("REQS_FILE", REQUIREMENTS_FILE))
    # A file of the user's may have lines that are no constraints.
    constraints = None if "REQS_FILE" in os.environ else requirements_file
    command = torch_command(read_requirements(requirements_file), constraints)

    if args.reinstall_torch or not all(map(is_installed, TORCH_PACKAGES)):
        run(f'"{python}" -m {command}', "Installing torch and torchvision", "Couldn't install torch", live=True)
        startup_timer.record("install torch")
    if args.reinstall_xformers or (args.xformers and not is_installed("xformers")):
        pip(f"install -U -I --no-deps {os.environ.get('XFORMERS_PACKAGE', XFORMERS_PACKAGE)}", "xformers")
        startup_timer.record("install xformers")
    if args.ngrok and not is_installed("ngrok"):
        pip(f"install {NGROK_PACKAGE}", "ngrok")
        startup_timer.record("install ngrok")

    # A torch chosen by hand is the user's: the pins of torch say nothing about it.
    ignored = TORCH_PACKAGES + TORCH_REQUIREMENTS if "TORCH_COMMAND" in os.environ else ()
    install_requirements(requirements_file, "requirements", ignored)
    if "torch_npu" in command:
        npu_file = _in_script_path(os.environ.get("REQS_FILE_FOR_NPU", "requirements_npu.txt"))
        install_requirements(npu_file, "requirements for NPU")
    startup_timer.record("install requirements")


def list_extensions(settings_path: str) -> list[str]:
    """Returns the names of the user's extensions that neither the settings nor a flag disables, sorted."""
    switched_off = args.disable_extra_extensions or args.disable_all_extensions
    return [] if switched_off else settings_file.enabled_extensions(settings_path, extensions_dir)


def installer_log(name: str) -> str:
    """Returns the path of the file with what the install.py of an extension has said the last time."""
    return os.path.join(cache_dir, "installers", f"{name}.log")


def keep_installer_log(extension_dir: str, text: str) -> None:
    """Keeps what an install.py has said, for the Extensions tab; where that cannot be written there is none."""
    path = installer_log(os.path.basename(os.path.abspath(extension_dir)))
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf8") as file:
            file.write(text)


def run_extension_installer(extension_dir: str) -> None:
    """Runs the install.py of an extension, if it has one, in a process of its own; a failing one is only reported.

    Its pip leaves the packages of the program as they are, whoever calls it. What it says is in `installer_log`.
    """
    path_installer = os.path.join(extension_dir, "install.py")
    if not os.path.isfile(path_installer):
        return

    folders = [script_path, packages_path, os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    try:
        with launch_pins.constraints(pinned()) as path:
            output = run(
                f'"{python}" "{path_installer}"',
                errdesc=f"Error running {path_installer}",
                custom_env=environment | {"PIP_CONSTRAINT": path},
            )
    except RuntimeError as e:
        errors.report(str(e))
        keep_installer_log(extension_dir, str(e))
        return
    keep_installer_log(extension_dir, output)
    if output.strip():
        print(output.strip())


def run_extensions_installers(settings_path: str) -> None:
    """Runs the installers of all enabled extensions of the user."""
    with startup_timer.subcategory("run extensions installers"):
        for name in list_extensions(settings_path):
            run_extension_installer(os.path.join(extensions_dir, name))
            startup_timer.record(name)


def prepare_environment() -> None:
    """Brings the environment to where the program can start, printing each thing that is done. Raises RuntimeError."""
    for name in OBSOLETE_VARIABLES:
        if name in os.environ:
            print(f"The environment variable {name} has no effect in this version.")
    if not args.skip_python_version_check:
        check_python_version()
    print(f"Python {sys.version}\nVersion: {git_tag()}\nCommit hash: {commit_hash()}", flush=True)
    startup_timer.record("checks")

    if not args.skip_install:
        install_packages()
        run_extensions_installers(settings_path=args.ui_settings_file)
    if args.update_check:
        version_check(commit_hash())
        startup_timer.record("check version")
    if args.update_all_extensions and os.path.isdir(extensions_dir):
        git_pull_recursive(extensions_dir)
        startup_timer.record("update extensions")


def configure_for_tests() -> None:
    """Adds the flags --test-server stands for to the command line."""
    for flag in ("--api", "--skip-torch-cuda-test", "--disable-nan-check"):
        if flag not in sys.argv:
            sys.argv.append(flag)


def _in_script_path(path: str) -> str:
    return path if os.path.isabs(path) else os.path.join(script_path, path)
