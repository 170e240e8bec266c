"""Which subjects of the IXI data set the published experiment takes, by the number in their names."""

from typing import Literal

__all__ = ["IXI", "Group", "ixi_number"]

Group = Literal["train", "validation"]

IXI: dict[Group, tuple[int, ...]] = {
    "train": (2, *range(12, 18), *range(19, 32), *range(33, 47), *range(48, 64)),
    "validation": tuple(range(64, 74)),
}


def ixi_number(stem: str) -> int | None:
    """The number of a subject, from the name of its volume; None for other names.

    >>> ixi_number("IXI012-HH-1211-T1")
    12
    """
    digits = stem[3:6]
    return int(digits) if stem.startswith("IXI") and stem[6:7] == "-" and digits.isdecimal() else None
