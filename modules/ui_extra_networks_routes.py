"""face: what the panes of extra networks ask the server for: previews, what files say of themselves, single cards."""

from __future__ import annotations

import json
import os

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import HTTPException
from fastapi.responses import FileResponse, JSONResponse, Response

from modules import errors, util
from modules.ui_extra_networks_page import COVER_IMAGES_KEY, allowed_preview_extensions, path_is_parent
from modules.ui_extra_networks_registry import allowed_dirs, find_page

router = APIRouter(prefix="/sd_extra_networks", tags=["page"])


@router.get("/thumb", summary="Preview picture of an extra network")
def fetch_file(filename: str = "") -> FileResponse:
    """Sends an image from the folders of the pages. Whatever else is asked for is not there: no answer tells whether
    a file outside of them exists. A link may lead elsewhere, as users link folders of models, but only to an image.
    """
    if "\0" in filename:
        raise HTTPException(status_code=422, detail="filename: a path holds no NUL")
    real = os.path.realpath(filename)
    extensions = {os.path.splitext(path)[1].lower().lstrip(".") for path in (filename, real)}
    is_allowed = extensions.issubset(allowed_preview_extensions())
    if not is_allowed or not any(path_is_parent(x, filename) for x in allowed_dirs) or not os.path.isfile(real):
        raise HTTPException(status_code=404, detail="File not found")
    return FileResponse(real)


@router.get("/cover-images", summary="Picture inside the file of an extra network")
def fetch_cover_images(page: str = "", item: str = "", index: int = 0) -> Response:
    """Sends an image that lies inside the file of an item."""
    found = find_page(page)
    if found is None or item not in found.metadata:
        raise HTTPException(status_code=404, detail="Item not found")
    try:
        content, media_type = found.cover_image(item, index)
    except errors.NotFound as e:
        raise HTTPException(status_code=404, detail=str(e)) from e
    return Response(content, media_type=media_type)


@router.get("/metadata", summary="What the file of an extra network says of itself")
def get_metadata(page: str = "", item: str = "") -> JSONResponse:
    """Sends the metadata of an item as JSON text, without the images in it."""
    found = find_page(page)
    metadata = found.metadata.get(item) if found else None
    if metadata is None:
        return JSONResponse({})
    shown = {key: value for key, value in metadata.items() if key != COVER_IMAGES_KEY}
    return JSONResponse({"metadata": util.sendable(json.dumps(shown, indent=4, ensure_ascii=False))})


@router.get("/get-single-card", summary="Card of an extra network, read anew")
def get_single_card(page: str = "", tabname: str = "", name: str = "") -> JSONResponse:
    """Sends the HTML of one card, made of its files as they are now."""
    found = find_page(page)
    if found is None or name not in found.items:
        raise HTTPException(status_code=404, detail="Item not found")
    found.lister.reset()
    place = (found.items[name].get("sort_keys") or {}).get("default")
    item = found.create_item(name, place, enable_filter=False)
    if item is None:
        raise HTTPException(status_code=404, detail="Item not found")
    found.items[name] = item
    found.read_user_metadata(item)
    return JSONResponse({"html": util.sendable(found.create_item_html(tabname, item, found.card_tpl))})


def add_pages_to_demo(app: FastAPI) -> None:
    """Adds the routes the panes ask."""
    app.include_router(router)
