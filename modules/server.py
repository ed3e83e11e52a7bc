"""face: the HTTP server. It listens from the first moment, while the program behind it is still being imported.

Knows nothing of the program: what it serves is given to `attach`, and can be taken away and replaced while it runs.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any

import uvicorn

from modules import errors
from modules.http_paths import PING_PATH

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PORTS_TO_TRY = 100


def open_socket(host: str, port: int, ports_to_try: int = 1) -> socket.socket:
    """Returns a listening socket on the first free port from port on. Raises WebuiError if there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, port + ports_to_try):
        try:
            listener = socket.create_server((host, candidate), family=family, backlog=2048)
            # Accepted connections inherit it. Without it the body of an answer waits 40 ms for the client's ACK of the
            # headers; asyncio sets it only on sockets it has opened itself.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return listener
        except OSError as e:
            if e.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise errors.WebuiError(f"Cannot serve on {host}: {e.strerror}. Check --server-name.") from e
    ports = f"port {port} is" if ports_to_try == 1 else f"ports {port} to {port + ports_to_try - 1} are"
    raise errors.WebuiError(f"Cannot serve on {host}: {ports} taken or not allowed. Choose another with --port.")


class Gate:
    """An ASGI application that answers /internal/ping by itself and lets all else wait until there is an app for it.

    An app's lifespan begins when it is attached and ends when it is replaced or the server stops.
    """

    def __init__(self) -> None:
        self._app: Any = None
        self._ready = asyncio.Event()
        self._changes: asyncio.Queue[tuple[Any, Future[None]]] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None

    def exchange(self, app: Any) -> None:
        """Pass requests to app from now on; None lets them wait again. Called from any other thread than the server's.

        Raises what the start of the app's lifespan raises.
        """
        assert self._loop is not None, "the server does not run"
        done: Future[None] = Future()
        self._loop.call_soon_threadsafe(self._changes.put_nowait, (app, done))
        done.result()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run(receive, send)
        elif self._app is None and scope["path"].endswith(PING_PATH):
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
            )
            await send({"type": "http.response.body", "body": b"{}"})
        else:
            await self._ready.wait()
            await self._app(scope, receive, send)

    async def _run(self, receive: Receive, send: Send) -> None:
        """Carries out changes of the app until the server stops; all in one task, as lifespans demand."""
        await receive()
        self._loop = asyncio.get_running_loop()
        await send({"type": "lifespan.startup.complete"})

        shutdown = asyncio.ensure_future(receive())
        async with AsyncExitStack() as lifespan:
            while True:
                change = asyncio.ensure_future(self._changes.get())
                await asyncio.wait({shutdown, change}, return_when=asyncio.FIRST_COMPLETED)
                if shutdown.done():
                    change.cancel()
                    break
                app, done = change.result()
                try:
                    await self._replace(app, lifespan)
                    done.set_result(None)
                except Exception as e:  # belongs to the caller of exchange
                    done.set_exception(e)
        await send({"type": "lifespan.shutdown.complete"})

    async def _replace(self, app: Any, lifespan: AsyncExitStack) -> None:
        self._app = None
        self._ready.clear()
        await lifespan.aclose()
        if app is not None:
            await lifespan.enter_async_context(app.router.lifespan_context(app))
            self._app = app
            self._ready.set()


class Server:
    """uvicorn behind a gate, in a thread of its own.

    options: further settings of uvicorn.Config, such as ssl_keyfile.
    """

    def __init__(self, listener: socket.socket, **options: Any):
        self.gate = Gate()
        self.listener = listener
        self.is_tls = bool(options.get("ssl_certfile"))
        config = uvicorn.Config(self.gate, log_level="warning", lifespan="on", **options)
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._uvicorn.run, kwargs={"sockets": [listener]}, name="server", daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.listener.getsockname()[1]

    @property
    def url(self) -> str:
        """The address to open in a browser on this computer."""
        host = self.listener.getsockname()[0]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"{'https' if self.is_tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def start(self) -> None:
        """Serves, and returns once requests are answered. Raises WebuiError if the TLS files cannot be used."""
        try:
            self._uvicorn.config.load()
        except OSError as e:
            raise errors.WebuiError(f"The key or the certificate of TLS cannot be used: {e}") from e
        self._thread.start()
        while not self._uvicorn.started and self._thread.is_alive():
            time.sleep(0.01)

    def attach(self, app: Any) -> None:
        """Serves app, a FastAPI application that is complete, and let the requests in that have waited for it."""
        self.gate.exchange(app)

    def detach(self) -> None:
        """Lets requests wait for the next app."""
        self.gate.exchange(None)

    def stop(self) -> None:
        """Finishes the requests that are being answered, and ends."""
        self._uvicorn.should_exit = True
        self._thread.join()
