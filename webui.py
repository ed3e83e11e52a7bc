"""root: serves the page and the API. The server answers from the first moment; the app is attached when complete."""

from __future__ import annotations

import gc
import logging
import os
import webbrowser
from typing import TYPE_CHECKING, Any

from modules import initialize_util, safe_mode, server, start_imports, timer
from modules.shared_cmd_options import cmd_opts
from modules.timer import startup_timer
from modules.version import __version__

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI

    from modules.executors.names import Device
    from modules.executors.pool import Pool

logger = logging.getLogger(__name__)

PAGE_PORT = 7860
API_PORT = 7861
LAST_JOB_SECONDS = 10
"""How long the end of the program waits for a job whose client has gone."""

MOVED = ("queue_lock", "wrap_gradio_call", "wrap_gradio_gpu_call", "wrap_queued_call")
"""Names that extensions written before 1.3 import from here; they are in modules.call_queue."""


def __getattr__(name: str) -> Any:
    if name not in MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from modules import call_queue

    return getattr(call_queue, name)


def main() -> None:
    """Starts, and serves until something asks to stop."""
    initialize_util.configure_sigint_handler()
    devices = choose_devices()
    running = start_server()
    startup_timer.record("start server")

    from modules import initialize

    with start_imports.collections.paused():
        with startup_timer.subcategory("imports"):
            initialize.imports()
        gc.freeze()  # modules stay, so nobody need look through them again
        initialize.note_whose_code_runs()
        initialize.initialize()
        workers = start_workers(devices)
        app = start_serving(running)
    restore_jobs()
    serve(running, app, workers)
    running.stop()
    close_queue()
    if workers is not None:
        workers.close()


def choose_devices() -> list[Device]:
    """Returns the devices that have workers. A single one of --devices becomes that of this process, which then needs
    no workers.
    """
    if cmd_opts.devices is None and cmd_opts.ray_address is None:
        return []
    from modules.executors import kinds

    chosen = kinds.devices_of(cmd_opts.devices, cmd_opts.ray_address)
    if len(chosen) > 1 or cmd_opts.ray_address is not None:
        cmd_opts.skip_load_model_at_start = True  # the workers have one each
        return chosen
    if chosen[0].number is None:
        cmd_opts.use_cpu = ["all"]
    else:
        cmd_opts.device_id = str(chosen[0].number)
    return []


def start_workers(devices: list[Device]) -> Pool | None:
    """Starts a process for each of some devices, if there are any."""
    if not devices:
        return None
    from modules.executors import kinds

    pool = kinds.make_pool(devices, cmd_opts.ray_address)
    pool.start()
    startup_timer.record("start workers")
    return pool


def close_queue() -> None:
    """Ends the thread of the jobs, so that none is in the middle of its work when the interpreter goes.

    Those that wait stay written down, and what has been made is written down before.
    """
    from modules import call_queue, jobs

    jobs.leave()
    call_queue.queue.close(LAST_JOB_SECONDS)
    jobs.close()


def start_server() -> server.Server:
    """Listens on the port of the flags; without one the page takes the first that is free."""
    initialize_util.validate_tls_options()
    host = initialize_util.gradio_server_name() or "127.0.0.1"
    if cmd_opts.port is not None:
        listener = server.open_socket(host, cmd_opts.port)
    elif cmd_opts.nowebui:
        listener = server.open_socket(host, API_PORT)
    else:
        listener = server.open_socket(host, PAGE_PORT, server.PORTS_TO_TRY)

    running = server.Server(
        listener,
        ssl_keyfile=cmd_opts.tls_keyfile,
        ssl_certfile=cmd_opts.tls_certfile,
        timeout_keep_alive=cmd_opts.timeout_keep_alive,
    )
    running.start()
    return running


def start_serving(running: server.Server) -> FastAPI:
    """Builds the app and attaches it, and has the model loaded."""
    from modules import devices, initialize, launch_process

    app = create_app()
    if not initialize.loads_model():
        launch_process.give_back_freed_memory()
        devices.main_memory.give_back()
    running.attach(app)
    initialize.start_loading_model()
    announce(running)
    return app


def serve(running: server.Server, app: FastAPI, workers: Pool | None = None) -> None:
    """Attaches a new app in place of app each time a reload is asked for, until the server shall stop. Workers load the
    scripts anew as well.
    """
    from modules import shared

    while True:
        command = shared.state.wait_for_server_command()
        if command == "stop":
            logger.info("Stopping server...")
            return
        if command == "restart":
            app = reload(running, app)
            if workers is not None:
                workers.restart()
        else:
            logger.warning("unknown server command: %s", command)


def restore_jobs() -> None:
    """Takes up the jobs that the last run of the program has left, once there are scripts to plan them with."""
    from modules import errors, jobs
    from modules.api.webhooks import webhooks

    errors.run(jobs.restore, "taking up the jobs of the last run")
    webhooks.wake()


def reload(running: server.Server, app: FastAPI) -> FastAPI:
    """Loads scripts and settings anew and builds the page from them, in place of app; requests wait meanwhile."""
    from modules import initialize, script_callbacks, ui_security
    from modules.hook_records import records

    logger.info("Reloading the page...")
    running.detach()
    startup_timer.reset()
    records.restart()
    script_callbacks.app_reload_callback()
    startup_timer.record("app reload callback")
    script_callbacks.script_unloaded_callback()
    startup_timer.record("scripts unloaded callback")
    gc.unfreeze()  # among what was taken for what stays is the page before, see sd_models.import_networks
    initialize.initialize_rest(reload_script_modules=True)
    rebuilt = create_app()
    gc.freeze()
    ui_security.keep_logins(app, rebuilt)
    running.attach(rebuilt)
    announce(running, is_first=False)
    return rebuilt


