"""How many of our own functions stand between a request and the U-Net: few enough to be read in one sitting."""

import gc
import inspect
import sys
from pathlib import Path

from modules import shared

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = (ROOT / "modules", ROOT / "scripts", ROOT / "extensions-builtin")
MOST = 17


def place_of(code) -> str | None:
    """`file:function` of ours, None of others."""
    file = Path(code.co_filename)
    if not any(file.is_relative_to(folder) for folder in OURS):
        return None
    return f"{file.relative_to(ROOT).as_posix()}:{code.co_qualname}"


def own_frames() -> list[str]:
    """Our functions on the calling thread's stack, the innermost last."""
    frame, found = sys._getframe(1), []
    while frame is not None:
        found.append(place_of(frame.f_code))
        frame = frame.f_back
    return [place for place in reversed(found) if place]


def awaiting(handler: str) -> list[str]:
    """The route of that name, and what it waits in."""
    coroutines = [thing for thing in gc.get_objects() if inspect.iscoroutine(thing)]
    coroutine = next(coroutine for coroutine in coroutines if coroutine.cr_code.co_name == handler)
    found = []
    while inspect.iscoroutine(coroutine):
        found.append(place_of(coroutine.cr_code))
        coroutine = coroutine.cr_await
    return [place for place in found if place]


def test_from_the_request_to_the_unet(client):
    """Counted are the functions the request waits in, and those on the stack of the thread that runs its job."""
    seen = []
    unet = shared.sd_model.model.diffusion_model
    hook = unet.register_forward_pre_hook(lambda *args: seen.append(awaiting("text2imgapi") + own_frames()))
    try:
        body = {"prompt": "red apple", "width": 64, "height": 64, "steps": 1, "sampler_name": "Euler a"}
        assert client.post("/sdapi/v1/txt2img", json=body).status_code == 200
    finally:
        hook.remove()
    way = seen[0]
    assert way[0].startswith("modules/api/routes_generate.py") and "sample_euler_ancestral" in "".join(way)
    assert len(way) <= MOST, "\n".join(way)
