"""base: every command line flag, as one table, and the parser made from it. Imports nothing heavy: --help is instant.

Extensions add flags of their own to `parser` through preload.py; shared_cmd_options parses the whole.
"""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import join
from typing import Any, NoReturn

from modules.paths_internal import (  # noqa: F401  # names extensions import from here
    data_path,
    extensions_builtin_dir,
    extensions_dir,
    models_path,
    normalized_filepath,
    script_path,
    sd_default_config,
    sd_model_file,
)


@dataclass(frozen=True)
class Flag:
    """One flag: action, type and the rest as argparse has them.

    obsolete: nothing reads it; it is accepted, and said once to have no effect when the program starts. idle: why a
    flag that v1.10.1 reads has nothing to do here, which is said as well.
    """

    name: str
    help: str
    action: str = "store_true"
    default: Any = False
    type: Any = None
    choices: tuple[str, ...] | None = None
    nargs: str | None = None
    obsolete: bool = False
    idle: str = ""

    def arguments(self) -> dict[str, Any]:
        """Returns the keyword arguments of argparse's add_argument."""
        given = {"type": self.type, "choices": self.choices, "nargs": self.nargs}
        kwargs = {key: value for key, value in given.items() if value is not None}
        if self.obsolete or self.idle:
            kwargs |= {"nargs": 0} if self.action.startswith("store_") else {}
            kwargs |= {"const": self.action != "store_false", "default": self.default}
            help = argparse.SUPPRESS if self.obsolete else f"{self.help}; no effect: {self.idle}"
            return {"action": Obsolete, "reason": self.idle, "help": help, **kwargs}
        return {"action": self.action, "default": self.default, "help": self.help, **kwargs}


