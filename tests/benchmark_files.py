"""Small files in the layout in which DND and SIDD are downloaded."""

import numpy as np
import pytest

scipy_io = pytest.importorskip("scipy.io")
h5py = pytest.importorskip("h5py")

CODES = {"RGGB": [[1, 2], [2, 3]], "GRBG": [[2, 1], [3, 2]], "GBRG": [[2, 3], [1, 2]], "BGGR": [[3, 2], [2, 1]]}


def write_mat5(path, **arrays):
    scipy_io.savemat(path, arrays, do_compression=True)


def write_mat73(path, **arrays):
    """As MATLAB does it: axes reversed, behind a header of 512 bytes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            data = np.asarray(array)
            kind = {"uint8": "uint8", "float32": "single", "float64": "double"}[data.dtype.name]
            file.create_dataset(name, data=data.T).attrs["MATLAB_class"] = np.bytes_(kind)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))


def write_dnd(folder, patterns, side=24, size=(70, 90), sigma_srgb=True, seed=0):
    """info.mat, images_raw and images_srgb with one picture per pattern and 20 boxes each.

    Returns the mosaics, the developed pictures and the boxes, counted from 1 and with their ends.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    mosaics, pictures, tables = [], [], []
    for number, _ in enumerate(patterns, 1):
        mosaic = rng.normal(0.5, 0.3, size).astype(np.float32)
        picture = rng.normal(0.5, 0.3, (*size, 3)).astype(np.float32)
        for name, variable, values in (("images_raw", "Inoisy", mosaic), ("images_srgb", "InoisySRGB", picture)):
            (folder / name).mkdir(exist_ok=True)
            write_mat73(folder / name / f"{number:04}.mat", **{variable: values})
        corners = 1 + rng.integers(0, [size[0] - side + 1, size[1] - side + 1], (20, 2))
        mosaics.append(mosaic)
        pictures.append(picture)
        tables.append(np.hstack([corners, corners + side - 1]))
    with h5py.File(folder / "info.mat", "w", userblock_size=512) as file:
        info, hidden = file.create_group("info"), file.create_group("#refs#")
        count = len(patterns)
        fields = {name: np.empty((1, count), h5py.ref_dtype) for name in ("boundingboxes", "camera", "nlf")}
        if sigma_srgb:
            fields["sigma_srgb"] = np.empty((1, count), h5py.ref_dtype)
        for image, pattern in enumerate(patterns):
            boxes = hidden.create_dataset(f"boxes{image}", data=tables[image].T.astype(np.float64))
            fields["boundingboxes"][0, image] = boxes.ref
            camera = hidden.create_group(f"camera{image}")
            camera.create_dataset("pattern", data=np.array(CODES[pattern], np.float64))
            fields["camera"][0, image] = camera.ref
            nlf = hidden.create_group(f"nlf{image}")
            nlf.create_dataset("a", data=[[1e-3 * (image + 1)]])
            nlf.create_dataset("b", data=[[1e-6 * (image + 1)]])
            fields["nlf"][0, image] = nlf.ref
            if sigma_srgb:
                levels = hidden.create_dataset(f"sigma{image}", data=np.arange(1.0, 21)[None] / 255 + image)
                fields["sigma_srgb"][0, image] = levels.ref
        for name, references in fields.items():
            info.create_dataset(name, data=references, dtype=h5py.ref_dtype)
    return mosaics, pictures, tables
