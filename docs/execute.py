"""Execute the notebooks of the gallery, and keep their output, and beside each its last picture.

    python docs/execute.py [NOTEBOOK ...]

Each runs in a new process and in an empty folder of its own. Without a name, all of docs/gallery.
"""

import base64
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

GALLERY = Path(__file__).parent / "gallery"
LONGEST = 600  # seconds of one cell


def executed(path: Path, folder: str | os.PathLike[str]) -> Any:
    """A notebook with the output of its cells.

    Args:
        path: The notebook.
        folder: Where its process runs.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell raised; the message has its traceback.
    """
    notebook = nbformat.read(path, as_version=4)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for !kuttax
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=LONGEST, resources=resources, record_timing=False, kernel_name="python3")
    return client.execute()


def last_picture(notebook: Any) -> bytes | None:
    """The last picture that a notebook shows, as a PNG file; None if it shows none."""
    shown = [output["data"] for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    pictures = [data["image/png"] for data in shown if "image/png" in data]
    return base64.b64decode(pictures[-1]) if pictures else None


def main(names: list[str]) -> None:
    for path in [Path(name) for name in names] or sorted(GALLERY.glob("*.ipynb")):
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(path, folder)
        nbformat.write(notebook, path)
        if (picture := last_picture(notebook)) is not None:
            path.with_suffix(".png").write_bytes(picture)
        print(f"{path.name}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
