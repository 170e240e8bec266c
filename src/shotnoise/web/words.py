"""What the page says, as HTML. Everything that comes from a file or a visitor is escaped here."""

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shotnoise.web.views import AMPLIFIED

__all__ = ["Row", "empty", "facts", "failed", "header", "outcome", "pile", "progress", "stopped", "viewer"]

_e = html.escape


@dataclass(slots=True)
class Row:
    """One file of a pile.

    Attributes:
        name: of the file.
        state: in a word or two.
        report: what was done, when it is.
        error: why it was not.
        link: where the result is.
    """

    name: str
    state: str = ""
    report: Mapping[str, Any] | None = None
    error: str = ""
    link: str = ""


def header(version: str, here: bool) -> str:
    """The top of the page."""
    where = (
        "Runs on this computer: pictures do not leave it, and nothing is loaded from anywhere else."
        if here
        else "Pictures go to this server and no further, and are removed when you close the page."
    )
    return (
        f"<div class='sn-head'><h1>shotnoise</h1><p>takes the noise out of pictures and RAW files. {where}</p>"
        f"<p class='sn-quiet'>{_e(version)}</p></div>"
    )


def empty(words: str, more: str) -> str:
    """Nothing is there yet."""
    return f"<div class='sn-panel sn-empty'><h2>{_e(words)}</h2><p class='sn-quiet'>{_e(more)}</p></div>"


def progress(name: str, doing: str, share: float | None) -> str:
    """Something is under way; a share of None is an unknown one."""
    if share is None:
        bar = "<div class='sn-progress sn-unknown'><div></div></div>"
    else:
        bar = f"<div class='sn-progress'><div style='width:{100 * share:.0f}%'></div></div>"
    return f"<div class='sn-panel' role='status'><h2>{_e(name)}</h2><p>{_e(doing)}</p>{bar}</div>"


def stopped(name: str) -> str:
    """Somebody pressed Cancel."""
    return f"<div class='sn-panel' role='status'><h2>{_e(name)}</h2><p>Cancelled; nothing was written.</p></div>"


def failed(name: str, reason: str) -> str:
    """It did not work, and why."""
    return f"<div class='sn-panel sn-error' role='alert'><h2>{_e(name)}</h2><p>{_e(reason)}</p></div>"


def facts(name: str, seen: Mapping[str, Any]) -> str:
    """What a file is."""
    size = f"{seen['width']} x {seen['height']} pixels ({seen['width'] * seen['height'] / 1e6:.1f} MP)"
    where = " at middle gray" if seen["kind"] == "raw" else ""
    return (
        f"<div class='sn-panel'><h2>{_e(name)}</h2><p>{_e(seen['what'])}, {size}</p>"
        f"<p>Noise{where}: about <b>{seen['sigma']:.1f}</b> of 255, by {_e(seen['source'])}</p>"
        f"{_notes(seen['notes'])}</div>"
    )


def outcome(report: Mapping[str, Any], link: str, size: int) -> str:
    """What was done, and where the result is."""
    told = [f"model {report['model']}", f"{report['engine']} on {report['provider']}", str(report["precision"])]
    if report["ensemble"] != "none":
        told.append(f"ensemble {report['ensemble']}")
    if count := (report["tiles"] or {}).get("tiles"):
        told.append(f"{count} tile{'s' if count != 1 else ''}")
    told.append(f"{report['seconds']:.2f} s")
    noise = ""
    if report["sigma"] is not None:
        by = f" by {_e(report['law']['source'])}" if report["law"] else ""
        noise = f"<p>Noise <b>{report['sigma']:.1f}</b> of 255{by}, removed <b>{report['removed']:.1f}</b></p>"
    return (
        f"<div class='sn-panel'><div class='sn-row'><div><h2>{_e(report['file'])}</h2>{noise}"
        f"<p class='sn-quiet'>{_e(', '.join(told))}</p></div>"
        f"<a class='sn-download' href='{_e(link)}' download='{_e(report['result'])}'>Download {_e(report['result'])} "
        f"({_size(size)})</a></div>{_notes(report['notes'])}</div>"
    )


def viewer(key: str, width: int, height: int, sides: str, version: int) -> str:
    """The picture itself."""
    return (
        f"<shotnoise-view key='{_e(key)}' width='{width}' height='{height}' sides='{_e(sides)}' version='{version}' "
        f"amplified='{AMPLIFIED}'></shotnoise-view>"
    )


def pile(rows: Iterable[Row], doing: str = "", share: float | None = None, archive: str = "") -> str:
    """Several files and what became of them."""
    body = "".join(_row(row) for row in rows)
    bar = "" if share is None else f"<div class='sn-progress'><div style='width:{100 * share:.0f}%'></div></div>"
    link = f"<a class='sn-download' href='{_e(archive)}' download>Download all as ZIP</a>" if archive else ""
    return (
        f"<div class='sn-panel'><div class='sn-row' role='status'><div><p>{_e(doing)}</p>{bar}</div>{link}</div></div>"
        "<div class='sn-table'><table><thead><tr><th>File</th><th>State</th><th class='sn-number'>Noise of 255</th>"
        "<th class='sn-number'>Removed</th><th class='sn-number'>Seconds</th></tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(row: Row) -> str:
    if row.error:
        return f"<tr><td>{_e(row.name)}</td><td colspan='4' class='sn-bad'>{_e(row.error)}</td></tr>"
    if row.report is None:
        return f"<tr><td>{_e(row.name)}</td><td>{_e(row.state)}</td><td></td><td></td><td></td></tr>"
    report = row.report
    sigma = "" if report["sigma"] is None else f"{report['sigma']:.1f}"
    notes = "".join(f"<br><span class='sn-quiet'>{_e(note)}</span>" for note in report["notes"])
    return (
        f"<tr><td>{_e(row.name)}</td><td><a href='{_e(row.link)}' download='{_e(report['result'])}'>"
        f"{_e(report['result'])}</a>{notes}</td><td class='sn-number'>{sigma}</td>"
        f"<td class='sn-number'>{report['removed']:.1f}</td><td class='sn-number'>{report['seconds']:.2f}</td></tr>"
    )


def _notes(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{_e(note)}</li>" for note in notes)
    return f"<ul class='sn-quiet'>{items}</ul>" if items else ""


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
