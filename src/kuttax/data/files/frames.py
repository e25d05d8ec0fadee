"""Frames: the columns of a table in Python: a pandas DataFrame, an xarray Dataset, or a mapping of arrays."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ...errors import UserError


@runtime_checkable
class _Dataset(Protocol):
    """What is used of a Dataset of xarray."""

    @property
    def coords(self) -> Any: ...
    @property
    def dims(self) -> Any: ...
    def drop_vars(self, names: Any) -> Any: ...
    def to_dataframe(self) -> Any: ...


@runtime_checkable
class _Frame(Protocol):
    """What is used of a DataFrame of pandas; iteration gives the names of its columns."""

    @property
    def index(self) -> Any: ...
    @property
    def columns(self) -> Any: ...
    def reset_index(self, *, drop: bool = False) -> Any: ...
    def __iter__(self) -> Any: ...
    def __getitem__(self, name: Any) -> Any: ...


def columns_of(source: Any) -> list[tuple[str, np.ndarray]]:
    """The names and the values of the columns.

    An index of a DataFrame is a column if it has a name, and the first one, called "", if it has none. Coordinates of a
    Dataset that do not change are left out.

    Raises:
        UserError: It is no table, or its columns differ in length.
    """
    if isinstance(source, _Dataset):
        source = _frame_of(source)
    nameless = []
    if isinstance(source, _Frame):
        source, nameless = _with_index(source)
    if not isinstance(source, Mapping | _Frame):
        raise UserError(f"expected a file, a DataFrame, a Dataset or a mapping of arrays, got {type(source).__name__}")
    names = list(source)
    twice = [name for name in names if [str(other) for other in names].count(str(name)) > 1]
    if twice:
        raise UserError(
            f"{type(source).__name__}: column {str(twice[0])!r} is there twice: give each a name of its own"
        )
    columns = [(str(name), _array(str(name), source[name])) for name in names]
    lengths = {name: values.shape for name, values in columns}
    if not columns or any(len(shape) != 1 for shape in lengths.values()) or len(set(lengths.values())) > 1:
        raise UserError(f"expected columns of one length, got {lengths}")
    return [*nameless, *columns]


def _frame_of(dataset: _Dataset) -> Any:
    try:
        constant = [name for name in dataset.coords if dataset.coords[name].ndim == 0]
        frame = dataset.drop_vars(constant).to_dataframe()
        return frame.reset_index([name for name in dataset.dims if name not in dataset.coords], drop=True)
    except ValueError as error:
        raise UserError(f"{type(dataset).__name__}: it is no table ({' '.join(str(error).split())})") from None


def _with_index(frame: _Frame) -> tuple[_Frame, list[tuple[str, np.ndarray]]]:
    """The frame with an index that has names as columns; else as it is, and its index."""
    names = [name for name in frame.index.names if name is not None]
    if not names and len(frame.index.names) == 1:
        return frame, [("", np.asarray(frame.index))]
    return frame.reset_index(drop=all(name in frame.columns for name in names) and bool(names)), []


def _array(name: str, values: Any) -> np.ndarray:
    if isinstance(values, np.ma.MaskedArray):
        filled = values.data.astype(object)
        filled[np.ma.getmaskarray(values)] = None
        return filled
    try:
        return np.asarray(values)
    except ValueError:
        raise UserError(f"column {name!r} is no array of one number or text a row: give one") from None
