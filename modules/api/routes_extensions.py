"""face: what is told of an extension before it is installed or updated."""

from __future__ import annotations

from fastapi import APIRouter

from modules import errors, extension_sources, shared
from modules.api import models
from modules.extension_check import ExtensionReport
from modules.http_paths import OWN_PREFIX
from modules.http_routes import DescribedRoute

router = APIRouter(tags=["extensions"], route_class=DescribedRoute)


@router.post(
    f"{OWN_PREFIX}v1/extensions/check",
    response_model=ExtensionReport,
    summary="What an extension needs and changes",
    description="Reads the code of an extension without running it. An address is cloned, unless the server is open to "
    "others.",
)
def check_extension(request: models.ExtensionCheckRequest) -> ExtensionReport:
    """Returns the report about an installed extension, or about one that is cloned for it."""
    if extension_sources.is_address(request.source):
        if shared.cmd_opts.disable_extension_access:
            message = "Cloning extensions is off for a server open to others: see --enable-insecure-extension-access"
            raise errors.InvalidInput(message, field="source")
        return extension_sources.report(request.source)
    folder = next((path for path in extension_sources.installed() if path.name == request.source), None)
    if folder is None:
        message = f"source: no extension {request.source!r} is installed; give the name of one, or an https:// address"
        raise errors.InvalidInput(message, field="source")
    return extension_sources.report(str(folder))
