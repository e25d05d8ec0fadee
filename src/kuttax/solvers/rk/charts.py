"""The kinds of charts by their names, to and from data that JSON can hold."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..base.numbers import as_list
from .chart import CLOSED, AbstractChart, Projected
from .free import Free

_FAMILIES: dict[str, type[AbstractChart]] = {family.__name__: family for family in (Projected, Free, *CLOSED)}


def chart_data(chart: AbstractChart) -> dict[str, Any]:
    """The free parameters of a chart, in types that JSON can hold."""
    arrays = [field.name for field in dataclasses.fields(chart) if not field.metadata.get("static", False)]
    return {"family": type(chart).__name__, **{name: as_list(getattr(chart, name)) for name in arrays}}


def chart_of_data(data: dict[str, Any], dtype: Any) -> AbstractChart:
    """The chart of a solver with these `data`, as `chart_data` wrote it.

    Raises:
        ValueError: The parameters do not fit the number of stages.
    """
    chart = data["chart"]
    arrays = {k: jnp.asarray(np.array(v, np.float64), dtype) for k, v in chart.items() if k != "family"}
    result = _FAMILIES[chart["family"]].of_arrays(arrays, data["order"], data["stages"])
    rows = len(next(iter(arrays.values())))
    if any(arrays[name].shape != (rows, width) for name, width in result.widths.items()):
        raise ValueError("parameters that do not fit the number of stages")
    return result
