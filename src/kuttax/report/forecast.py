"""Forecast: how far ahead an identified field's forecasts are valid, as text and as a plot, from a saved run."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..io import json_file
from ..io.folder import Folder
from ..io.shape import NUMBER
from .curves import looks
from .figure import INK, Axes, Figure, figure, files

WITHIN = 0.4
"""The error, in standard deviations of the data, up to which a forecast is accurate: the task's `VALID`."""

ForecastRecord = Mapping[str, Any]
NAME = "forecast.json"
"""The file of a run that contains its forecasts."""

_EXAMPLE = {"time": str, "names": [str], "sd": [float], "truth": [[NUMBER]], "found": [[NUMBER]]}
_SHAPE = {"lead": [float], "rmse": [NUMBER], "diverged": int, "valid": {"times": [float]}, "example": _EXAMPLE}
Looks = Mapping[str, tuple[str, Any]]
"""Colour and dash of each method."""

_LINES = 3  # components drawn as lines
_GRID = 8  # number of components from which on the state is drawn as an image
_LEAST = 1e-9  # smallest error drawn: a logarithmic axis has no zero
_SHOWN = 3  # methods drawn as images


def describe(record: ForecastRecord) -> list[str]:
    """The result of `kuttax.tasks.dynamics.forecast.describe` as lines: errors, valid prediction time, attractor."""
    lead, rmse, n = record["lead"], record["rmse"], record["forecasts"]
    unit = f" {record['unit']}" if record["unit"] else ""
    shown = sorted({0, *(i for i in (9, 99) if i < len(lead)), len(lead) - 1})
    errors = ", ".join(f"{'diverged' if rmse[i] is None else f'{rmse[i]:.3g}'} after {lead[i]:.6g}" for i in shown)
    lines = [f"{n} forecast{'s' * (n > 1)}: rmse {errors}{unit}"]
    if record["diverged"]:
        lines.append(
            f"{record['diverged']} of {n} forecasts diverge, the first after {record['first_divergence']:.6g}{unit}"
        )
    valid = record["valid"]
    lines.append(f"accurate (within {WITHIN} sd) for {_time(valid, unit)} (median), {valid['whole']} of {n} to the end")
    found = record["attractor"]
    if found is not None:
        lines.append(
            f"attractor: means off by {found['mean']:.2g} sd, standard deviations by {found['std']:.2g}, "
            f"histograms {found['distance']:.2g} sd apart (training and test data {found['chance']:.2g})"
        )
    return lines


def _time(valid: ForecastRecord, unit: str) -> str:
    time, exponent = f"{valid['median']:.6g}{unit}", valid["lyapunov"]
    return time if exponent is None else f"{exponent * valid['median']:.3g} Lyapunov times ({time})"


