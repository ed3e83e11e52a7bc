"""base: the list of extensions that can be had: a JSON file at an address; which of its entries are shown, and in which
order.

    {"tags": {name: what it means}, "extensions": [{"name", "url", "description", "tags", "added", "created_at",
    "commit_time", "stars"}]}

Only the first two fields of an entry have to be there.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from modules import errors

DEFAULT_ADDRESS = os.environ.get(
    "WEBUI_EXTENSIONS_INDEX",
    "https://raw.githubusercontent.com/AUTOMATIC1111/stable-diffusion-webui-extensions/master/index.json",
)

SECONDS_TO_WAIT = 30
MOST_BYTES = 32 * 1024 * 1024

Entry = dict[str, Any]


def text_of(name: str, *others: str) -> Callable[[Entry], str]:
    """Returns the function that reads a text of an entry, from the first of several fields that it has."""
    return lambda entry: next((str(entry[field]) for field in (name, *others) if entry.get(field)), "")


def stars_of(entry: Entry) -> float:
    """Returns how many stars an entry has, 0 where nobody knows."""
    stars = entry.get("stars")
    return stars if isinstance(stars, int | float) else 0


ORDERS: tuple[tuple[str, bool, Callable[[Entry], Any] | None], ...] = (
    ("newest first", True, text_of("added")),
    ("oldest first", False, text_of("added")),
    ("a-z", False, lambda entry: entry["name"].lower()),
    ("z-a", True, lambda entry: entry["name"].lower()),
    ("internal order", False, None),
    ("update time", True, text_of("commit_time")),
    ("create time", True, text_of("created_at", "created")),
    ("stars", True, stars_of),
)
"""Label of each order, whether it is descending, and what is compared; None: as the file has it."""


def fetch(address: str) -> dict[str, Any]:
    """Returns the index at an address. Raises InvalidInput when it cannot be had, or is none."""
    try:
        with urllib.request.urlopen(address, timeout=SECONDS_TO_WAIT) as answer:
            content = answer.read(MOST_BYTES + 1)
    except (OSError, ValueError) as e:
        cause = getattr(e, "reason", None) or e
        raise errors.InvalidInput(
            f"{address} cannot be loaded: {cause}. Offline? Install from URL takes a folder of this computer too.",
            field="Extension index URL",
        ) from e
    if len(content) > MOST_BYTES:
        raise errors.InvalidInput(f"{address} has more than {MOST_BYTES} bytes", field="Extension index URL")
    return read(content, address)


def read(content: bytes | str, address: str) -> dict[str, Any]:
    """Returns an index with the entries that have a name and a URL. Raises InvalidInput for anything else."""
    try:
        index = json.loads(content)
        entries = [as_entry(entry) for entry in index["extensions"] if isinstance(entry, dict)]
        tags = {str(name): str(meaning) for name, meaning in (index.get("tags") or {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        message = f"{address} is no index of extensions: JSON with a list of `extensions` is expected"
        raise errors.InvalidInput(message, field="Extension index URL") from e
    return {"tags": tags, "extensions": [entry for entry in entries if entry["name"] and entry["url"]]}


def as_entry(entry: Mapping[str, Any]) -> Entry:
    """Returns an entry whose name, address and tags are of their types."""
    tags = entry.get("tags")
    return {
        **entry,
        "name": str(entry.get("name") or ""),
        "url": str(entry.get("url") or ""),
        "description": str(entry.get("description") or ""),
        "tags": [str(tag) for tag in tags] if isinstance(tags, list) else [],
    }


def in_order(entries: Sequence[Entry], order: int) -> list[Entry]:
    """Returns entries sorted. order: place in `ORDERS`."""
    _, is_descending, key = ORDERS[order]
    return list(entries) if key is None else sorted(entries, key=key, reverse=is_descending)


def is_shown(
    entry: Entry, ticked: Iterable[str], *, is_hiding: bool = True, needs_all: bool = False, text: str = ""
) -> bool:
    """Says whether an entry passes the filters: the tags that are ticked hide what has any (or all) of them, or show
    only that; no tag ticked hides nothing. text has to occur in the name or the description.
    """
    wanted = set(ticked)
    if wanted:
        has = wanted.intersection(entry["tags"])
        if (has == wanted if needs_all else bool(has)) == is_hiding:
            return False
    return text.strip().lower() in f"{entry['name']}\n{entry['description']}".lower()
