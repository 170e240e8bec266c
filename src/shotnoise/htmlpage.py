"""One HTML page that needs nothing else: the shell, the look and the parts that all reports of the house share.

Pictures are inside, fonts are those of the reader's system, colours follow its light or dark mode. Arguments called
`html` are put in as they are; everything else is text and escaped.
"""

import html as _html
from base64 import b64encode
from collections.abc import Iterable, Sequence

__all__ = ["document", "facts", "figure", "finding", "findings", "inline", "table", "text", "verdict"]


def document(title: str, parts: Iterable[str], *, script: str = "") -> str:
    """The whole page.

    Args:
        title: for the browser.
        parts: the body, HTML.
        script: of the page's own; nothing is loaded.
    """
    body = "\n".join(parts)
    ending = f"<script>{script}</script>" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main>{ending}</body></html>\n"
    )


def text(value: str) -> str:
    r"""Escaped, and without signs that could turn the line around or break it.

    >>> text("a<b\n")
    'a&lt;b�'
    """
    return _html.escape("".join(sign if sign.isprintable() else "\ufffd" for sign in value))


def inline(content: bytes, kind: str = "png") -> str:
    """A picture file as an address that holds it."""
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def figure(
    content: bytes, alt: str, *, kind: str = "png", title: str = "", caption: str = "", pixels: bool = False,
    width: int | None = None,
) -> str:  # fmt: skip
    """A picture with its words.

    Args:
        content: of the file.
        alt: what it shows, for those who cannot see it.
        kind: png or jpeg.
        title: above it.
        caption: below it.
        pixels: whether its pixels should be seen when it is enlarged.
        width: to which it grows at most.
    """
    head = f"<h3>{text(title)}</h3>" if title else ""
    words = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    size = "" if width is None else f' style="max-width:{width}px"'
    seen = ' class="pixels"' if pixels else ""
    return f'<figure{size}>{head}<img{seen} alt="{text(alt)}" src="{inline(content, kind)}">{words}</figure>'


def verdict(severity: str, words: str, html: Iterable[str]) -> str:
    """The box that a report begins with: error, warning or note; what that means; paragraphs and findings."""
    return f'<section class="verdict {severity}"><h2>{text(words)}</h2>{"".join(html)}</section>'


def finding(severity: str, said: str, *, code: str = "", html: str = "") -> str:
    """One line for :func:`findings`; `html` says where."""
    name = f"<code>{text(code)}</code> " if code else ""
    where = f' <span class="where">{html}</span>' if html else ""
    return f'<li class="{severity}"><b>{severity}</b> {name}{text(said)}{where}</li>'


def findings(lines: Sequence[str], none: str) -> str:
    """All of them, or the words for none."""
    return f"<ul>{''.join(lines)}</ul>" if lines else f"<p>{text(none)}</p>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values."""
    lines = "".join(f"<tr><td class=left>{text(name)}</td><td class=left>{text(said)}</td></tr>" for name, said in rows)
    return f"<table class=facts><tbody>{lines}</tbody></table>"


def table(heads: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], left: Sequence[int] = ()) -> str:
    """Numbers.

    Args:
        heads: of the columns.
        rows: the class of each, "minor" or none, and its cells.
        left: columns of words.
    """

    def cell(tag: str, column: int, value: str) -> str:
        return f"<{tag}{' class=left' if column in left else ''}>{text(value)}</{tag}>"

    head = "".join(cell("th", column, value) for column, value in enumerate(heads))
    lines = [
        f"<tr{f' class={kind}' if kind else ''}>{''.join(cell('td', c, value) for c, value in enumerate(row))}</tr>"
        for kind, row in rows
    ]
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


