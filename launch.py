"""root: the command that starts the program: prepares the environment, then serves. Imports nothing heavy itself."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  # said before any import can fail
    sys.exit(f"This program needs Python 3.11, 3.12 or 3.13; this is {sys.version.split()[0]}.")

import os
import subprocess

from modules import errors, launch_process, launch_utils, launch_venv, logging_config, restart, safe_mode
from modules.launch_utils import (  # noqa: F401  # names that the install.py of extensions import from here
    args,
    check_run_python,
    commit_hash,
    dir_repos,
    git,
    git_clone,
    git_pull_recursive,
    git_tag,
    index_url,
    is_installed,
    list_extensions,
    prepare_environment,
    python,
    repo_dir,
    requirements_met,
    run,
    run_extension_installer,
    run_extensions_installers,
    run_git,
    run_pip,
)
from modules.paths_internal import script_path


def main() -> None:
    """Prepares the environment in the program's own Python, then does what the flags ask for: serve, unless something
    else.
    """
    logging_config.setup_logging(args.loglevel)
    restart.note_restart()
    launch_process.set_up()
    launch_utils.startup_timer.print_log = args.log_startup
    launch_utils.startup_timer.record("initial startup")

    venv_folder = None if args.skip_prepare_environment else launch_venv.folder()
    if venv_folder is not None and not launch_venv.is_inside():
        launch_venv.enter(venv_folder)
    if will_serve() and not args.disable_all_extensions:
        safe_mode.recover(args.ui_settings_file)
    if not args.skip_prepare_environment and not args.check_extension:  # which runs no installers of extensions
        with launch_utils.startup_timer.subcategory("prepare environment"):
            prepare_environment()

    if args.check_extension:
        print(check_extension(args.check_extension))
    elif args.dump_sysinfo:
        dump_sysinfo()
    elif args.run_tests:
        sys.exit(run_tests())
    elif not args.exit:
        start()


def will_serve() -> bool:
    """Says whether the flags ask for the program itself, not for something else."""
    return not (args.check_extension or args.dump_sysinfo or args.run_tests or args.exit)


def check_extension(source: str) -> str:
    """Returns what is told of an extension before it is installed. source: a folder or an address for git."""
    from modules import extension_check, extension_sources

    return extension_check.as_text(extension_sources.report(source))


def dump_sysinfo() -> None:
    """Writes the facts about this computer to a file in the current folder."""
    from modules import sysinfo

    filename = sysinfo.default_filename()
    with open(filename, "w", encoding="utf8") as file:
        file.write(sysinfo.get())
    print(f"System information is in {os.path.abspath(filename)}")


def run_tests() -> int:
    """Installs what the tests need and runs them in a process of their own; returns the exit status.

    What follows -- on the command line goes to pytest. A run of everything fails if too little is covered.
    """
    requirements_file = os.path.join(script_path, launch_utils.TEST_REQUIREMENTS_FILE)
    if not args.skip_prepare_environment:
        launch_utils.install_requirements(requirements_file, "requirements of the tests")

    chosen = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    environment = {key: value for key, value in os.environ.items() if key != "COMMANDLINE_ARGS"}
    pytest = [python, "-m", "pytest", *(chosen or ["--cov"])]
    status = subprocess.run(pytest, cwd=script_path, env=environment).returncode
    if status == 0 and not chosen:
        fully_covered = ["--include=modules/runtime_context.py", "--fail-under=100"]
        status = subprocess.run([python, "-m", "coverage", "report", *fully_covered], cwd=script_path).returncode
    return status


def start() -> None:
    """Serves the page and the API, or the API alone."""
    if args.test_server:
        launch_utils.configure_for_tests()
    given = " ".join(sys.argv[1:])
    safe_mode.marker.begin()
    print(f"Launching {'API server' if args.nowebui else 'Web UI'} with arguments: {given}", flush=True)

    import webui

    webui.main()


if __name__ == "__main__":
    try:
        main()
    except (errors.WebuiError, RuntimeError) as e:
        sys.exit(str(e))
