"""What a page waits for: it keeps its files meanwhile, and Cancel reaches it."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from shotnoise.web import Limits, Offer
from shotnoise.web.desk import Ticket
from shotnoise.web.shelf import Shelf


@pytest.fixture
def quiet(tmp_path):
    """A page without a server, whose files go when nobody asked for them for 0.2 seconds."""
    pytest.importorskip("gradio")
    from shotnoise.web.page import Page

    desk = SimpleNamespace(ahead=lambda _: 1)
    return Page(desk, Shelf(tmp_path, idle=0.2), Offer(), Limits(), here=True)


TAB = SimpleNamespace(session_hash="a tab")


def test_a_page_that_waits_is_not_idle(quiet):
    """Or a long queue, or a long pile, would lose its files in the middle."""
    item, ticket = quiet.shelf.new("one a tab"), Ticket("denoise", {}, 60)

    async def wait():
        until = time.monotonic() + 0.6
        with quiet._run(TAB) as run:
            async for said in quiet._follow(run, item, ticket, "denoising"):
                assert said == ("waiting, 1 before it", None)
                quiet.shelf.sweep()
                if time.monotonic() > until:
                    ticket.result.set_result({})

    asyncio.run(wait())
    assert item.folder.exists()
    time.sleep(0.25)
    quiet.shelf.sweep()
    assert not item.folder.exists()


def test_cancel_means_what_the_page_waits_for_now(quiet):
    """Also while what it waited for before is still on its way out."""
    before, now = Ticket("look", {}, 60), Ticket("look", {}, 60)
    with quiet._run(TAB) as first:
        first.hold(before)
        with quiet._run(TAB) as second:
            assert before.cancelled.is_set()
            second.hold(now)
            first.stop()
            quiet.cancelled(TAB)
            assert now.cancelled.is_set()
            late = Ticket("look", {}, 60)
            second.hold(late)
            assert late.cancelled.is_set()
    assert quiet._runs == {}  # nothing is kept of tabs that are gone
    quiet.left(TAB)
    assert quiet._runs == {}