def create_app() -> FastAPI:
    """Builds the complete application: page, API and the routes of extensions."""
    from fastapi import FastAPI

    from modules import (
        gradio_extensons,
        script_callbacks,
        shared,
        ui_assets,
        ui_extra_networks_routes,
        ui_job_outputs,
        ui_routes,
        ui_security,
    )
    from modules.api import api as rest_api
    from modules.api import documentation, routes_jobs
    from modules.call_queue import queue_lock

    startup_timer.record("import page and API")
    app = FastAPI(title="Stable Diffusion web UI", version=__version__, docs_url=None, redoc_url=None)
    app.root_path = root_path() or ""
    documentation.install(app)
    ui_security.install(app)
    ui_job_outputs.install()
    startup_timer.record("create app")
    if cmd_opts.nowebui:
        create_unserved_page()
    else:
        script_callbacks.before_ui_callback()
        startup_timer.record("scripts before_ui_callback")
        shared.demo = create_page(app)
        ui_extra_networks_routes.add_pages_to_demo(app)
        app.include_router(routes_jobs.page_router)

    if cmd_opts.api or cmd_opts.nowebui:
        rest_api.api_middleware(app)
        rest_api.Api(app, queue_lock)
        startup_timer.record("create API")
    else:
        initialize_util.setup_middleware(app)
    app.add_middleware(ui_assets.Assets)
    ui_routes.setup_ui_api(app)

    with startup_timer.subcategory("app_started_callback"), gradio_extensons.without_new_applications():
        script_callbacks.app_started_callback(shared.demo, app)
    move_mounts_to_end(app)
    if shared.demo is not None:
        shared.demo.config  # noqa: B018  # is worked out now rather than for the first browser
        startup_timer.record("describe page")
    return app


def create_unserved_page() -> None:
    """Builds the page without serving it: scripts find the controls they wait for, and the settings, tabs and callbacks
    of extensions are as they are beside a page.
    """
    from modules import errors, script_callbacks, ui

    # Without it the API makes the controls it needs itself.
    errors.run(ui.create_ui, "building the page for the controls of extensions")
    startup_timer.record("create ui")
    script_callbacks.before_ui_callback()
    startup_timer.record("scripts before_ui_callback")


def create_page(app: FastAPI) -> gr.Blocks:
    """Builds the page and mounts it into app."""
    import gradio as gr

    from modules import gradio_extensons, ui, ui_gradio_extensions, ui_security

    demo = ui.create_ui()
    startup_timer.record("create ui")
    with gradio_extensons.parts_of_a_page():  # Gradio would describe it to browsers at each of its steps
        gr.mount_gradio_app(
            app,
            demo,
            path="/",
            auth=initialize_util.get_gradio_auth_creds() or None,
            root_path=root_path(),
            **ui_gradio_extensions.page_options(),
        )
    demo.app = app.routes[-1].app
    ui_security.check_files_of(demo)
    startup_timer.record("mount page")
    return demo


def move_mounts_to_end(app: FastAPI) -> None:
    """Puts the page behind all routes: mounted at /, it would swallow those that extensions have added after it."""
    from starlette.routing import Mount

    app.router.routes.sort(key=lambda route: isinstance(route, Mount) and route.path == "")


def root_path() -> str | None:
    """Returns the path the page is served under behind a reverse proxy; None at the top."""
    return f"/{cmd_opts.subpath.strip('/')}" if cmd_opts.subpath else None


def announce(running: server.Server, is_first: bool = True) -> None:
    """Says how long the start took and where the server is, and opens the browser if that is wanted."""
    from modules.hook_records import records

    records.end_start()
    safe_mode.marker.end()
    timer.startup_record = startup_timer.dump()
    print(f"Startup time: {startup_timer.summary()}", flush=True)
    if is_first:
        open_tunnels(running)
    print(f"Running on local URL:  {running.url}", flush=True)
    if is_first and not cmd_opts.nowebui and wants_browser():
        webbrowser.open(running.url)


def wants_browser() -> bool:
    """Says whether flags and settings ask for a browser. A restart opens none: there is one."""
    from modules import shared

    if os.environ.get("SD_WEBUI_RESTARTING") == "1":
        return False
    setting = shared.opts.auto_launch_browser
    return cmd_opts.autolaunch or setting == "Remote" or (setting == "Local" and not cmd_opts.webui_is_non_local)


def open_tunnels(running: server.Server) -> None:
    """Opens the public addresses --share and --ngrok ask for; without one the local address still works."""
    from modules import ngrok

    def share() -> None:
        """Opens a tunnel of Gradio's and prints its address."""
        import secrets

        from gradio import networking

        url = networking.setup_tunnel("127.0.0.1", running.port, secrets.token_urlsafe(32), None, None)
        print(f"Running on public URL: {url}", flush=True)

    def ngrok_tunnel() -> None:
        """Opens a tunnel of ngrok and prints its address."""
        print(f"ngrok tunnel: {ngrok.connect(cmd_opts.ngrok, running.port, cmd_opts.ngrok_options)}", flush=True)

    tunnels: dict[str, Any] = {"--share": cmd_opts.share and share, "--ngrok": cmd_opts.ngrok and ngrok_tunnel}
    for flag, open_tunnel in tunnels.items():
        if not open_tunnel:
            continue
        try:
            open_tunnel()
        except Exception as e:  # the network, or a package, whose exceptions are of many kinds
            causes = ": ".join(str(error).rstrip(".") for error in (e, e.__cause__) if error)
            logger.error("%s gives no public address: %s. The local address works.", flag, causes)
