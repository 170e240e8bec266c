import ctypes

import pytest

from shotnoise.evaluation import energy
from shotnoise.evaluation.energy import Meter, joules_between, meters


def zone(folder, number, name, microjoules, full=262143328850):
    place = folder / f"intel-rapl:{number}"
    place.mkdir(parents=True)
    (place / "name").write_text(name + "\n")
    (place / "energy_uj").write_text(f"{microjoules}\n")
    (place / "max_energy_range_uj").write_text(f"{full}\n")
    return place


def test_packages_are_read_and_their_parts_and_the_board_are_not(tmp_path):
    first = zone(tmp_path, "0", "package-0", 5_000_000)
    zone(tmp_path, "1", "package-1", 7_500_000)
    zone(tmp_path, "0:0", "core", 1)
    zone(tmp_path, "0:1", "dram", 1)
    zone(tmp_path, "2", "psys", 1)
    (tmp_path / "dtpm").mkdir()
    found = meters(powercap=tmp_path)
    assert [(meter.name, meter.read()) for meter in found] == [("package-0", 5.0), ("package-1", 7.5)]
    assert found[0].full == pytest.approx(262143.32885)
    (first / "energy_uj").write_text("5250000\n")
    assert found[0].read() == 5.25


def test_what_may_not_be_read_is_no_meter(tmp_path, monkeypatch):
    """As root, whom nothing is denied: the reading itself fails."""
    zone(tmp_path, "0", "package-0", 1)
    read = energy.Path.read_bytes

    def denied(path):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(energy.Path, "read_bytes", denied)
    assert meters(powercap=tmp_path) == []
    assert meters(powercap=tmp_path / "missing") == []


def test_a_counter_that_started_again():
    meter = Meter("package-0", lambda: 0.0, 100.0)
    assert joules_between(meter, 10.0, 35.0) == 25.0
    assert joules_between(meter, 95.0, 5.0) == pytest.approx(10.0)


class Nvml:
    """Some functions of the driver's library, for so many GPUs."""

    def __init__(self, count, millijoules):
        self.count, self.millijoules = count, millijoules

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = self.count
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, device):
        assert index == 0
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, device, value):
        value._obj.value = self.millijoules
        return 0


def test_the_counter_of_the_only_gpu(tmp_path, monkeypatch):
    library = Nvml(1, 2500)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    (meter,) = meters(gpu=True, powercap=tmp_path)
    assert (meter.name, meter.read()) == ("GPU", 2.5)
    library.millijoules = 4000
    assert meter.read() == 4.0
    assert meters(gpu=False, powercap=tmp_path) == []
    library.count = 2
    assert meters(gpu=True, powercap=tmp_path) == []


def test_no_driver_and_an_old_one(tmp_path, monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert meters(gpu=True, powercap=tmp_path) == []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert meters(gpu=True, powercap=tmp_path) == []