class Obsolete(argparse.Action):
    """Stores like any flag, and notes in the parser that the flag was given, and the reason why it has no effect."""

    def __init__(self, *args: Any, reason: str = "", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.reason = reason

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, self.const if self.nargs == 0 else values)
        if isinstance(parser, Parser):
            parser.obsolete_given[self.option_strings[0]] = self.reason


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose message about an unknown flag names the closest known one."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # The flags without effect of the command lines parsed so far, in order -> why they have none, if it is not age.
        self.obsolete_given: dict[str, str] = {}

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parses as argparse does, and ends the program with what is wrong with each argument that is unknown."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error("; ".join(self._describe_unknown(arg) for arg in unknown))
        return parsed

    def _describe_unknown(self, arg: str) -> str:
        if not arg.startswith("-"):
            return f"unexpected value {arg!r}"
        name = arg.partition("=")[0]
        known = [option for option in self._option_string_actions if option.startswith("--")]
        closest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        return f"unknown flag {name}" + (f", did you mean {closest[0]}?" if closest else "; --help lists all flags")

    def error(self, message: str) -> NoReturn:
        """Ends the program with one line instead of the whole usage."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def switch(name: str, help: str, **kwargs: Any) -> Flag:
    """Makes a flag that takes no value."""
    return Flag(name, help, **kwargs)


def value(name: str, help: str, default: Any = None, type: Any = str, **kwargs: Any) -> Flag:
    """Makes a flag that takes one value, a text unless type says otherwise."""
    return Flag(name, help, **{"action": "store", "default": default, "type": type, **kwargs})


def path(name: str, help: str, default: str | None = None, **kwargs: Any) -> Flag:
    """Makes a flag that takes a path, which becomes absolute."""
    return value(name, help, default, normalized_filepath, **kwargs)


def integer(name: str, help: str, default: int | None = None, **kwargs: Any) -> Flag:
    """Makes a flag that takes a whole number."""
    return value(name, help, default, int, **kwargs)


FLAGS: tuple[Flag, ...] = (
    # the launcher
    switch("-f", argparse.SUPPRESS),
    switch("--update-all-extensions", "pull every extension that is a git checkout before the start"),
    switch("--skip-python-version-check", "do not warn of a Python version that is not tested"),
    switch(
        "--skip-torch-cuda-test",
        "do not say that torch sees no accelerator",
        idle="nothing is tested, and a computer without an accelerator computes on the CPU",
    ),
    switch("--reinstall-xformers", "install the pinned xformers again"),
    switch("--reinstall-torch", "install the pinned torch again"),
    switch("--update-check", "say at the start whether the checkout is behind its upstream branch"),
    switch(
        "--test-server", "set the program up for its tests: API, embedded checkpoint, no accelerator, no check for NaN"
    ),
    switch("--log-startup", "print how long each step of the start took, as it ends"),
    switch("--skip-prepare-environment", "install nothing, make no virtual environment, run no extension installer"),
    switch("--skip-install", "do not call pip, run no extension installer"),
    switch("--dump-sysinfo", "write a file with facts about this computer for bug reports, and exit"),
    value("--loglevel", "level of the log: CRITICAL, ERROR, WARNING, INFO or DEBUG"),
    # folders and model files
    switch(
        "--do-not-download-clip",
        "do not fetch a text encoder that is missing in a checkpoint",
        idle="none is ever fetched",
    ),
    path("--data-dir", "folder of everything that is yours: settings, models, extensions, pictures", script_path),
    path("--models-dir", "folder of the model folders; <data-dir>/models if not given"),
    path("--config", "YAML file of the default model architecture", sd_default_config),
    path("--ckpt", "checkpoint that is added to the list and chosen at the start", sd_model_file),
    path("--ckpt-dir", "another folder that is searched for checkpoints"),
    path("--vae-dir", "another folder that is searched for VAEs"),
    path("--gfpgan-dir", "nothing reads this", "./GFPGAN", obsolete=True),
    path("--gfpgan-model", "nothing reads this", obsolete=True),
    # precision and memory
    switch("--no-half", "keep the model in float32"),
    switch("--no-half-vae", "keep the VAE in float32"),
    switch("--no-progressbar-hiding", "nothing reads this", obsolete=True),
    integer("--max-batch-count", "nothing reads this", 16, obsolete=True),
    path("--embeddings-dir", "folder of textual inversion embeddings", join(data_path, "embeddings")),
    path(
        "--textual-inversion-templates-dir",
        "folder of the prompt templates of training",
        join(script_path, "textual_inversion_templates"),
    ),
    path("--hypernetwork-dir", "folder of hypernetworks", join(models_path, "hypernetworks")),
    path("--localizations-dir", "folder of translations of the page", join(script_path, "localizations")),
    switch("--allow-code", "offer the script that runs Python code typed into the page"),
    switch("--medvram", "keep only one of text encoder, U-Net and VAE on the accelerator"),
    switch("--medvram-sdxl", "as --medvram, for SDXL models only"),
    switch("--lowvram", "move the U-Net to the accelerator block by block: slow, needs the least memory"),
    switch("--lowram", "load checkpoints straight to the accelerator instead of main memory"),
    switch("--always-batch-cond-uncond", "nothing reads this; there is a setting for it", obsolete=True),
    switch("--unload-gfpgan", "nothing reads this", obsolete=True),
    value(
        "--precision",
        "full: float32; half: float16 without autocast; autocast: mixed",
        "autocast",
        choices=("full", "half", "autocast"),
    ),
    switch("--bf16", "compute in bfloat16 where it would be float16, and on a CPU: the range of float32, fewer digits"),
    switch("--upcast-sampling", "sample in float32 around a float16 U-Net; no effect with --no-half"),
    # sharing
    switch("--share", "ask Gradio for a public link"),
    value("--ngrok", "ngrok token; opens a tunnel to the page"),
    value("--ngrok-region", "nothing reads this", "", obsolete=True),
    value("--ngrok-options", "JSON object of options of the ngrok tunnel", {}, json.loads),
    switch("--enable-insecure-extension-access", "keep the management of extensions on for a page open to others"),
    # folders of single model kinds
    path("--codeformer-models-path", "folder of CodeFormer models", join(models_path, "Codeformer")),
    path("--gfpgan-models-path", "folder of GFPGAN models", join(models_path, "GFPGAN")),
    path("--esrgan-models-path", "folder of ESRGAN upscalers", join(models_path, "ESRGAN")),
    path("--bsrgan-models-path", "nothing reads this", join(models_path, "BSRGAN"), obsolete=True),
    path("--realesrgan-models-path", "folder of RealESRGAN upscalers", join(models_path, "RealESRGAN")),
    path("--dat-models-path", "folder of DAT upscalers", join(models_path, "DAT")),
    path("--clip-models-path", "folder of the CLIP models of the interrogator"),
    # attention
    switch("--xformers", "prefer the attention of xformers, and install it"),
    switch("--force-enable-xformers", "use xformers even if it says it cannot run here"),
    switch(
        "--xformers-flash-attention",
        "ask xformers for Flash Attention",
        idle="xformers takes the fastest of its kernels that fits",
    ),
    switch("--deepdanbooru", "nothing reads this", obsolete=True),
    switch("--opt-split-attention", "prefer the split attention of Doggettx"),
    switch("--opt-sub-quad-attention", "prefer sub-quadratic attention"),
    integer("--sub-quad-q-chunk-size", "sub-quadratic attention: queries in a chunk", 1024),
    integer("--sub-quad-kv-chunk-size", "sub-quadratic attention: keys and values in a chunk"),
    integer("--sub-quad-chunk-threshold", "sub-quadratic attention: percentage of memory in use from which to cut"),
    switch("--opt-split-attention-invokeai", "prefer the split attention of InvokeAI"),
    switch("--opt-split-attention-v1", "prefer the older split attention"),
    switch("--opt-sdp-attention", "prefer the scaled dot product attention of torch"),
    switch("--opt-sdp-no-mem-attention", "as --opt-sdp-attention without its memory-efficient kernel"),
    switch("--disable-opt-split-attention", "use plain attention"),
    # devices
    switch("--disable-nan-check", "do not look for NaN in latents and pictures"),
    value(
        "--use-cpu",
        "parts that run on the CPU: sd, interrogate, gfpgan, esrgan, codeformer, scunet, swinir, all",
        [],
        str.lower,
        nargs="+",
    ),
    value(
        "--cpu-backend",
        "what computes the denoiser on a CPU in the place of torch: openvino (needs the package openvino)",
        choices=("openvino",),
    ),
    switch("--torch-compile", "compile the repeated blocks of the denoiser with torch.compile"),
    switch("--use-ipex", "use an Intel XPU", idle="a GPU by Intel is used when torch finds one"),
    switch(
        "--disable-model-loading-ram-optimization",
        "build models in memory first when loading, not on the meta device",
        idle="weights go from the file to the device, there is no slower way",
    ),
    # the server and the page
    switch("--listen", "serve on 0.0.0.0: the page is open to the network"),
    integer("--port", "port of the server; the first free one from 7860, or 7861 with --nowebui, if not given"),
    switch("--show-negative-prompt", "nothing reads this", obsolete=True),
    value("--ui-config-file", "file of the saved defaults of the page's controls", join(data_path, "ui-config.json")),
    switch("--hide-ui-dir-config", "hide and lock the settings of folders and file names"),
    switch("--freeze-settings", "lock all settings"),
    value("--freeze-settings-in-sections", "sections of settings to lock, separated by commas"),
    value("--freeze-specific-settings", "settings to lock, separated by commas"),
    value("--ui-settings-file", "file of the settings", join(data_path, "config.json")),
    switch("--gradio-debug", "start Gradio in its debug mode", idle="errors of the page are always in the log"),
    value("--gradio-auth", "logins of the page: user:password,user:password"),
    path("--gradio-auth-path", "file with logins of the page"),
    value("--gradio-img2img-tool", "nothing reads this", obsolete=True),
    value("--gradio-inpaint-tool", "nothing reads this", obsolete=True),
    Flag(
        "--gradio-allowed-path",
        "another folder whose files the page may show; can be repeated",
        action="append",
        default=[data_path],
        type=str,
    ),
    switch("--opt-channelslast", "keep the model in channels_last memory order"),
    Flag(
        "--styles-file",
        "CSV file or pattern of styles; can be repeated; <data-dir>/styles.csv if not given",
        action="append",
        default=[],
        type=str,
    ),
    switch("--autolaunch", "open the page in the browser at the start, whatever the setting says"),
    value("--theme", "look of the page: light or dark"),
    switch("--use-textbox-seed", "a text box for the seed"),
    switch("--disable-console-progressbars", "no progress bars on the console"),
    switch("--enable-console-prompts", "default of the setting of the same name"),
    path("--vae-path", "VAE that is used whatever the settings say"),
    switch("--disable-safe-unpickle", "load pickled models without checking them: they can run code"),
    # the REST API
    switch("--api", "serve the REST API beside the page"),
    value("--api-auth", "logins of the REST API: user:password,user:password"),
    switch("--api-log", "log one line for each request of the REST API"),
    switch("--nowebui", "serve the REST API only"),
    switch("--ui-debug-mode", "start the page without models"),
    value("--device-id", "number of the CUDA device to use"),
    switch("--administrator", "nothing reads this", obsolete=True),
    value("--cors-allow-origins", "origins that may call the server from a browser, separated by commas"),
    value("--cors-allow-origins-regex", "regular expression of origins that may call the server from a browser"),
    value("--tls-keyfile", "TLS key; needs --tls-certfile"),
    value("--tls-certfile", "TLS certificate; needs --tls-keyfile"),
    switch(
        "--disable-tls-verify",
        "do not verify certificates",
        action="store_false",
        default=None,
        idle="the server asks no address of its own",
    ),
    value("--server-name", "host name or address to serve on"),
    switch("--gradio-queue", "nothing reads this", default=True, obsolete=True),
    switch(
        "--no-gradio-queue",
        "do not queue the events of the page",
        idle="the events of the page travel by plain HTTP, without WebSockets",
    ),
    switch("--skip-version-check", "do not warn of versions of packages that are not tested"),
    switch("--no-hashing", "compute no sha256 of model files"),
    switch(
        "--no-download-sd-model",
        "do not fetch a checkpoint when there is none",
        idle="none is ever fetched: there is an embedded one",
    ),
    value("--subpath", "path of the page behind a reverse proxy"),
    switch("--add-stop-route", "nothing reads this", obsolete=True),
    switch("--api-server-stop", "serve the routes that stop, restart and kill the server"),
    integer("--timeout-keep-alive", "seconds an idle connection stays open", 30),
    # extensions, start and file names
    switch("--disable-all-extensions", "load no extension"),
    switch("--disable-extra-extensions", "load only the extensions that ship with the program"),
    switch("--skip-load-model-at-start", "load the model with the first request"),
    switch("--unix-filenames-sanitization", "replace only / in names of pictures"),
    integer("--filenames-max-length", "longest part of a picture's name, in characters", 128),
    switch("--no-prompt-history", "do not keep the last generation in <data-dir>/params.txt"),
    # extensions that ship with the program
    value("--ldsr-models-path", "folder of LDSR models", join(models_path, "LDSR")),
    path("--lora-dir", "folder of Lora networks", join(models_path, "Lora")),
    path("--lyco-dir-backcompat", "second folder of Lora networks", join(models_path, "LyCORIS")),
    value("--scunet-models-path", "folder of ScuNET models", join(models_path, "ScuNET")),
    value("--swinir-models-path", "folder of SwinIR models", join(models_path, "SwinIR")),
)

# Flags v1.10.1 does not have, or reads without declaring them.
ADDED_FLAGS: tuple[Flag, ...] = (
    switch("--exit", "prepare everything and exit"),
    switch("--run-tests", "install requirements_test.txt and run the tests; what follows -- goes to pytest"),
    switch("--metrics", "answer GET /metrics for Prometheus, under the login of the API"),
    switch("--trace-hooks", "log every call of an extension's hook with its time"),
    path("--text-encoder-dir", "another folder that is searched for text encoders"),
    value(
        "--devices",
        "devices of the workers, each a process of its own: all, or numbers and cpu, as in 0,1 or cpu*2; one is this"
        " process's own",
    ),
    value("--ray-address", "have Ray place the workers of --devices: auto, local, or the address of a cluster"),
    value("--check-extension", "say what an extension at a path or URL needs and changes, run none of it, and exit"),
)


def create_parser(flags: Sequence[Flag] = FLAGS + ADDED_FLAGS) -> Parser:
    """Returns a parser of the flags. What an extension declares again replaces the one there is."""
    result = Parser(prog="launch.py", description="Stable Diffusion web UI", conflict_handler="resolve")
    for flag in flags:
        result.add_argument(flag.name, **flag.arguments())
    return result


parser = create_parser()
