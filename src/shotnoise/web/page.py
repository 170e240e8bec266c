"""The page: drop a file, choose, look closely, take the result home. Built with Gradio, which is an extra."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

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

Update = dict[Any, Any]
"""New values by component; those that are not named stay as they are."""


class _Run:
    """What a browser tab waits for, and may give up."""

    def __init__(self) -> None:
        self.stopped = False
        self._ticket: Ticket | None = None

    def hold(self, ticket: Ticket) -> None:
        """This is what is waited for now."""
        self._ticket = ticket
        if self.stopped:
            ticket.cancel()

    def stop(self) -> None:
        """Nobody waits any more; this changes nothing where it is done."""
        self.stopped = True
        if self._ticket is not None:
            self._ticket.cancel()


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
        self._runs: dict[str, _Run] = {}  # by browser tab

    # What is there.

    def build(self) -> Any:
        """The Gradio application."""
        with gr.Blocks(title="shotnoise", analytics_enabled=False, delete_cache=(60, 120)) as page:
            gr.HTML(words.header(__version__, self.here))
            self.one, self.several = gr.State({}), gr.State({})
            self.tab = gr.State(_ALONE)
            with gr.Row():
                with gr.Column(scale=1, min_width=300):
                    self._add_files()
                    self._add_choices()
                with gr.Column(scale=3, min_width=320):
                    with gr.Column(visible=True) as self.alone:
                        self.status = gr.HTML(self._nothing(), elem_id="status")
                        self.view = gr.HTML("", elem_id="view", js_on_load=None)
                    with gr.Column(visible=False) as self.table:
                        self.pile = gr.HTML(self._no_files(), elem_id="pile")
            self._add_events(page)
        page.queue(api_open=False, default_concurrency_limit=None)
        return page

    def _add_files(self) -> None:
        with gr.Tabs() as self.tabs:
            with gr.Tab("One file", id=_ALONE):
                self.file = gr.File(label="Picture or RAW file", height=170, elem_id="file")
                self.ready_made = gr.Button("Try an example picture", size="sm", elem_id="example")
            with gr.Tab("Several files", id=_SEVERAL):
                self.heap = gr.File(label="Pictures and RAW files", file_count="multiple", height=180, elem_id="files")

    def _add_choices(self) -> None:
        """What a visitor can wish for, by the names of :class:`~shotnoise.web.settings.Settings`, and the buttons."""
        strength = gr.Slider(0, 2, 1, step=0.05, label="Strength", info="1 is the model's result", elem_id="strength")
        model = gr.Dropdown(self._models(), value="auto", label="Model", info=self._defaults())
        with gr.Row():
            self.start = gr.Button("Denoise", variant="primary", elem_id="denoise", interactive=False)
            self.stop = gr.Button("Cancel", elem_id="cancel", visible=False, min_width=90)
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
                iso = gr.Textbox(label="At ISO", placeholder="of the file", min_width=80, visible=False, max_lines=1)
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
        self.choices: dict[str, Any] = {
            "model": model, "strength": strength, "level": level, "profile": profile, "iso": iso, "engine": engine,
            "precision": precision, "ensemble": poses, "format": ending, "quality": quality,
        }  # fmt: skip

    def _add_events(self, page: Any) -> None:
        hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
        level, profile, iso = (self.choices[name] for name in ("level", "profile", "iso"))
        shown = [self.status, self.view, self.one, self.start, level, profile]
        for event in (self.file.upload, self.file.clear):
            event(self.opened, self.file, shown, **hidden)
        self.ready_made.click(self.example, None, [*shown, self.file], **hidden)
        for event in (self.heap.upload, self.heap.clear, self.heap.delete):
            event(self.collected, self.heap, [self.pile, self.several, self.start], **hidden)
        turned = [self.tab, self.alone, self.table, self.start, level, profile]
        self.tabs.select(self.turned, [self.one, self.several], turned, **hidden)
        profile.change(lambda name: gr.update(visible=bool(name)), profile, iso, **hidden)
        told = [self.tab, self.one, self.several, *self.choices.values()]
        done = [self.status, self.view, self.one, self.pile, self.start, self.stop]
        self.start.click(self.started, told, done, **hidden)
        self.stop.click(self.cancelled, None, self.stop, **hidden)
        page.unload(self.left)

    # What happens. Each is told by the events above; `request` says which browser tab it is.

    async def opened(self, path: str | None, request: gr.Request) -> AsyncIterator[Update]:
        """A file came, or went."""
        item = self._replace(_ALONE, request)
        if path is None:
            self.shelf.drop(item.key)
            yield {**self._emptied(self._nothing()), **self._relevant("")}
            return
        name = file_name(os.path.basename(path))
        _take(Path(path), item.inside("in") / name)
        with self._run(request) as run:
            async for update in self._looked_at(run, item, name):
                yield update

    async def example(self, request: gr.Request) -> AsyncIterator[Update]:
        """The picture that comes with the package, with noise."""
        item = self._replace(_ALONE, request)
        name = "chelsea-noisy.png"
        yield {self.file: None}
        with self._run(request) as run:
            try:
                ticket = self.desk.submit("example", path=str(item.inside("in") / name))
                async for doing, share in self._follow(run, item, ticket, "making an example"):
                    yield self._emptied(words.progress(name, doing, share))
                ticket.result.result()
            except RefusedError as error:
                yield self._unusable(item, name, error)
                return
            async for update in self._looked_at(run, item, name):
                yield update

    async def _looked_at(self, run: _Run, item: Item, name: str) -> AsyncIterator[Update]:
        path = item.inside("in") / name
        try:
            kind = kind_of(path)
            ticket = self.desk.submit("look", path=str(path), folder=str(item.folder), max_pixels=self.limits.pixels)
            async for doing, share in self._follow(run, item, ticket, "reading the file and measuring its noise"):
                yield self._emptied(words.progress(name, doing, share))
            seen = ticket.result.result()
        except RefusedError as error:
            yield self._unusable(item, name, error)
            return
        size = {side: seen[side] for side in ("width", "height")}
        yield {
            self.status: words.facts(name, seen),
            self.view: words.viewer(item.key, **size, sides="before", version=0),
            self.one: {"key": item.key, "name": name, "kind": kind, "size": size, "version": 0},
            self.start: gr.update(interactive=True),
            **self._relevant(kind),
        }

    def collected(self, paths: list[str] | None, request: gr.Request) -> Update:
        """Several files came, or some went."""
        item = self._replace(_SEVERAL, request)
        nothing = {self.several: {}, self.start: gr.update(interactive=False)}
        if not paths:
            return {self.pile: self._no_files(), **nothing}
        if len(paths) > self.limits.files:
            reason = (
                f"{len(paths)} files, more than the {self.limits.files} that fit on this page; `shotnoise denoise` "
                "takes whole folders"
            )
            return {self.pile: words.failed("Too many files", reason), **nothing}
        names: dict[str, str] = {}
        for number, path in enumerate(paths):
            name = _unlike(file_name(os.path.basename(path)), names)
            names[name] = str(item.inside("in") / str(number))
            Path(names[name]).mkdir()
            _take(Path(path), Path(names[name]) / name)
        rows = [Row(name, "ready") for name in names]
        return {
            self.pile: words.pile(rows, f"{len(rows)} files"),
            self.several: {"key": item.key, "files": names},
            self.start: gr.update(interactive=True),
        }

    def turned(self, one: dict[str, Any], several: dict[str, Any], event: gr.SelectData) -> Update:
        """To the other tab."""
        alone = event.value == "One file"
        return {
            self.tab: _ALONE if alone else _SEVERAL,
            self.alone: gr.update(visible=alone),
            self.table: gr.update(visible=not alone),
            self.start: gr.update(interactive=bool(one if alone else several)),
            **self._relevant(one.get("kind", "") if alone else ""),
        }

    async def started(
        self, request: gr.Request, tab: str, one: dict[str, Any], several: dict[str, Any], *values: Any
    ) -> AsyncIterator[Update]:
        """The button; the values are those of the choices."""
        wishes = dict(zip(self.choices, values, strict=True))
        wishes["ensemble"] = "x8" if wishes["ensemble"] else "none"
        wishes["iso"] = wishes["iso"] if wishes["profile"] else ""
        with self._run(request) as run:
            work = self._one(run, one, wishes) if tab == _ALONE else self._several(run, several, wishes)
            async for update in work:
                yield update

    async def _one(self, run: _Run, state: dict[str, Any], wishes: Mapping[str, Any]) -> AsyncIterator[Update]:
        item, name = self.shelf.get(state.get("key", "")), state.get("name", "")
        if item is None:
            reason = "it is not here any more; open the file again"
            yield {
                self.status: words.failed(name or "No file", reason),
                self.view: "",
                self.one: {},
                **self._buttons(running=False),
            }
            return
        try:
            ticket = self._submit(item, item.inside("in") / name, item.inside("out"), wishes, view=True)
            async for doing, share in self._follow(run, item, ticket, "denoising"):
                yield {self.status: words.progress(name, doing, share), **self._buttons(running=True)}
            report = ticket.result.result()
        except RefusedError as error:
            said = words.stopped(name) if error.status == 499 else words.failed(name, str(error))
            yield {self.status: said, **self._buttons(running=False)}
            return
        version = state["version"] + 1
        path = item.inside("out") / report["result"]
        item.results = {report["result"]: path}
        yield {
            self.status: words.outcome(report, f"{_link(item, report['result'])}&v={version}", path.stat().st_size),
            self.view: words.viewer(item.key, **state["size"], sides="before,after", version=version),
            self.one: {**state, "version": version},
            **self._buttons(running=False),
        }

    async def _several(self, run: _Run, state: dict[str, Any], wishes: Mapping[str, Any]) -> AsyncIterator[Update]:
        item = self.shelf.get(state.get("key", ""))
        if item is None:
            reason = "they are not here any more; open them again"
            yield {self.pile: words.failed("No files", reason), **self._buttons(running=False)}
            return
        item.results = {}
        rows = {name: Row(name, "waiting") for name in state["files"]}
        total = len(rows)
        for number, (name, row) in enumerate(rows.items()):
            output, path = item.inside("out") / str(number), Path(state["files"][name]) / name
            said = f"{number} of {total} done"
            try:
                while (ticket := self._admitted(run, item, path, output, wishes)) is None:
                    row.state = "the queue is full; knocking again"
                    yield {self.pile: words.pile(rows.values(), said, number / total), **self._buttons(running=True)}
                    await asyncio.sleep(_PATIENCE)
                async for row.state, share in self._follow(run, item, ticket, "denoising"):
                    shown = words.pile(rows.values(), said, (number + (share or 0.0)) / total)
                    yield {self.pile: shown, **self._buttons(running=True)}
                row.report = ticket.result.result()
                result = _unlike(row.report["result"], item.results)  # a.bmp and a.png both become a_clean.png
                item.results[result] = output / row.report["result"]
                row.report["result"] = result
                row.link = _link(item, result)
            except RefusedError as error:
                row.error = "" if error.status == 499 else str(error)
                row.state = "cancelled"
        item.report = {row.name: row.report or {"error": row.error or row.state} for row in rows.values()}
        archive = f"view/{item.key}/zip" if item.results else ""
        yield {
            self.pile: words.pile(rows.values(), _summary(list(rows.values())), archive=archive),
            **self._buttons(running=False),
        }

    def cancelled(self, request: gr.Request) -> Any:
        """The other button."""
        if (run := self._runs.get(_tab(request))) is not None:
            run.stop()
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

    @contextmanager
    def _run(self, request: gr.Request) -> Iterator[_Run]:
        """What this tab waits for, in place of what it waited for until now."""
        self.cancelled(request)
        run = self._runs[_tab(request)] = _Run()
        try:
            yield run
        finally:
            run.stop()
            if self._runs.get(_tab(request)) is run:
                del self._runs[_tab(request)]

    def _submit(self, item: Item, path: Path, output: Path, wishes: Mapping[str, Any], view: bool) -> Ticket:
        kind = kind_of(path)
        others = ("level",) if kind == "raw" else ("profile", "iso")
        settings = Settings.parse({name: value for name, value in wishes.items() if name not in others})
        shutil.rmtree(output, ignore_errors=True)
        return self.desk.submit(
            "denoise",
            path=str(path),
            output=str(output),
            options=settings.options(self.offer, kind, self.limits.pixels),
            extension=settings.format,
            view=str(item.folder) if view else None,
        )

    def _admitted(self, run: _Run, item: Item, path: Path, output: Path, wishes: Mapping[str, Any]) -> Ticket | None:
        """The next one of a pile, or None as long as the queue is full."""
        if run.stopped:
            raise RefusedError("was cancelled", 499)
        self.shelf.get(item.key)  # a page that waits is not idle
        try:
            return self._submit(item, path, output, wishes, view=False)
        except RefusedError as error:
            if error.status != 503:
                raise
        return None

    async def _follow(
        self, run: _Run, item: Item, ticket: Ticket, doing: str
    ) -> AsyncIterator[tuple[str, float | None]]:
        """How far it is, until it is done."""
        run.hold(ticket)
        while not ticket.done:
            if not run.stopped:  # of a page that was left, the files go soon
                self.shelf.get(item.key)  # one that waits is not idle
            if ticket.started:
                yield doing, ticket.share or None
            else:
                ahead = self.desk.ahead(ticket)
                yield (f"waiting, {ahead} before it" if ahead else doing), None
            await asyncio.sleep(_OFTEN)

    def _buttons(self, *, running: bool) -> Update:
        return {self.start: gr.update(interactive=not running), self.stop: gr.update(visible=running)}

    def _emptied(self, said: str) -> Update:
        """No file is there, or not yet."""
        return {self.status: said, self.view: "", self.one: {}, self.start: gr.update(interactive=False)}

    def _unusable(self, item: Item, name: str, error: RefusedError) -> Update:
        self.shelf.drop(item.key)
        return self._emptied(words.failed(name, str(error)))

    def _relevant(self, kind: str) -> Update:
        """Of the level and the profile, those that mean something."""
        return {
            self.choices["level"]: gr.update(visible=kind != "raw"),
            self.choices["profile"]: gr.update(visible=kind != "picture"),
        }

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


def _link(item: Item, name: str) -> str:
    """Where a result is handed out."""
    return f"view/{item.key}/file?name={quote(name, safe='')}"


def _summary(rows: list[Row]) -> str:
    """What became of a pile."""
    done, bad = sum(row.report is not None for row in rows), sum(bool(row.error) for row in rows)
    counts = {"failed": bad, "cancelled": len(rows) - done - bad}
    return ", ".join([f"{done} denoised", *(f"{count} {what}" for what, count in counts.items() if count)])
