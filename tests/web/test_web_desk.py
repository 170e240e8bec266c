"""The queue, and what happens when work takes too long, is not wanted any more, or kills its process."""

import math
import multiprocessing

import pytest

from shotnoise.batch import Options
from shotnoise.web import Limits, RefusedError
from shotnoise.web.desk import Desk
from tiny_models import write_model

OPENING = {"sources": {"photo": "photo", "raw": "raw"}, "options": Options(threads=1, engine="onnxruntime")}


@pytest.fixture(scope="module")
def desk():
    desk = Desk(Limits(queue=2))
    yield desk
    desk.close()


def refusal(ticket):
    with pytest.raises(RefusedError) as raised:
        ticket.result.result(60)
    return str(raised.value), raised.value.status


def test_a_road_with_everything_that_can_go_wrong(desk, tmp_path):
    done = desk.submit("describe", seconds=math.inf, **OPENING).result.result(60)
    assert done["models"]["photo"]["kind"] == "picture"
    assert done["models"]["raw"]["kind"] == "raw"
    assert "torch" not in done["engines"]

    broken = tmp_path / "in" / "broken.png"
    broken.parent.mkdir()
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    message, status = refusal(desk.submit("look", path=str(broken), folder=str(tmp_path), max_pixels=100))
    assert message.startswith("broken.png: ")
    assert status == 422

    example = {"path": str(tmp_path / "in" / "e.png")}
    assert desk.submit("example", **example).result.result(60) == {}
    message, status = refusal(desk.submit("look", **example, folder=str(tmp_path), max_pixels=100))
    assert message == "e.png: claims 451 x 300 pixels, more than the limit of 100; raise max_pixels to read it"

    # Behind work that never ends come two that wait, one that is too much, and one of the two that is given up.
    (process,) = multiprocessing.active_children()
    endless = desk.submit("denoise", **example, output=str(tmp_path / "out"), options=Options(threads=1, ensemble="x8"))
    while not endless.started:
        pass
    first, second = desk.submit("example", **example), desk.submit("example", **example)
    assert (desk.ahead(endless), desk.ahead(first), desk.ahead(second)) == (0, 1, 2)
    with pytest.raises(RefusedError, match="2 files are waiting already, and no more than 2 may; try again") as raised:
        desk.submit("example", **example)
    assert raised.value.status == 503
    first.cancel()
    endless.cancel()
    assert refusal(endless) == ("was cancelled", 499)
    assert refusal(first) == ("was cancelled", 499)
    assert second.result.result(60) == {}

    # The process that was killed for it has a successor. That one dies by itself, the next one takes too long.
    (successor,) = multiprocessing.active_children()
    assert successor.pid != process.pid
    endless = desk.submit("denoise", **example, output=str(tmp_path / "out"), options=Options(threads=1, ensemble="x8"))
    while not endless.started:
        pass
    successor.kill()
    message, status = refusal(endless)
    assert "the process that worked on it died, perhaps for lack of memory" in message
    message, status = refusal(desk.submit("describe", seconds=0, **OPENING))
    assert "took longer than the 0 seconds that this server allows and was stopped" in message
    assert status == 504
    assert desk.load == (0, 0)


def test_visitors_do_not_learn_where_files_lie(desk, tmp_path):
    folder = tmp_path / "secret"
    folder.mkdir()
    model = write_model(folder / "m.onnx", shape="blur")
    example = {"path": str(tmp_path / "e.png")}
    assert desk.submit("example", **example).result.result(60) == {}
    options = Options(model=str(model), precision="int8", threads=1)
    message, _ = refusal(desk.submit("denoise", **example, output=str(tmp_path / "out"), options=options))
    assert message.startswith("m.onnx: has no m.int8.onnx beside it")
    assert "secret" not in message
    options = Options(model="photo", precision="fp16", engine="onnxruntime", threads=1)
    message, _ = refusal(desk.submit("denoise", **example, output=str(tmp_path / "out"), options=options))
    assert message.startswith("photo.onnx: is a file in fp32")
