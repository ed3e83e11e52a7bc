import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modules import cmd_args, paths_internal

REFERENCE = json.loads((Path(__file__).parents[1] / "data" / "cli.json").read_text(encoding="utf8"))
ROOT = Path(paths_internal.script_path)
ACTIONS = {option: action for action in cmd_args.parser._actions for option in action.option_strings}
TYPES = {"bool": None, "int": int, "json": json.loads, "absolute path": paths_internal.normalized_filepath}


def expected_default(value):
    if isinstance(value, list):
        return [expected_default(item) for item in value]
    if not isinstance(value, str):
        return value
    replaced = (
        value.replace("<script-dir>", paths_internal.script_path)
        .replace("<data-dir>", paths_internal.data_path)
        .replace("<models-dir>", paths_internal.models_path)
    )
    return str(Path(replaced)) if "<" in value else replaced


@pytest.mark.parametrize("flag", REFERENCE["flags"], ids=lambda flag: flag["dest"])
def test_flag_of_the_reference_is_there_with_its_meaning(flag):
    for option in flag["flags"]:
        action = ACTIONS[option]
        assert action.dest == flag["dest"]
        assert action.default == expected_default(flag["default"])
        assert action.type == TYPES.get(flag["type"], str.lower if "lower" in flag["type"] else str)
        assert action.nargs in (flag.get("nargs"), 0)
        assert list(action.choices or []) == flag.get("choices", [])


def test_flags_without_effect_are_those_of_the_reference():
    without_effect = {flag["flags"][0] for flag in REFERENCE["flags"] if flag["no_effect"]}
    assert {flag.name for flag in cmd_args.FLAGS if flag.obsolete} == without_effect


def words_of_the_program():
    """All words of the source of everything but the table of flags."""
    folders = (ROOT / name for name in ("modules", "scripts", "extensions-builtin"))
    files = [*ROOT.glob("*.py"), *(file for folder in folders for file in folder.rglob("*.py"))]
    code = "\n".join(file.read_text(encoding="utf8") for file in files if file.name != "cmd_args.py")
    return set(re.findall(r"\w+", code))


def test_a_flag_is_read_or_says_why_it_has_no_effect():
    # the folder of an upscaler's models is asked for by the name of its class
    read_by_name = {f"{name}_models_path" for name in ("esrgan", "realesrgan", "dat", "ldsr", "scunet", "swinir")}
    words = words_of_the_program() | read_by_name | {"f"}
    unread = {flag.name for flag in cmd_args.FLAGS if flag.name.strip("-").replace("-", "_") not in words}
    assert unread <= {flag.name for flag in cmd_args.FLAGS if flag.obsolete or flag.idle}
    assert unread >= {flag.name for flag in cmd_args.FLAGS if flag.idle}


def test_every_flag_but_the_obsolete_says_what_it_does():
    text = cmd_args.parser.format_help()
    for flag in cmd_args.FLAGS[1:] + cmd_args.ADDED_FLAGS:
        assert (f"\n  {flag.name} " in text or f"\n  {flag.name}\n" in text) == (not flag.obsolete)


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--port=5"], "port", 5),
        (["--unix-filen"], "unix_filenames_sanitization", True),
        (["--port", "1", "--port", "2"], "port", 2),
        (["--use-cpu", "ALL", "sd"], "use_cpu", ["all", "sd"]),
        (["--ngrok-options", '{"a": 1}'], "ngrok_options", {"a": 1}),
        (["--styles-file", "a", "--styles-file", "b"], "styles_file", ["a", "b"]),
        (["--gradio-allowed-path", "a"], "gradio_allowed_path", [paths_internal.data_path, "a"]),
        (["--disable-tls-verify"], "disable_tls_verify", False),
        ([], "disable_tls_verify", None),
        (["--ckpt", "x"], "ckpt", str(Path("x").absolute())),
        (["--max-batch-count", "3"], "max_batch_count", 3),
        (["--deepdanbooru"], "deepdanbooru", True),
    ],
)
def test_parsing(arguments, name, value):
    assert getattr(cmd_args.create_parser().parse_args(arguments), name) == value


def test_defaults_are_not_shared_between_parses():
    parser = cmd_args.create_parser()
    parser.parse_args(["--styles-file", "a"])
    assert parser.parse_args([]).styles_file == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prot", "7"], "unknown flag --prot, did you mean --port?"),
        (["--no-halfvae=1"], "unknown flag --no-halfvae, did you mean --no-half-vae?"),
        (["--qqqqqqqq"], "unknown flag --qqqqqqqq; --help lists all flags"),
        (["word"], "unexpected value 'word'"),
        (["--precision", "double"], "invalid choice: 'double'"),
        (["--port", "x"], "invalid int value: 'x'"),
    ],
)
def test_bad_command_line_is_explained(capsys, arguments, message):
    with pytest.raises(SystemExit) as e:
        cmd_args.create_parser().parse_args(arguments)
    assert e.value.code == 2
    assert message in capsys.readouterr().err


def test_parser_notes_obsolete_flags_by_their_full_name():
    parser = cmd_args.create_parser()
    parser.parse_args(["--unload-gf", "--max-batch-count=3", "--api", "--unload-gfpgan"])
    assert parser.obsolete_given == {"--unload-gfpgan": "", "--max-batch-count": ""}


def test_flags_with_nothing_to_do_here_keep_their_values_and_say_why():
    parser = cmd_args.create_parser()
    parsed = parser.parse_args(["--no-gradio-queue", "--disable-tls-verify"])
    assert (parsed.no_gradio_queue, parsed.disable_tls_verify, parsed.use_ipex) == (True, False, False)
    assert "plain HTTP" in parser.obsolete_given["--no-gradio-queue"]
    assert "plain HTTP" in " ".join(parser.format_help().split())


def test_extension_may_declare_a_flag_again():
    parser = cmd_args.create_parser()
    parser.add_argument("--lora-dir", default="mine")
    assert parser.parse_args([]).lora_dir == "mine"


def test_help_imports_nothing_heavy():
    code = "import sys; sys.argv = ['launch.py']; import launch; print(*sorted(sys.modules))"
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, encoding="utf8").split()
    assert not {"torch", "numpy", "PIL", "gradio", "fastapi", "diffusers", "transformers", "uvicorn"} & set(loaded)


def test_help_of_the_launcher():
    answer = subprocess.run([sys.executable, "launch.py", "--help"], cwd=ROOT, capture_output=True, encoding="utf8")
    assert answer.returncode == 0 and "--run-tests" in answer.stdout
