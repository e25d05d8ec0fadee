"""The notebooks of the gallery: each runs in a process of its own, and is kept with its output."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GALLERY = sorted((ROOT / "docs" / "gallery").glob("*.ipynb"))
nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed: pip install nbclient ipykernel")
needs_torch = {"torch_flow"}


def of_gallery():
    """The script that executes them."""
    found = importlib.util.spec_from_file_location("execute", ROOT / "docs" / "execute.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


@pytest.mark.slow
@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    """As a reader has it: in float32, with warnings shown. It shows as many pictures as the one that is kept."""
    if path.stem in needs_torch:
        pytest.importorskip("torch")
    for name in ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS", "KUTTAX_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    found, kept = of_gallery().executed(path, tmp_path), nbformat.read(path, as_version=4)
    pictures = lambda notebook: sum("image/png" in output.get("data", {}) for output in outputs(notebook))
    assert pictures(found) == pictures(kept) > 0
    assert not [output for output in outputs(found) if output.get("name") == "stderr"]


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_a_notebook_is_kept_whole(path):
    """With output, a heading, no traces of the machine that ran it, and its last picture beside it."""
    notebook = nbformat.read(path, as_version=4)
    assert re.match(r"# \w", notebook.cells[0].source)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    said = " ".join(str(output) for output in outputs(notebook))
    assert not re.search(r"/work|/root|/home|/tmp|Traceback", said) and "\x1b" not in said
    assert path.stat().st_size < 400_000
    picture = of_gallery().last_picture(notebook)
    assert picture is not None and path.with_suffix(".png").read_bytes() == picture


def test_the_gallery_shows_every_notebook():
    page, nav = ((ROOT / name).read_text() for name in ("docs/gallery/index.md", "mkdocs.yml"))
    for path in GALLERY:
        assert f"({path.name})" in page and f"({path.stem}.png)" in page and f"gallery/{path.name}" in nav
    assert len(GALLERY) >= 8
