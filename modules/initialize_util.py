"""root: parts of the start that are more than one call: server address, logins, signals, effects of settings."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from modules import errors, safe_mode, util
from modules.shared_cmd_options import cmd_opts

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)


def gradio_server_name() -> str | None:
    """Returns the address to serve on as the flags say; None if they say nothing."""
    if cmd_opts.server_name:
        return cmd_opts.server_name
    return "0.0.0.0" if cmd_opts.listen else None


def validate_tls_options() -> None:
    """Raises InvalidInput unless --tls-keyfile and --tls-certfile are both absent, or both name files."""
    files = {"tls_keyfile": cmd_opts.tls_keyfile, "tls_certfile": cmd_opts.tls_certfile}
    if not any(files.values()):
        return
    for field, path in files.items():
        flag = f"--{field.replace('_', '-')}"
        if not path:
            raise errors.InvalidInput(f"{flag} is missing: TLS needs a key and a certificate", field)
        if not os.path.isfile(path):
            raise errors.InvalidInput(f"{flag}: there is no file {path}", field)


def get_gradio_auth_creds() -> list[tuple[str, str]]:
    """Returns the (user, password) pairs of --gradio-auth and --gradio-auth-path.

    Raises InvalidInput for a pair without a colon.
    """
    texts = [cmd_opts.gradio_auth or ""]
    if cmd_opts.gradio_auth_path:
        with open(cmd_opts.gradio_auth_path, encoding="utf8") as file:
            texts += file.read().splitlines()

    pairs = [pair.strip() for text in texts for pair in text.split(",") if pair.strip()]
    for pair in pairs:
        if ":" not in pair:
            raise errors.InvalidInput("a login of the page is not of the form user:password", "gradio_auth")
    return [(user, password) for user, _, password in (pair.partition(":") for pair in pairs)]


def dumpstacks() -> None:
    """Logs where each thread is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        stack = "".join(traceback.format_stack(frame))
        logger.debug("thread %s (%s):\n%s", names.get(ident, ""), ident, stack)


def configure_sigint_handler() -> None:
    """Lets Ctrl+C end the program at once, whatever it is doing; not under COVERAGE_RUN, which needs an orderly end."""

    def end(sig: int, frame: FrameType | None) -> None:
        """Ends the program at once, with what each thread was doing."""
        print("Interrupted.", flush=True)
        safe_mode.marker.end()
        dumpstacks()
        os._exit(0)

    if not os.environ.get("COVERAGE_RUN"):
        signal.signal(signal.SIGINT, end)


def configure_opts_onchange() -> None:
    """Attaches what has to happen when a setting changes; changes of models wait for the job that runs."""
    from modules import sd_hijack, sd_models, sd_vae, shared, shared_gradio_themes, ui_tempdir
    from modules.call_queue import wrap_queued_call
    from modules.job import elsewhere

    def on_model(function: Callable[[], Any]) -> Callable[[], Any]:
        """Has a change of the model wait for the job that runs; where workers have the models, they make it."""
        queued = wrap_queued_call(function)

        def change() -> None:
            """Makes the change."""
            if not elsewhere.has_models() or sd_models.model_data.sd_model is not None:
                queued()
                prepare_model()

        return change

    def attach(key: str, function: Callable[[], Any], call: bool = False) -> None:
        """Has a function called when a setting changes."""
        shared.opts.onchange(key, function, call=call)

    attach("sd_model_checkpoint", on_model(lambda: sd_models.reload_model_weights()))
    attach("forge_additional_modules", on_model(lambda: sd_models.reload_with_modules()))
    attach("sd_vae", on_model(lambda: sd_vae.reload_vae_weights()))
    attach("sd_vae_overrides_per_model_preferences", on_model(lambda: sd_vae.reload_vae_weights()))
    attach("fp8_storage", on_model(lambda: sd_models.reload_model_weights(forced_reload=True)))
    attach("cache_fp16_weight", on_model(lambda: sd_models.reload_model_weights(forced_reload=True)))
    attach("cross_attention_optimization", on_model(lambda: sd_hijack.model_hijack.redo_hijack(shared.sd_model)))
    attach("temp_dir", ui_tempdir.on_tmpdir_changed, call=True)
    attach("gradio_theme", shared_gradio_themes.reload_gradio_theme, call=True)


def prepare_model() -> None:
    """Has the backend that computes the denoiser, if there is one, do what the next job would begin with.

    Each part of that stands in the queue, so a job comes before it, or waits for it, and never computes beside it.
    """
    from modules import backends, call_queue, devices, sd_models

    model = sd_models.model_data.sd_model
    if model is None or backends.chosen(devices.device) is None:
        return
    parts = model.model.runner.prepare(model.model.diffusion_model, devices.device)

    def next_part() -> None:
        """Does one part, and queues the next, as long as the model is the current one."""
        is_done = sd_models.model_data.sd_model is not model or next(parts, True)
        if not is_done:
            enqueue()

    def enqueue() -> None:
        """Queues the next part; its errors are reported."""
        call_queue.submit_call("prepare the model", lambda: errors.run(next_part, "preparing the model"))

    enqueue()


def setup_middleware(app: FastAPI) -> None:
    """Compress answers, and answer other origins as the flags allow."""
    from fastapi.middleware.gzip import GZipMiddleware

    app.add_middleware(GZipMiddleware, minimum_size=1000)
    configure_cors_middleware(app)


def configure_cors_middleware(app: FastAPI) -> None:
    """Lets the origins of the flags call the server from a browser."""
    from fastapi.middleware.cors import CORSMiddleware

    from modules.api.api import cors_options

    app.add_middleware(CORSMiddleware, **cors_options())


def restore_config_state_file() -> None:
    """Puts extensions into the state the user chose to restore at this start, once."""
    from modules import config_states, shared

    path = shared.opts.restore_config_state_file
    if not path:
        return
    shared.opts.restore_config_state_file = ""
    shared.opts.save(shared.config_filename)

    states = config_states.list_config_states().values()
    state = next((state for state in states if state["filepath"] == path), None)
    if state is None:
        logger.error("there is no state of extensions in %s, they stay as they are", path)
        return
    logger.info("restoring extensions as in %s", path)
    config_states.restore_extension_config(state)


def make_ui_config() -> None:
    """Writes an empty file of the page's defaults where there is none: extensions open it while they load."""
    if not os.path.exists(cmd_opts.ui_config_file):
        util.write_text_atomically(cmd_opts.ui_config_file, "{}")


def remove_unfinished_files() -> None:
    """Removes what a killed program has left of files that it was writing: at once in the data folder, and besides the
    start in the folders of results and models, which can be large.
    """
    from modules import paths, shared, whole_files

    whole_files.remove_abandoned(paths.data_path, recursive=False)
    labels = list(shared.opts.data_labels.items())
    settings = [shared.opts.data.get(name, info.default) for name, info in labels if name.startswith("outdir_")]
    folders = [*settings, paths.models_path, cmd_opts.ckpt_dir]

    def work() -> None:
        """Goes through the folders."""
        for folder in dict.fromkeys(filter(None, folders)):
            whole_files.remove_abandoned(folder)

    threading.Thread(target=work, name="remove unfinished files", daemon=True).start()
