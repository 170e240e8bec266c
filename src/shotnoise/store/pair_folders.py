"""Folders that hold two pictures of each scene: noisy and clean, or two noisy exposures.

Two layouts are known: two folders side by side, whose files belong together by their names, the extension aside; and
that of SIDD, where `..._NOISY_SRGB_...` and `..._GT_SRGB_...` lie in one folder per scene.
"""

import os
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shotnoise.errors import PictureError, StoreError
from shotnoise.images import list_pictures, open_image
from shotnoise.store.record import encoded_key
from shotnoise.store.selection import EXPOSURES, NOISY_CLEAN, RAW_PLANES, Failed, Picture, Selection, Unsuited, planes

__all__ = ["PairFiles", "expect_pairs", "find_pairs", "partner", "read_pairs"]

# Folder names in lower case, and the array that their pictures become.
_FOLDERS = {
    "noisy": "noisy", "input": "noisy", "clean": "clean", "gt": "clean", "target": "clean",
    "first": "first", "second": "second",
}  # fmt: skip
_SIDD = re.compile(r"(?:^|(?<=_))NOISY(?=_SRGB_)", re.IGNORECASE)
_SIDD_CLEAN = re.compile(r"(?:^|(?<=_))GT(?=_SRGB_)", re.IGNORECASE)
_LAYOUTS = {
    "noisy": "the folders noisy/ and clean/ (or input/, and GT/ or target/) with files of the same names, or files "
    "..._NOISY_SRGB_... and ..._GT_SRGB_... side by side",
    "first": "the folders first/ and second/ with files of the same names",
}


@dataclass(frozen=True)
class PairFiles:
    """Where the two pictures of each scene lie.

    Attributes:
        arrays: what they become: noisy and clean, or first and second.
        files: name of the pair, its scene, and both files; sorted by name.
    """

    arrays: tuple[str, str]
    files: tuple[tuple[str, str, Path, Path], ...]


