"""Shown: how a notebook shows objects that have a text."""

import html


def as_html(self: object) -> str:
    """The text of an object in lines of a fixed width; a class takes it as its `_repr_html_`."""
    return f"<pre>{html.escape(str(self))}</pre>"