def read(folders: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """The forecasts that the runs in these folders saved for the same test data, by label.

    Raises:
        UserError: A file is damaged, or is for other test data than the first.
    """
    mend = "run the comparison again"
    found: dict[str, dict[str, Any]] = {}
    for label, folder in folders.items():
        path = folder / NAME
        found[label] = json_file.read(path, _SHAPE, mend)
        Folder(folder, "report").check(NAME, mend)
        if not _fits(found[label], next(iter(found.values()))):
            raise UserError(f"{path} is damaged (its lists do not fit each other, or the other runs'): {mend}")
    return found


def _fits(record: ForecastRecord, first: ForecastRecord) -> bool:
    """Whether lists have the right lengths, and those of the first record."""
    example, lead, names = record["example"], record["lead"], first["example"]["names"]
    states = [*example["truth"], *example["found"]]
    return (
        0 < len(lead) == len(record["rmse"]) == len(first["lead"])
        and len(example["truth"]) == len(lead) + 1 >= len(example["found"]) > 0
        and example["names"] == names
        and len(example["sd"]) == len(names)
        and len(record["valid"]["times"]) > 0
        and all(len(state) == len(names) > 0 for state in states)
    )


def plot(found: Mapping[str, ForecastRecord], series: Sequence[str], path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Draw the first forecast of each method beside its truth, and the error against the lead time.

    Args:
        found: the forecast of a run of each method, by label; for the same test data.
        series: the key of each method's colour.
        path: of the picture; its suffix is replaced by `.png` (150 dpi) and `.svg`.

    Returns:
        The two files written.
    """
    look = dict(zip(found, looks(series), strict=True))
    example = next(iter(found.values()))["example"]
    components = len(example["names"])
    rows = min(components, _LINES) if components < _GRID else 1 + min(len(found), _SHOWN)
    with figure(9.0, 1.5 * rows + 2.6 + 0.12 * len(found), path) as canvas:
        grid = canvas.add_gridspec(rows + 1, 1, height_ratios=[1.0] * rows + [1.7])
        first: Axes | None = None
        above = []
        for row in range(rows):
            axes = canvas.add_subplot(grid[row], sharex=first)
            first = first or axes
            above.append(axes)
        draw = _lines if components < _GRID else _pictures
        draw(canvas, above, found, look)
        above[0].set_title("The first test trajectory and its forecast" + "s" * (len(found) > 1))
        above[-1].set_xlabel(example["time"])
        _errors(canvas.add_subplot(grid[rows]), found, look)
    return files(path)


def _times(record: ForecastRecord) -> np.ndarray:
    return np.concatenate([[0.0], record["lead"]])


def _states(record: ForecastRecord, name: str) -> np.ndarray:
    """States of the example in the data's units, NaN where nothing is observed."""
    return np.array(record["example"][name], np.float64)


def _lines(canvas: Figure, above: Sequence[Axes], found: Mapping[str, ForecastRecord], look: Looks) -> None:
    """Components as lines; a cross where a forecast diverges, a dot where it is no longer valid."""
    one = next(iter(found.values()))
    truth, times = _states(one, "truth"), _times(one)
    for i, axes in enumerate(above):
        axes.plot(times, truth[:, i], color=INK, lw=2.6, alpha=0.35, label="truth")
        for label, record in found.items():
            states, end = _states(record, "found"), record["valid"]["times"][0]
            colour, dash = look[label]
            valid = min(int(np.searchsorted(times, end)), len(states) - 1)
            if valid < len(times) - 1:
                axes.plot(times[valid], states[valid, i], "o", color=colour, ms=5)
            axes.plot(times[: len(states)], states[:, i], color=colour, ls=dash, lw=1.2, label=label)
            if len(states) < len(times):
                axes.plot(times[len(states) - 1], states[-1, i], "x", color=colour, ms=9, mew=2)
        low, high = np.nanmin(truth[:, i]), np.nanmax(truth[:, i])
        margin = 0.35 * (high - low) + 1e-9
        axes.set_ylim(low - margin, high + margin)
        axes.set_ylabel(one["example"]["names"][i])
        axes.margins(x=0.01)
        axes.tick_params(labelbottom=i == len(above) - 1)
    canvas.legend(*above[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)


def _pictures(canvas: Figure, above: Sequence[Axes], found: Mapping[str, ForecastRecord], look: Looks) -> None:
    """All components against time, in colours: the truth, then the forecasts, blank from where they diverge."""
    one = next(iter(found.values()))
    truth, times, sd = _states(one, "truth"), _times(one), np.array(one["example"]["sd"])
    around = lambda states: (states - np.nanmean(truth, axis=0)) / sd
    shown = {"truth": around(truth), **{label: around(_states(r, "found")) for label, r in found.items()}}
    image = None
    for axes, (label, states) in zip(above, shown.items(), strict=False):
        whole = np.full(truth.shape, np.nan)
        whole[: len(states)] = states
        extent = (times[0], times[-1], 0.5, truth.shape[1] + 0.5)
        image = axes.imshow(
            whole.T, extent=extent, aspect="auto", origin="lower", vmin=-2.5, vmax=2.5, cmap="RdBu_r", rasterized=True
        )
        axes.set_ylabel(label if len(label) < 16 else label[:14] + "…", fontsize=9)
        axes.grid(False)
        axes.tick_params(labelbottom=axes is above[-1])
    if image is not None:
        canvas.colorbar(image, ax=list(above), label="sd from the mean", shrink=0.8)
    for label in found:
        above[0].plot([], [], color=look[label][0], ls=look[label][1], label=label)
    canvas.legend(*above[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)


def _errors(axes: Axes, found: Mapping[str, ForecastRecord], look: Looks) -> None:
    """The error against the lead time; a line ends with a cross where a forecast diverges."""
    for label, record in found.items():
        values = [max(value, _LEAST) for value in record["rmse"] if value is not None]
        times, (colour, dash) = record["lead"][: len(values)], look[label]
        axes.plot(times, values, color=colour, ls=dash, lw=1.6)
        if values and len(values) < len(record["rmse"]):
            axes.plot(times[-1], values[-1], "x", color=colour, ms=9, mew=2)
    axes.set_yscale("log")
    axes.axhline(WITHIN, color=INK, lw=0.8, ls=":")
    axes.annotate(
        "accurate up to here", (1, WITHIN), (-2, 3), ("axes fraction", "data"), "offset points", ha="right", fontsize=8
    )
    axes.margins(x=0.01)
    lead = f"{next(iter(found.values()))['example']['time']} ahead"
    axes.set_xlabel(f"{lead}; a cross: a forecast diverges" if _any_diverged(found) else lead)
    axes.set_ylabel("rmse (sd)")


def _any_diverged(found: Mapping[str, ForecastRecord]) -> bool:
    return any(record["diverged"] for record in found.values())