def find_pairs(folder: str | os.PathLike[str]) -> PairFiles | None:
    """The pairs of a folder; None if it is not laid out as one of pairs.

    Raises:
        StoreError: it is, but a picture lacks its partner.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return None
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        array = _FOLDERS.get(entry.name.lower())
        if array and entry.is_dir():
            if array in found:
                raise StoreError(
                    f"{folder}: {found[array].name}/ and {entry.name}/ could both be the {array} one; keep one of them"
                )
            found[array] = entry
    for arrays in (NOISY_CLEAN, EXPOSURES):
        if set(arrays) <= found.keys():
            return PairFiles(arrays, _matched(folder, found[arrays[0]], found[arrays[1]]))
    return _sidd(folder)


def expect_pairs(folder: Path, arrays: Sequence[str]) -> PairFiles:
    """The pairs of one kind in a folder, which is to hold them."""
    pairs = find_pairs(folder)
    if pairs is None or pairs.arrays != tuple(arrays):
        held = ", ".join(sorted(entry.name + "/" for entry in folder.iterdir() if entry.is_dir())[:5])
        raise StoreError(
            f"{folder}: no pairs of {arrays[0]} and {arrays[1]} pictures here"
            f"{f', only {held}' if held else ''}; expected {_LAYOUTS[arrays[0]]}"
        )
    return pairs


def partner(noisy: Path) -> Path:
    """The clean picture of a noisy one that :func:`find_pairs` gave."""
    if _SIDD.search(noisy.name):
        return _called(noisy.with_name(_SIDD.sub("GT", noisy.name)))
    for folder in noisy.parents:
        if _FOLDERS.get(folder.name.lower()) == "noisy":
            for side in folder.parent.iterdir():
                place = side / noisy.relative_to(folder)
                if _FOLDERS.get(side.name.lower()) == "clean" and place.parent.is_dir():
                    return _called(place)
    raise StoreError(f"{noisy}: has no clean partner; expected {_LAYOUTS['noisy']}")


def _called(wanted: Path) -> Path:
    """The picture of this name, or of one that differs in case or extension."""
    if wanted.is_file():
        return wanted
    others = list_pictures(wanted.parent, recursive=False)
    same = [path for path in others if path.name.lower() == wanted.name.lower()]
    return next(iter(same or [path for path in others if path.stem == wanted.stem]))


def _matched(folder: Path, first: Path, second: Path) -> tuple[tuple[str, str, Path, Path], ...]:
    """The files of two folders, by their path below them without extension."""
    sides = [_by_name(side) for side in (first, second)]
    for here, there in (((first, sides[0]), (second, sides[1])), ((second, sides[1]), (first, sides[0]))):
        lonely = sorted(here[1].keys() - there[1].keys())
        if lonely:
            count = f" ({len(lonely)} have none)" if len(lonely) > 1 else ""
            raise StoreError(
                f"{folder}: {here[0].name}/ holds {len(here[1])} pictures and {there[0].name}/ {len(there[1])}; "
                f"'{here[1][lonely[0]].relative_to(folder).as_posix()}' has no partner of the same name in "
                f"{there[0].name}/{count}; add it or remove the picture"
            )
    names = {stem: path.relative_to(first).as_posix() for stem, path in sides[0].items()}
    return tuple((names[stem], names[stem], path, sides[1][stem]) for stem, path in sorted(sides[0].items()))


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_pictures(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise StoreError(
                f"{folder}: '{found[stem].name}' and '{path.name}' have the same name but for their extension; "
                "rename one of them"
            )
        found[stem] = path
    return found


def _sidd(folder: Path) -> PairFiles | None:
    """Pairs side by side; both pairs of a scene belong to it, so that a split keeps them together."""
    try:
        paths = list_pictures(folder)
    except PictureError:
        return None
    noisy = [path for path in paths if _SIDD.search(path.name)]
    if not noisy:
        return None
    here = {path.relative_to(folder).as_posix().lower(): path for path in paths}
    taken = {path: False for path in paths if _SIDD_CLEAN.search(path.name)}
    files = []
    for path in noisy:
        wanted = path.relative_to(folder).with_name(_SIDD.sub("GT", path.name)).as_posix()
        clean = here.get(wanted.lower())
        if clean is None:
            raise StoreError(
                f"{folder}: holds {len(noisy)} NOISY_SRGB and {len(taken)} GT_SRGB pictures; "
                f"'{path.relative_to(folder).as_posix()}' has no '{Path(wanted).name}' beside it; add it or remove "
                "the picture"
            )
        taken[clean] = True
        name = path.relative_to(folder).as_posix()
        files.append((name, path.parent.relative_to(folder).as_posix() if path.parent != folder else name, path, clean))
    lonely = [path for path, is_taken in taken.items() if not is_taken]
    if lonely:
        raise StoreError(
            f"{folder}: holds {len(noisy)} NOISY_SRGB and {len(taken)} GT_SRGB pictures; "
            f"'{lonely[0].relative_to(folder).as_posix()}' has no noisy one beside it; add it or remove the picture"
        )
    return PairFiles(NOISY_CLEAN, tuple(files))


def read_pairs(
    folder: Path, arrays: Sequence[str], selection: Selection, done: Container[str] = ()
) -> tuple[int, Iterator[Picture | Unsuited | Failed]]:
    """The number of pairs of a kind, and the pairs one by one; one that cannot be used does not stop the rest.

    Those whose names are `done` count, and are passed over.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise StoreError(f"{folder}: {what}; expected a store, or a folder with {arrays[0]}/ and {arrays[1]}/")
    pairs = expect_pairs(folder, arrays)
    if selection.channels == RAW_PLANES:
        raise StoreError(f"{folder}: holds pairs of pictures, which have 3 channels or 1, not {RAW_PLANES}")
    return len(pairs.files), (_read(pairs.arrays, *pair, selection) for pair in pairs.files if pair[0] not in done)


def _read(
    arrays: tuple[str, str], name: str, scene: str, first: Path, second: Path, selection: Selection
) -> Picture | Unsuited | Failed:
    try:
        encoded_key(name)
        images = [open_image(path) for path in (first, second)]
        sizes = [(image.height, image.width) for image in images]
        if sizes[0] != sizes[1]:
            words = [f"{height} x {width}" for height, width in sizes]
            raise StoreError(f"{first} is {words[0]} pixels and {second} {words[1]}; a pair has one size")
    except (StoreError, PictureError) as error:
        return Failed(name.encode(errors="backslashreplace").decode(), str(error))
    channels = max(image.channels for image in images)
    problem = selection.problem(*sizes[0], channels)
    if problem:
        return Unsuited(name, problem)
    noisy, clean = (planes(image.pixels, selection.channels) for image in images)
    notes = tuple(dict.fromkeys(note for image in images for note in image.notes))
    return Picture(name, clean, selection.converted(channels), notes, noisy=noisy, cut_from=scene, names=arrays)
