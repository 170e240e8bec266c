"""The rules of the house: imports point one way, the upper wing knows no torch, importing is cheap."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import shotnoise

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "shotnoise"

# From the ground up: a module may import from its own line and from those above it in this list.
LAYERS = [
    ["errors"],
    ["card", "htmlpage", "metrics", "protobuf", "table"],
    ["images", "sensor"],
    ["mri"],
    ["bundled", "engines", "memory", "tiling"],
    ["runner"],
    ["denoiser", "raw_denoiser", "volume_denoiser"],
    ["report", "summary"],
    ["batch", "demo"],
    ["web"],
    ["isp", "networks", "noise"],
    ["engines.torch"],
    ["store"],
    ["pairs", "synthesis"],
    ["methods"],
    ["recipe"],
    ["evaluation", "export"],
    ["training"],
    ["cli", "__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
TORCH_FREE = LAYERS.index(["web"])


def level_of(module: str) -> int | None:
    """The layer of a module, by its longest listed prefix; None for the package itself."""
    parts = module.removeprefix("shotnoise").strip(".").split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in LEVEL:
            return LEVEL[".".join(parts[:length])]
    return None


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        dotted = "shotnoise." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield dotted.removesuffix(".__init__"), path


def imports(path: Path):
    """Every module named in an import statement, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            if node.module == "shotnoise":
                yield from (f"shotnoise.{alias.name}" for alias in node.names)


def test_every_module_has_a_layer():
    unlisted = [name for name, _ in modules() if name != "shotnoise" and level_of(name) is None]
    assert not unlisted, f"add to LAYERS: {unlisted}"


def test_imports_point_one_way():
    wrong = []
    for name, path in modules():
        own = level_of(name)
        if own is None:  # the package front loads its members by name, on demand
            continue
        for imported in imports(path):
            other = level_of(imported) if imported.startswith("shotnoise.") else None
            if other is not None and other > own:
                wrong.append(f"{name} imports {imported}")
    assert not wrong, wrong


def test_the_upper_wing_names_no_torch():
    heavy = {"torch", "lightning", "lmdb", "scipy", "onnx"}
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules()
        if (level := level_of(name)) is not None and level <= TORCH_FREE
        for imported in imports(path)
        if imported.split(".")[0] in heavy
    ]
    assert not wrong, wrong


def test_denoising_a_file_loads_no_torch(tmp_path):
    script = (
        "import sys\n"
        "from shotnoise.cli import run\n"
        f"assert run(['demo', '-o', {str(tmp_path)!r}]) == 0\n"
        f"assert run(['denoise', {str(tmp_path / 'noisy.png')!r}]) == 0\n"
        "loaded = {'torch', 'lightning', 'lmdb', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "noisy_clean.png").exists()


def test_import_is_cheap():
    """`import shotnoise` stays below 0.15 s: measured as what Python spends on it, the best of three."""

    def seconds() -> float:
        code = "import time; start = time.process_time(); import shotnoise; print(time.process_time() - start)"
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    assert min(seconds() for _ in range(3)) < 0.15


def test_public_names_are_what_the_front_says():
    for name in shotnoise.__all__:
        assert getattr(shotnoise, name) is not None
    assert set(shotnoise.__all__) <= set(dir(shotnoise))
    with pytest.raises(AttributeError, match="no attribute 'denoise_everything'"):
        _ = shotnoise.denoise_everything


def test_paths_named_in_the_papers_exist():
    """CONTRIBUTING and the docs point at files; a moved file must not leave a dead pointer."""
    papers = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    missing = []
    for paper in papers:
        for path in re.findall(
            r"`((?:src|tests|docs|benchmarks|examples)/[\w./-]+)`", paper.read_text(encoding="utf-8")
        ):
            if not (ROOT / path).exists() and "your_" not in path:
                missing.append(f"{paper.name}: {path}")
    assert not missing, missing