_STYLE = """
:root{color-scheme:light dark;--back:#fff;--line:#d8dce2;--soft:#f5f6f8;--code:#e4e8ed;--ink:#1d232b;--dim:#5c6675;
--link:#1f5a96;--error:#b42323;--warning:#855f00;--note:#4b6580;--one:#2b6cb0;--two:#b4531b}
@media screen and (prefers-color-scheme:dark){:root{--back:#14181d;--line:#38414c;--soft:#1e242b;--code:#2c343d;
--ink:#e2e7ec;--dim:#9aa6b3;--link:#7db7f0;--error:#ff8d86;--warning:#e9b949;--note:#9db7d1;--one:#6cb2f2;--two:#f0935a}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 20px 60px;overflow-wrap:anywhere}
h1{font-size:26px;margin:8px 0 10px}h2{font-size:19px;margin:34px 0 8px}h3{font-size:15px;margin:0 0 6px}
h3 .where{font-weight:400}
.names{color:var(--dim);margin:0 0 18px}.names b{color:var(--ink)}
.verdict{border-left:6px solid;border-radius:4px;padding:6px 18px 10px;background:var(--soft)}
.verdict h2{margin:8px 0 2px;font-size:21px}.verdict p{margin:4px 0}
.verdict.note{border-color:#2f9e5b}.verdict.warning{border-color:#e0a100}.verdict.error{border-color:#cf3f3f}
ul{padding-left:0;list-style:none;margin:10px 0}li{margin:6px 0}
li b{display:inline-block;min-width:64px;font-size:12px;text-transform:uppercase;letter-spacing:.03em}
li.error b{color:var(--error)}li.warning b{color:var(--warning)}li.note b{color:var(--note)}
code{font-size:12px;background:var(--code);border-radius:3px;padding:1px 5px}a{color:var(--link)}
pre{font-size:12px;line-height:1.45;background:var(--soft);border-radius:4px;padding:8px 12px;margin:4px 0 10px;
overflow-x:auto}
.where{color:var(--dim);font-size:13px;white-space:nowrap}.small{font-size:13px;color:var(--dim);margin:0 0 6px}
figure{margin:0}img{display:block;max-width:100%;width:100%;height:auto}.natural img{width:auto}
.natural figure{margin:14px 0}
figcaption{font-size:13px;color:var(--dim);margin-top:4px}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:12px}.pixels{image-rendering:pixelated;background:var(--soft)}
.three,.two{display:grid;grid-template-columns:repeat(3,1fr);gap:8px}.two{grid-template-columns:repeat(2,1fr)}
.closeup{margin:0 0 22px;scroll-margin-top:12px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(320px,100%),1fr));gap:26px 18px;margin-top:22px}
.curves{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(370px,100%),1fr));gap:22px 24px;margin-top:12px}
svg{display:block;width:100%;height:auto;font-size:12.5px}svg text{fill:var(--dim)}
svg .axis,svg .grid{stroke:var(--line);stroke-width:1;fill:none}svg .axis{stroke:var(--dim)}
svg .main,svg .faint{fill:none;stroke:var(--one);stroke-width:1.8;stroke-linejoin:round}
svg .faint{stroke-width:.7;opacity:.38}svg .dot{fill:var(--one)}
svg .best{fill:none;stroke:var(--two);stroke-width:1.8}svg .bad{stroke:var(--error);stroke-width:1.2}
svg .named{fill:var(--two);font-weight:600}
.scroll{overflow-x:auto;margin:8px 0}table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:5px 12px;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--dim);background:var(--soft);vertical-align:bottom}.left{text-align:left}
.dim,tr.minor td{color:var(--dim)}
.facts td:first-child{color:var(--dim);white-space:nowrap}details{margin:8px 0}summary{cursor:pointer;color:var(--link)}
.natural .scroll{font-size:13px}.natural .scroll th,.natural .scroll td{white-space:nowrap}
.natural .scroll td.left{white-space:normal}
.slider{position:relative;overflow:hidden;touch-action:pan-y;margin:0 auto}
.slider figure{width:100%;max-width:none !important}
.slider figure+figure{position:absolute;inset:0;clip-path:inset(0 0 0 var(--at))}
.slider h3{position:absolute;top:8px;left:8px;margin:0;padding:1px 8px;border-radius:3px;background:#000a;color:#fff;
font-size:13px}.slider figure+figure h3{left:auto;right:8px}
.slider i{position:absolute;top:0;bottom:0;left:var(--at);width:2px;margin-left:-1px;background:#fff;
box-shadow:0 0 3px #000}
.slider input{position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0;cursor:ew-resize}
.slider input:focus-visible+i{background:#ffd400}
@media(max-width:640px){main{padding:16px 12px 40px}h1{font-size:22px}.pair{grid-template-columns:1fr}
.three,.two{gap:4px}.verdict{padding:4px 12px 8px}.where{white-space:normal}th,td{padding:4px 6px}}
@media print{.slider input,.slider i,.natural details{display:none}figure,.closeup{break-inside:avoid}}
"""
