"""face: how the page shows what became of a job: its error, and the time and memory it took."""

from __future__ import annotations

import html

from modules import call_queue, errors


def error_html(error: Exception) -> str:
    """Returns the error as the page shows it; the message of a domain error already says what to do, that of an
    extension's where it comes from.
    """
    text = str(error) if isinstance(error, errors.WebuiError) else f"{type(error).__name__}: {error}"
    text = str(getattr(error, "extension_failure", text))
    return f"<div class='error'>{html.escape(text)}</div>"


def stats_html(seconds: float, memory: dict[str, int]) -> str:
    """Returns the line below the infotext: time taken and, on a GPU, the peak of memory used, given in bytes."""
    minutes, rest = divmod(seconds, 60)
    taken = f"{int(minutes)} min. {rest:.1f} sec." if minutes else f"{rest:.1f} sec."
    parts = [f"<p class='time'>Time taken: <wbr><span class='measurement'>{taken}</span></p>"]
    if memory.get("total"):
        parts.append(vram_html({name: -(value // -(1024 * 1024)) for name, value in memory.items()}))
    return f"<div class='performance'>{''.join(parts)}</div>"


def vram_html(memory: dict[str, int]) -> str:
    """Returns the peak use of the device's memory; values in MiB."""
    share = 100 * memory["system_peak"] / max(memory["total"], 1)
    rows = [
        ("A", "Active: peak amount of video memory used", f"{memory['active_peak'] / 1024:.2f} GB"),
        ("R", "Reserved: total amount of video memory allocated", f"{memory['reserved_peak'] / 1024:.2f} GB"),
        (
            "Sys",
            "System: peak amount of video memory used by all programs",
            f"{memory['system_peak'] / 1024:.1f}/{memory['total'] / 1024:g} GB</span> ({share:.1f}%)",
        ),
    ]
    spans = [
        f"<span title='{title}'>{name}: <span class='measurement'>{value}</span></span>" for name, title, value in rows
    ]
    return f"<p class='vram'>{', <wbr>'.join(spans)}</p>"


def install() -> None:
    """Has the handlers that `call_queue` wraps answer this way."""
    call_queue.dress.error = error_html
    call_queue.dress.stats = stats_html
