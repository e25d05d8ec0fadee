"""A hook of mkdocs: pictures of experiments, which lie beside their records, become part of the site."""

import re
from pathlib import Path

from mkdocs.structure.files import File

_SHOWN = re.compile(r"(!\[[^]]*\]\()\.\./(experiments/[^)]+)\)")


def on_files(files, config):
    """Add the pictures that pages show."""
    root = Path(config.config_file_path).parent
    pages = [Path(config.docs_dir, page.src_uri).read_text() for page in files.documentation_pages()]
    for path in {path for page in pages for _, path in _SHOWN.findall(page)}:
        files.append(File.generated(config, path, abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown, **_):
    """Let pages point at where they are in the site."""
    return _SHOWN.sub(r"\1\2)", markdown)
