"""The page: drop a file, choose, look closely, take the result home. Built with Gradio, which is an extra."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr

from shotnoise import __version__
from shotnoise.web import words
from shotnoise.web.api import file_name, kind_of
from shotnoise.web.desk import Desk, Ticket
from shotnoise.web.limits import MEGA, Limits, RefusedError
from shotnoise.web.settings import Offer, Settings
from shotnoise.web.shelf import Item, Shelf
from shotnoise.web.words import Row

__all__ = ["Page"]

_OFTEN = 0.15  # seconds between two words about how far it is
_PATIENCE = 2.0  # seconds before a pile of files knocks again at a full queue
_ENDINGS = "PNG, JPEG, TIFF (8, 16 bits, float), WebP, BMP, NPY, DNG and the RAW files of most cameras"
_ALONE, _SEVERAL = "one", "several"

Update = tuple[Any, ...]


class Page:
    """What the page does. Files lie on the shelf under the name of the browser tab that sent them.

    Args:
        desk: where work is done.
        shelf: where files lie.
        offer: what can be chosen.
        limits: of the server.
        here: whether only this machine is served.
    """

    def __init__(self, desk: Desk, shelf: Shelf, offer: Offer, limits: Limits, here: bool) -> None:
        self.desk, self.shelf, self.offer, self.limits, self.here = desk, shelf, offer, limits, here
        self._running: dict[str, Ticket] = {}  # by browser tab, and so is the next
        self._stopped: set[str] = set()

    def build(self) -> Any:
        """The Gradio application."""
        hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
        with gr.Blocks(title="shotnoise", analytics_enabled=False, delete_cache=(60, 120)) as page:
            gr.HTML(words.header(__version__, self.here))
            one, several = gr.State({}), gr.State({})
            tab = gr.State(_ALONE)
            with gr.Row():
                with gr.Column(scale=1, min_width=300):
                    with gr.Tabs() as tabs:
                        with gr.Tab("One file", id=_ALONE):
                            file = gr.File(label="Picture or RAW file", height=170, elem_id="file")
                            example = gr.Button("Try an example picture", size="sm", elem_id="example")
                        with gr.Tab("Several files", id=_SEVERAL):
                            heap = gr.File(
                                label="Pictures and RAW files", file_count="multiple", height=180, elem_id="files"
                            )
                    strength = gr.Slider(
                        0, 2, 1, step=0.05, label="Strength", info="1 is the model's result", elem_id="strength"
                    )
                    model = gr.Dropdown(self._models(), value="auto", label="Model", info=self._defaults())
                    with gr.Row():
                        start = gr.Button("Denoise", variant="primary", elem_id="denoise", interactive=False)
                        stop = gr.Button("Cancel", elem_id="cancel", visible=False, min_width=90)
                    with gr.Accordion("Noise, engine, format", open=False, elem_id="more"):
                        # Of texts an empty one is empty; an empty number would show, and mean, 0.
                        level = gr.Textbox(
                            label="Noise level of pictures", placeholder="estimated", elem_id="level", max_lines=1,
                            info="standard deviation, 0 to 255",
                        )  # fmt: skip
                        with gr.Row():
                            profile = gr.Dropdown(
                                [("by the file, or estimated", ""), *sorted(self.offer.profile_sources)],
                                value="", label="Noise profile of RAW", min_width=160, scale=2, elem_id="profile",
                            )  # fmt: skip
                            iso = gr.Textbox(
                                label="At ISO", placeholder="of the file", min_width=80, visible=False, max_lines=1
                            )
                        engine = gr.Dropdown(["auto", *self.offer.engines], value=self.offer.engine, label="Engine")
                        precision = gr.Dropdown(
                            ["auto", "fp32", "bf16", "fp16", "int8"], value=self.offer.precision, label="Precision"
                        )
                        poses = gr.Checkbox(False, label="Mean over 8 poses: better by a little, 8 times the work")
                        ending = gr.Dropdown(
                            [("as given; RAW: DNG", ""), "png", "tif", "jpg", "webp", "npy"],
                            value="", label="Format of the result",
                        )  # fmt: skip
                        quality = gr.Slider(1, 100, 95, step=1, label="Quality of JPEG and WebP")
                with gr.Column(scale=3, min_width=320):
                    with gr.Column(visible=True) as alone:
                        status = gr.HTML(self._nothing(), elem_id="status")
                        view = gr.HTML("", elem_id="view", js_on_load=None)
                    with gr.Column(visible=False) as table:
                        pile = gr.HTML(self._no_files(), elem_id="pile")
            choices = [model, strength, level, profile, iso, engine, precision, poses, ending, quality]
            shown = [status, view, one, start, level, profile]
            for event in (file.upload, file.clear):
                event(self.opened, [file], shown, **hidden)
            example.click(self.example, None, [*shown, file], **hidden)
            for event in (heap.upload, heap.clear, heap.delete):
                event(self.collected, [heap], [pile, several, start], **hidden)
            tabs.select(self.turned, [one, several], [tab, alone, table, start, level, profile], **hidden)
            profile.change(lambda name: gr.update(visible=bool(name)), profile, iso, **hidden)
            start.click(self.started, [tab, one, several, *choices], [status, view, one, pile, start, stop], **hidden)
            stop.click(self.cancelled, None, [stop], **hidden)
            page.unload(self.left)
        page.queue(api_open=False, default_concurrency_limit=None)
        return page

    # What happens. Each is told by the events above; `request` says which browser tab it is.

    async def opened(self, path: str | None, request: gr.Request) -> AsyncIterator[Update]:
        """A file came, or went."""
        item = self._replace(_ALONE, request)
        if path is None:
            self.shelf.drop(item.key)
            yield self._cleared()
            return
        name = file_name(os.path.basename(path))
        _take(Path(path), item.inside("in") / name)
        async for update in self._looked_at(item, name, request):
            yield update

    async def example(self, request: gr.Request) -> AsyncIterator[Update]:
        """The picture that comes with the package, with noise."""
        item = self._replace(_ALONE, request)
        path = item.inside("in") / "chelsea-noisy.png"
        try:
            ticket = self.desk.submit("example", path=str(path))
            async for doing, share in self._follow(ticket, request, "making an example"):
                yield (*self._busy(path.name, doing, share), None)
            ticket.result.result()
        except RefusedError as error:
            yield (*self._unusable(item, path.name, error), None)
            return
        async for update in self._looked_at(item, path.name, request):
            yield (*update, None)

    async def _looked_at(self, item: Item, name: str, request: gr.Request) -> AsyncIterator[Update]:
        path = item.inside("in") / name
        try:
            kind = kind_of(path)
            ticket = self.desk.submit("look", path=str(path), folder=str(item.folder), max_pixels=self.limits.pixels)
            async for doing, share in self._follow(ticket, request, "reading the file and measuring its noise"):
                yield self._busy(name, doing, share)
            seen = ticket.result.result()
        except RefusedError as error:
            yield self._unusable(item, name, error)
            return
        state = {
            "key": item.key,
            "name": name,
            "kind": kind,
            "width": seen["width"],
            "height": seen["height"],
            "version": 0,
        }
        view = words.viewer(item.key, seen["width"], seen["height"], "before", 0)
        yield (words.facts(name, seen), view, state, gr.update(interactive=True), *self._relevant(kind))

    def collected(self, paths: list[str] | None, request: gr.Request) -> Update:
        """Several files came, or some went."""
        item = self._replace(_SEVERAL, request)
        if not paths:
            return self._no_files(), {}, gr.update(interactive=False)
        if len(paths) > self.limits.files:
            reason = (
                f"{len(paths)} files, more than the {self.limits.files} that fit on this page; `shotnoise denoise` "
                "takes whole folders"
            )
            return words.failed("Too many files", reason), {}, gr.update(interactive=False)
        names: dict[str, str] = {}
        for number, path in enumerate(paths):
            name = _unlike(file_name(os.path.basename(path)), names)
            names[name] = str(item.inside("in") / str(number))
            Path(names[name]).mkdir()
            _take(Path(path), Path(names[name]) / name)
        rows = [Row(name, "ready") for name in names]
        return words.pile(rows, f"{len(rows)} files"), {"key": item.key, "files": names}, gr.update(interactive=True)

    def turned(self, one: dict[str, Any], several: dict[str, Any], event: gr.SelectData) -> Update:
        """To the other tab."""
        tab = event.value
        alone = tab == "One file"
        kind = one.get("kind", "") if alone else ""
        return (
            _ALONE if alone else _SEVERAL,
            gr.update(visible=alone),
            gr.update(visible=not alone),
            gr.update(interactive=bool(one if alone else several)),
            *self._relevant(kind),
        )

    async def started(
        self,
        tab: str,
        one: dict[str, Any],
        several: dict[str, Any],
        model: str,
        strength: float,
        level: str,
        profile: str,
        iso: str,
        engine: str,
        precision: str,
        poses: bool,
        ending: str,
        quality: int,
        request: gr.Request,
    ) -> AsyncIterator[Update]:
        """The button."""
        wishes = {
            "model": model,
            "strength": strength,
            "level": level,
            "profile": profile,
            "iso": iso if profile else "",
            "engine": engine,
            "precision": precision,
            "ensemble": "x8" if poses else "none",
            "format": ending,
            "quality": quality,
        }
        self._stopped.discard(_tab(request))
        work = self._one(one, wishes, request) if tab == _ALONE else self._several(several, wishes, request)
        async for update in work:
            yield update

    async def _one(
        self, state: dict[str, Any], wishes: Mapping[str, Any], request: gr.Request
    ) -> AsyncIterator[Update]:
        skip = gr.skip()
        running = gr.update(interactive=False), gr.update(visible=True)
        ended = gr.update(interactive=True), gr.update(visible=False)
        item = self.shelf.get(state.get("key", ""))
        name = state.get("name", "")
        if item is None:
            yield (
                words.failed(name or "No file", "it is not here any more; open the file again"),
                "",
                {},
                skip,
                *ended,
            )
            return
        try:
            ticket = self._submit(item, item.inside("in") / name, item.inside("out"), wishes, view=True)
            async for doing, share in self._follow(ticket, request, "denoising"):
                yield (words.progress(name, doing, share), skip, skip, skip, *running)
            report = ticket.result.result()
        except RefusedError as error:
            said = words.stopped(name) if error.status == 499 else words.failed(name, str(error))
            yield (said, skip, skip, skip, *ended)
            return
        state = {**state, "version": state["version"] + 1}
        path = item.inside("out") / report["result"]
        item.results = {report["result"]: path}
        link = f"view/{item.key}/file?name={_quoted(report['result'])}&v={state['version']}"
        view = words.viewer(item.key, state["width"], state["height"], "before,after", state["version"])
        yield (words.outcome(report, link, path.stat().st_size), view, state, skip, *ended)

    async def _several(
        self, state: dict[str, Any], wishes: Mapping[str, Any], request: gr.Request
    ) -> AsyncIterator[Update]:
        skip = gr.skip()
        running = gr.update(interactive=False), gr.update(visible=True)
        ended = gr.update(interactive=True), gr.update(visible=False)
        item = self.shelf.get(state.get("key", ""))
        if item is None:
            yield (skip, skip, skip, words.failed("No files", "they are not here any more; open them again"), *ended)
            return
        item.results = {}
        rows = {name: Row(name, "waiting") for name in state["files"]}
        total = len(rows)
        for number, (name, row) in enumerate(rows.items()):
            if _tab(request) in self._stopped:
                row.state = "cancelled"
                continue
            output = item.inside("out") / str(number)
            path = Path(state["files"][name]) / name
            try:
                ticket = None
                while ticket is None and _tab(request) not in self._stopped:
                    try:
                        ticket = self._submit(item, path, output, wishes, view=False)
                    except RefusedError as error:
                        if error.status != 503:
                            raise
                        row.state = "the queue is full; knocking again"
                        yield (
                            skip,
                            skip,
                            skip,
                            words.pile(rows.values(), f"{number} of {total} done", number / total),
                            *running,
                        )
                        await asyncio.sleep(_PATIENCE)
                if ticket is None:
                    row.state = "cancelled"
                    continue
                async for doing, share in self._follow(ticket, request, "denoising"):
                    row.state = doing
                    done = (number + (share or 0.0)) / total
                    yield (skip, skip, skip, words.pile(rows.values(), f"{number} of {total} done", done), *running)
                row.report = ticket.result.result()
                result = _unlike(row.report["result"], item.results)  # a.bmp and a.png both become a_clean.png
                item.results[result] = output / row.report["result"]
                row.report["result"] = result
                row.link = f"view/{item.key}/file?name={_quoted(result)}"
            except RefusedError as error:
                row.error = "" if error.status == 499 else str(error)
                row.state = "cancelled"
        done = sum(row.report is not None for row in rows.values())
        bad = sum(bool(row.error) for row in rows.values())
        doing = (
            f"{done} denoised"
            + (f", {bad} failed" if bad else "")
            + (f", {total - done - bad} cancelled" if total > done + bad else "")
        )
        archive = f"view/{item.key}/zip" if done else ""
        item.report = {row.name: row.report or {"error": row.error or row.state} for row in rows.values()}
        yield (skip, skip, skip, words.pile(rows.values(), doing, archive=archive), *ended)

    def cancelled(self, request: gr.Request) -> Any:
        """The other button."""
        self._stopped.add(_tab(request))
        if (ticket := self._running.get(_tab(request))) is not None:
            ticket.cancel()
        return gr.update(visible=False)

    def left(self, request: gr.Request) -> None:
        """The tab was closed, or its connection lost."""
        self.cancelled(request)
        for what in (_ALONE, _SEVERAL):
            self.shelf.part(f"{what} {_tab(request)}")

    def _replace(self, what: str, request: gr.Request) -> Item:
        """A new item for this tab, in place of the one that it had."""
        self.cancelled(request)
        owner = f"{what} {_tab(request)}"
        self.shelf.leave(owner)
        return self.shelf.new(owner)

    def _submit(self, item: Item, path: Path, output: Path, wishes: Mapping[str, Any], view: bool) -> Ticket:
        kind = kind_of(path)
        others = ("level",) if kind == "raw" else ("profile", "iso")
        known = {name: value for name, value in wishes.items() if name not in others}
        settings = Settings.parse(known)
        shutil.rmtree(output, ignore_errors=True)
        return self.desk.submit(
            "denoise",
            path=str(path),
            output=str(output),
            options=settings.options(self.offer, kind, self.limits.pixels),
            extension=settings.format,
            view=str(item.folder) if view else None,
        )

    async def _follow(self, ticket: Ticket, request: gr.Request, doing: str) -> AsyncIterator[tuple[str, float | None]]:
        """How far it is, until it is done."""
        self._running[_tab(request)] = ticket
        try:
            while not ticket.done:
                if ticket.started:
                    yield doing, ticket.share or None
                else:
                    ahead = self.desk.ahead(ticket)
                    yield (f"waiting, {ahead} before it" if ahead else doing), None
                await asyncio.sleep(_OFTEN)
        finally:
            self._running.pop(_tab(request), None)
            ticket.cancel()  # which changes nothing where it is done

    def _busy(self, name: str, doing: str, share: float | None) -> Update:
        skip = gr.skip()
        return words.progress(name, doing, share), "", {}, gr.update(interactive=False), skip, skip

    def _unusable(self, item: Item, name: str, error: RefusedError) -> Update:
        self.shelf.drop(item.key)
        return words.failed(name, str(error)), "", {}, gr.update(interactive=False), gr.skip(), gr.skip()

    def _cleared(self) -> Update:
        return self._nothing(), "", {}, gr.update(interactive=False), *self._relevant("")

    def _relevant(self, kind: str) -> Update:
        """Of the level and the profile, those that mean something."""
        return gr.update(visible=kind != "raw"), gr.update(visible=kind != "picture")

    def _models(self) -> list[tuple[str, str]]:
        kinds = {"picture": "for pictures", "raw": "for RAW"}
        return [
            ("automatic", "auto"),
            *((f"{model.name}, {kinds[model.kind]}", model.name) for model in self.offer.known.values()),
        ]

    def _defaults(self) -> str:
        return f"automatic: {self._default('picture')} for pictures, {self._default('raw')} for RAW"

    def _default(self, kind: str) -> str:
        return next((model.name for model in self.offer.known.values() if model.kind == kind), "none")

    def _nothing(self) -> str:
        return words.empty("Drop a picture or a RAW file into the box", self._takes())

    def _no_files(self) -> str:
        return words.empty("Drop several files into the box", f"{self._takes()}, {self.limits.files} files at once")

    def _takes(self) -> str:
        return f"{_ENDINGS}; up to {self.limits.upload / MEGA:g} MB and {self.limits.pixels / MEGA:g} megapixels each"


def style() -> dict[str, Any]:
    """Looks: fonts that every system has, and our own sheet and viewer."""
    here = files("shotnoise.web") / "static"
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
    mono = ["ui-monospace", "Menlo", "Consolas", "monospace"]
    return {
        # Gray on white that can be read, and white on blue.
        "theme": gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=fonts, font_mono=mono).set(
            body_text_color_subdued="*neutral_500",
            block_info_text_color="*neutral_500",
            button_primary_background_fill="*primary_600",
            button_primary_background_fill_hover="*primary_700",
        ),
        "css": (here / "page.css").read_text(encoding="utf-8"),
        "head": f"<script type='module' src='web/viewer.js?v={__version__}'></script>",
    }


def _tab(request: gr.Request) -> str:
    """Which tab of which browser this is."""
    return request.session_hash or ""


def _take(source: Path, target: Path) -> None:
    """Under another name, without a copy; the first name is Gradio's to remove."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _unlike(name: str, others: Mapping[str, Any]) -> str:
    """A name that differs from those of the others."""
    stem, ending = os.path.splitext(name)
    taken = {other.lower() for other in others}
    number, unique = 2, name
    while unique.lower() in taken:
        unique = f"{stem}-{number}{ending}"
        number += 1
    return unique


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
