"""Versions: of kuttax and of what it runs on, for records and for `kuttax --version`. JAX is not imported."""

import importlib.metadata
import importlib.util
import os
import platform

from .._version import __version__

PACKAGES = ("jax", "equinox", "diffrax", "optax", "numpy")
"""The packages whose versions are recorded."""


def versions() -> dict[str, str]:
    """Name -> version: Python, kuttax, and each of `PACKAGES`, "not installed" for one that is missing."""
    return {
        "python": platform.python_version(),
        "kuttax": __version__,
        **{package: _version(package) for package in PACKAGES},
    }


def devices() -> str:
    """The kinds of device that JAX tries here, the preferred one first, as "cpu" or "cuda12 or cpu".

    They are those that JAX_PLATFORMS names. If it is not set, they are those of JAX's installed plugins, and the CPU.
    Whether a device works is not tested: JAX takes a second to tell.
    """
    named = os.environ.get("JAX_PLATFORMS")
    if named:
        return named.replace(",", " or ")
    plugins = {entry.name.removeprefix("xla_") for entry in importlib.metadata.entry_points(group="jax_plugins")}
    if importlib.util.find_spec("libtpu"):
        plugins.add("tpu")
    return " or ".join([*sorted(plugins), "cpu"])


def described() -> str:
    """The output of `kuttax --version`: kuttax first, then a line for each other version, and the devices."""
    found = versions()
    lines = {"kuttax": found.pop("kuttax"), **found, "device": devices()}
    return "\n".join(f"{name} {value}" for name, value in lines.items())


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
