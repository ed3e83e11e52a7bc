"""face: the files of Gradio's front end, sent from memory and packed once, with what takes longest made quick.

A cold load asks for more than a hundred of them. On the way through all routes and into Gradio's own application each
costs milliseconds.
"""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gradio.routes import BUILD_PATH_LIB
from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.responses import Response

PREFIX = "/assets/"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
PACKED_TYPES = (".js", ".css", ".svg")
SMALLEST_PACKED = 500

Message = MutableMapping[str, Any]

FIND_NODE = (
    "function Z(e,t){if(e.id===t)return e;if(e.children)for(let n of e.children){let e=Z(n,t);if(e)return e}"
    "return null}"
)
QUICK_FIND_NODE = """
const knownNodes = new WeakMap();
function rememberNodes(node, known) {
    known.set(node.id, node);
    for (const child of node.children ?? []) rememberNodes(child, known);
    return known;
}
function Z(root, id) {
    const known = knownNodes.get(root)?.get(id);
    if (known) return known;
    const nodes = rememberNodes(root, new Map());
    knownNodes.set(root, nodes);
    return nodes.get(id) ?? null;
}
"""
"""Every update of a component looks it up by walking the tree of all components: a thousand updates of a thousand."""

ATTACHED_EVENTS = (
    "find_attached_events(e,t){let n=t.filter(t=>t.targets.find(([t])=>t===e.id)).map(t=>{let n=t.targets.find(([t])=>"
    "t===e.id);return n?n[1]:null}).filter(Boolean);return e.props.shared_props.attached_events=n,e}"
)
QUICK_ATTACHED_EVENTS = """find_attached_events(node, dependencies) {
    if (this.eventsKnownFor !== dependencies || this.eventsKnown !== dependencies.length) {
        this.eventsKnownFor = dependencies;
        this.eventsKnown = dependencies.length;
        this.eventsById = new Map();
        for (const {targets} of dependencies) {
            for (const [id, event] of new Map(targets.toReversed())) {
                if (event) this.eventsById.set(id, [...(this.eventsById.get(id) ?? []), event]);
            }
        }
    }
    node.props.shared_props.attached_events = this.eventsById.get(node.id) ?? [];
    return node;
}"""
"""Each component looks through the targets of all events for its own."""

FIT_TO_TEXT = "async function Q(e){if(await E(),v()===h(Y))return;let t=e.target,n=window.getComputedStyle(t),"
FIT_WHEN_SHOWN = """let watched = null, isShown = false;
function noteSize([{target, contentRect}]) {
    const wasShown = isShown;
    isShown = contentRect.width > 0;
    if (isShown && !wasShown) requestAnimationFrame(() => Q({target}));
}
async function Q(e) {
    if (await E(), v() === h(Y)) return;
    let t = e.target;
    if (watched !== t) new ResizeObserver(noteSize).observe(watched = t);
    if (!isShown) return;
    let n = window.getComputedStyle(t),"""
"""Each text field takes its height from its text as soon as it is made, for which the browser works out the style of
all that is new, even where the field is in a tab that nobody sees. There it waits until it is shown, and is right then.
"""

COUNT_SECONDS = "function ze(){me(()=>{F(Pe,(performance.now()-w(de))/1e3),W&&ze()})}"
COUNT_TENTHS = "function ze(){setTimeout(()=>{y()!==`hidden`&&F(Pe,(performance.now()-w(de))/1e3),W&&ze()},100)}"
"""Each output that waits for its event counts the seconds at every frame, shown or not; what it shows is tenths."""

DRAW_ALWAYS = (
    "this._requestId=null,this.started&&(this.update(e),this.started&&this._requestId===null&&"
    "this._head.next&&(this._requestId=requestAnimationFrame(this._tick)))}}"
)
DRAW_WHEN_SEEN = """this._requestId = null;
    if (!this.started) return;
    this.update(e);
    if (this.started && this._requestId === null && this._head.next) {
        if (!window.canvasesAreHidden?.()) this._requestId = requestAnimationFrame(this._tick);
        else {
            const later = this._requestId = {};
            setTimeout(() => this._requestId === later && this._tick(performance.now()), 250);
        }
    }
}}"""
"""Each image editor draws itself at every frame, so that the browser never rests. Where nobody sees it, it may wait."""

ASK_FOR_VALUES = "r&&!(`value`in t)&&(await this.#m(e,r),await this.#h(r))"
ASK_IF_IT_MAY_GO = "r&&`visible`in t&&t.visible!==!0&&(await this.#m(e,r),await this.#h(r))"
ASK_EACH_CHILD = "`value`in t||await this.#m(n.id,n),e&&e(t)"
ASK_EACH_THAT_MAY_GO = "t.visible!==!0&&await this.#m(n.id,n),e&&e(t)"
"""Before an update, of a progress bar too, a component and all in it are asked for a copy of their properties, image
editors for their drawing, which they upload. It is what a component starts with when it is made again, so it takes an
update that removes it.
"""

