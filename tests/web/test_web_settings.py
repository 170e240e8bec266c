"""What a visitor may choose, and how wrong choices are answered."""

import pytest

from shotnoise.errors import ModelError
from shotnoise.web import Offer, RefusedError
from shotnoise.web.settings import Model, Settings


@pytest.fixture
def offer(tmp_path):
    known = {"photo": Model("photo", "photo", "picture", True), "raw": Model("raw", "raw", "raw")}
    return Offer(
        engine="openvino",
        threads=3,
        known=known,
        engines=("onnxruntime",),
        profiles=(str(tmp_path / "my.profile.yaml"),),
    )


def refusal(call, *arguments):
    with pytest.raises(RefusedError) as raised:
        call(*arguments)
    return str(raised.value), raised.value.status


def test_what_is_not_given_is_the_default(offer):
    options = Settings.parse({"strength": "0.5", "level": "", "profile": None, "quality": "80"}).options(
        offer, "picture", 99
    )
    assert (options.model, options.engine, options.strength, options.level) == ("photo", "openvino", 0.5, None)
    assert (options.quality, options.threads, options.max_pixels) == (80, 3, 99)


def test_the_model_for_a_level_that_is_told_is_that_of_the_command(offer):
    offer.known["gaussian"] = Model("gaussian", "gaussian", "picture", True)
    assert Settings.parse({"level": "25"}).options(offer, "picture", 99).model == "gaussian"
    assert Settings.parse({}).options(offer, "picture", 99).model == "photo"
    offer.known = {"mine.onnx": Model("mine.onnx", "/models/mine.onnx", "picture"), **offer.known}
    assert Settings.parse({"level": "25"}).options(offer, "picture", 99).model == "/models/mine.onnx"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"strenght": "1"}, "no option 'strenght', did you mean strength? expected some of model, engine"),
        ({"strength": "3"}, "strength is '3'; expected: input should be less than or equal to 2"),
        ({"level": "much"}, "level is 'much'; expected: input should be a valid number"),
        ({"ensemble": "x4"}, "ensemble is 'x4'; expected: input should be 'none' or 'x8'"),
        ({"max_pixels": "1"}, "no option 'max_pixels'"),
    ],
)
def test_options_that_make_no_sense(given, words):
    message, status = refusal(Settings.parse, given)
    assert words in message
    assert status == 400


def test_names_and_never_files(offer, tmp_path):
    (tmp_path / "m.onnx").touch()
    for given, words in (
        ({"model": str(tmp_path / "m.onnx")}, "unknown model"),
        (
            {"model": "raw"},
            "'raw' is for RAW files, and this is one of the pictures; choose auto, or one that fits: photo",
        ),
        ({"profile": "/etc/passwd"}, "unknown noise profile '/etc/passwd'"),
        ({"engine": "torch"}, "unknown engine 'torch'"),
    ):
        message, status = refusal(Settings.parse(given).options, offer, "picture", 99)
        assert words in message
        assert status == 400


def test_profiles_by_name(offer, tmp_path):
    options = Settings.parse({"profile": "my", "iso": "800"}).options(offer, "raw", 99)
    assert (options.profile, options.iso, options.model) == (str(tmp_path / "my.profile.yaml"), 800, "raw")
    assert Settings.parse({"profile": "pixel"}).options(offer, "raw", 99).profile == "pixel"


def test_models_given_come_before_those_that_come_along():
    assert list(Offer(models=("a/x.onnx", "photo")).sources) == ["x.onnx", "photo", "gaussian", "raw"]
    with pytest.raises(ModelError, match=r"both be offered as 'x.onnx'; rename"):
        _ = Offer(models=("a/x.onnx", "b/x.onnx")).sources
