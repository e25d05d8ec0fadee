"""Hooks of mkdocs: pictures of experiments become part of the site, and API pages list what a registry exports."""

import ast
import re
from pathlib import Path

from mkdocs.structure.files import File

_ROOT = Path(__file__).parents[1]
_EACH = re.compile(r"^<!-- each of (\S+) as (\S+) -->$", re.MULTILINE)
_SHOWN = re.compile(r"(!\[[^]]*\]\()\.\./(experiments/[^)]+)\)")


def on_files(files, config):
    """Add the pictures that pages show."""
    root = Path(config.config_file_path).parent
    pages = [Path(config.docs_dir, page.src_uri).read_text() for page in files.documentation_pages()]
    for path in {path for page in pages for _, path in _SHOWN.findall(page)}:
        files.append(File.generated(config, path, abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown, **_):
    """Let pages point at where pictures are in the site, and write out what registries export."""
    return _SHOWN.sub(r"\1\2)", with_exports(markdown))


def with_exports(markdown: str) -> str:
    """A line `<!-- each of MODULE as PACKAGE -->` becomes an entry `::: PACKAGE.NAME` for each name in its `__all__`.

    The names are read from the source: nothing is imported.
    """
    return _EACH.sub(lambda found: "\n\n".join(f"::: {found[2]}.{name}" for name in _exports(found[1])), markdown)


def _exports(module: str) -> list[str]:
    source = (_ROOT / "src" / Path(*module.split("."))).with_suffix(".py").read_text()
    tree = ast.parse(source)
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    names = next(node.value for node in assigned if getattr(node.targets[0], "id", None) == "__all__")
    values = {getattr(node.target, "id", None) for node in tree.body if isinstance(node, ast.AnnAssign)}
    return [name for name in ast.literal_eval(names) if name not in values]