MAKE_EDITOR = "re(Ys(o,{get border_region(){return S(t)}"
MAKE_EDITOR_WHEN_NEEDED = """queueMicrotask(() => window.whenCanvasIsNeeded(o.parentElement, () => L(isNeeded, !0)));
ifBlock(o, (make) => S(isNeeded) && make((o) => re(Ys(o, {get border_region(){return S(t)}"""
EDITOR_MADE = "set image_id(e){L(l,e,!0)}}),e=>c=e,()=>c)}a(t,r)}"
EDITOR_MADE_WHEN_NEEDED = "set image_id(e){L(l,e,!0)}}),e=>c=e,()=>c)))}a(t,r)}"
DRAWING_OF_EDITOR = "return await c.get_data()}let h=f(!1)"
DRAWING_OR_VALUE = "return c ? await c.get_data() : s.props.value}let isNeeded = f(!1), ifBlock = p, h = f(!1)"
"""An image editor takes two WebGL contexts and draws itself as soon as it is made, in tabs that nobody opens too. Its
frame is there, the page's scripts say when what is in it is needed; until then its drawing is the image it was given.
"""

HOLD_BACK_ALL = (
    "function Y(e,t){return e.props.shared_props.visible===!0&&(t.add(e.id),e.props.shared_props.visible=!1),"
    "e.children.forEach(e=>{Y(e,t)}),e}"
)
HOLD_BACK_TOPMOST = (
    "function Y(e,t){return e.props.shared_props.visible===!0?(t.add(e.id),e.props.shared_props.visible=!1):"
    "e.props.shared_props.visible!==!1&&e.children.forEach(e=>{Y(e,t)}),e}"
)
"""Of what nobody sees at the start the front end holds back each component, so that it takes an update of each to make
them. With the topmost all in it are held back, and come with it. `modules.ui_reveal` counts on it.
"""

LOAD_ALL = "q(this.root,this.#r.api_url),await C(),r=Z(this.root,e),i=!0"
LOAD_SHOWN = "q(n??this.root,this.#r.api_url),await C(),r=Z(this.root,e),i=!0"
"""What is shown for the first time has the code of its components loaded, for which all of the page is gone through."""

QUICKER = {
    LOAD_ALL: LOAD_SHOWN,
    HOLD_BACK_ALL: HOLD_BACK_TOPMOST,
    FIND_NODE: QUICK_FIND_NODE,
    ASK_FOR_VALUES: ASK_IF_IT_MAY_GO,
    ASK_EACH_CHILD: ASK_EACH_THAT_MAY_GO,
    MAKE_EDITOR: MAKE_EDITOR_WHEN_NEEDED,
    EDITOR_MADE: EDITOR_MADE_WHEN_NEEDED,
    DRAWING_OF_EDITOR: DRAWING_OR_VALUE,
    ATTACHED_EVENTS: QUICK_ATTACHED_EVENTS,
    FIT_TO_TEXT: FIT_WHEN_SHOWN,
    COUNT_SECONDS: COUNT_TENTHS,
    DRAW_ALWAYS: DRAW_WHEN_SEEN,
}
"""Text of the pinned version of the front end -> what is sent instead. What is not found stays as it is."""


@dataclass(frozen=True)
class Asset:
    plain: bytes
    packed: bytes | None
    media_type: str

    def response(self, encodings: str) -> Response:
        """Returns the answer for a browser that takes these encodings."""
        headers = {"Cache-Control": "public, max-age=86400", "Vary": "Accept-Encoding"}
        if self.packed is None or "gzip" not in encodings:
            return Response(self.plain, headers=headers, media_type=self.media_type)
        return Response(self.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=self.media_type)


@cache
def names() -> frozenset[str]:
    """Returns the names of the files that are sent from memory."""
    return frozenset(path.name for path in Path(BUILD_PATH_LIB).iterdir() if path.suffix in MEDIA_TYPES)


@cache
def asset(name: str) -> Asset:
    """Returns one of `names`, read and packed the first time."""
    path = Path(BUILD_PATH_LIB) / name
    content = path.read_bytes()
    if path.suffix == ".js":
        for text, quicker in QUICKER.items():
            content = content.replace(text.encode(), quicker.encode())
    is_packed = path.suffix in PACKED_TYPES and len(content) >= SMALLEST_PACKED
    return Asset(content, gzip.compress(content, 6, mtime=0) if is_packed else None, MEDIA_TYPES[path.suffix])


class Assets:
    """ASGI middleware that answers requests for the front end's files and passes on all others."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        name = get_route_path(scope).removeprefix(PREFIX) if scope["type"] == "http" else ""
        if scope.get("method") not in ("GET", "HEAD") or name not in names():
            await self.app(scope, receive, send)
            return
        await asset(name).response(Headers(scope=scope).get("accept-encoding", ""))(scope, receive, send)
