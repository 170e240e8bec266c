"""Calibration: from black frames and evenly lit ones to the noise of a sensor at every ISO.

:func:`calibrate` takes frames, :func:`calibrate_emva` an EMVA 1288 series; both return a :class:`Calibration`, of which
:func:`profile_from` makes a noise profile.
"""

from shotnoise.sensor.calibration.calibrate import calibrate
from shotnoise.sensor.calibration.capture import Frame
from shotnoise.sensor.calibration.emva import calibrate_emva
from shotnoise.sensor.calibration.profile import profile_from
from shotnoise.sensor.calibration.result import Calibration, Finding, Roi

__all__ = ["Calibration", "Finding", "Frame", "Roi", "calibrate", "calibrate_emva", "profile_from"]
