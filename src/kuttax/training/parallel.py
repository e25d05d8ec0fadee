"""Data parallelism: every batch is shared among devices, weights and optimiser are the same on all of them.

The compiled optimiser steps are those of one device. Batches are marked as sharded along their first axis, and XLA's
partitioner (Xu et al., GSPMD, arXiv 2105.04663) splits all that follows from them. So what a solve asks of its whole
batch, the error norm of a joint step size or whether any sample is under way, is asked of all devices, and a run has
the steps, losses and gradients of one device, but for the order in which sums are taken.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from ..errors import UserError

Result = TypeVar("Result")

_GIVEN = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_BIND = "JAX_COORDINATOR_BIND_ADDRESS"


class Placement(Protocol):
    """Where a run's weights and batches lie, and which of its processes writes.

    Attributes:
        devices: How many share a batch.
        processes: How many take part in the run.
        leads: Whether this process is the one that writes records, checkpoints and plots.
        out: Options of `jax.jit` that place what a program returns.
    """

    devices: int
    processes: int
    leads: bool
    out: dict[str, Any]

    def replicated(self, tree: PyTree) -> PyTree:
        """The arrays, on all devices of the run."""
        ...

    def sharded(self, batch: PyTree) -> PyTree:
        """The arrays of a batch, marked as shared among the devices; inside of a program."""
        ...

    def local(self, tree: PyTree) -> PyTree:
        """Replicated arrays, for programs of this process alone."""
        ...

    def largest(self, number: int) -> int:
        """The largest of the numbers that the processes give."""
        ...


class OneDevice:
    """All of a run on JAX's default device."""

    devices, processes, leads = 1, 1, True
    out: dict[str, Any] = {}  # noqa: RUF012

    def replicated(self, tree: PyTree) -> PyTree:
        """The arrays, on the device."""
        return jax.device_put(tree)

    def sharded(self, batch: PyTree) -> PyTree:
        """The batch as it is."""
        return batch

    def local(self, tree: PyTree) -> PyTree:
        """The arrays as they are."""
        return tree

    def largest(self, number: int) -> int:
        """The number."""
        return number


class DataParallel:
    """A run whose batches are shared among devices, of this process or of all processes that `joined` finds.

    All processes must do the same: the same options, versions and kind of device.

    Args:
        devices: Of JAX; None for all devices of all processes.
    """

    def __init__(self, devices: Sequence[Any] | None = None):
        chosen = jax.devices() if devices is None else list(devices)
        mesh = Mesh(np.array(chosen), ("batch",))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._rows = NamedSharding(mesh, PartitionSpec("batch"))
        self.devices, self.processes = len(chosen), len({device.process_index for device in chosen})
        self.leads = jax.process_index() == 0
        self.out: dict[str, Any] = {"out_shardings": self._everywhere}

    def replicated(self, tree: PyTree) -> PyTree:
        """The arrays, on all devices."""
        return jax.jit(_same, **self.out)(tree)  # device_put would send all of it around, to compare it

    def sharded(self, batch: PyTree) -> PyTree:
        """The arrays of a batch, each device with its share of the rows; inside of a program."""
        return jax.lax.with_sharding_constraint(batch, self._rows)

    def local(self, tree: PyTree) -> PyTree:
        """What this process's first device holds of replicated arrays."""
        return jax.tree.map(lambda x: x.addressable_data(0) if isinstance(x, jax.Array) else x, tree)

    def largest(self, number: int) -> int:
        """The largest of the numbers that the processes give; all of them must ask."""
        return number if self.processes == 1 else int(np.max(multihost_utils.process_allgather(np.int32(number))))


def _same(tree: PyTree) -> PyTree:
    return tree


@functools.cache
def joined() -> DataParallel:
    """All devices of all processes that were started together; of this one alone where no launcher is found.

    A process joins once; later calls return the same.

    Slurm, Open MPI and cloud TPUs are found by `jax.distributed.initialize`. Elsewhere JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID say it; the first process then listens on that address alone, where JAX itself
    listens on all network interfaces. JAX_COORDINATOR_BIND_ADDRESS names another one. Call it before anything is
    computed.

    Raises:
        UserError: The variables are incomplete or no numbers, or JAX has begun to compute.
    """
    if not jax.distributed.is_initialized():
        address, *numbers = (os.environ.get(name) for name in _GIVEN)
        try:
            processes, process = (None if text is None else int(text) for text in numbers)
            bind = os.environ.get(_BIND, address)
            jax.distributed.initialize(address, processes, process, coordinator_bind_address=bind)
        except ValueError as error:  # also where there is no launcher
            if any(name in os.environ for name in _GIVEN):
                what = f"{', '.join(_GIVEN)} must be host:port and two whole numbers"
                raise UserError(f"--distributed cannot join the other processes ({error}): {what}") from None
        except RuntimeError as error:
            reason = str(error).partition(". ")[0]
            raise UserError(f"--distributed cannot join the other processes: {reason}") from None
    return DataParallel()


def together(place: Placement, work: Callable[[], Result]) -> Result:
    """What `work` returns in this process, if it raises no `UserError` in any of them; else all processes end.

    Args:
        place: Of the run.
        work: What may be refused, with nothing in it that waits for other processes.

    Raises:
        UserError: It was refused here.
        SystemExit: It was refused in another process, which says why.
    """
    try:
        done = work()
    except UserError:
        place.largest(1)
        raise
    if place.largest(0):
        raise SystemExit(2)
    return done


def first(place: Placement, work: Callable[[], int | None]) -> int:
    """The number >= 0 that `work` returns in the first process, for all of them; 0 for None.

    Raises:
        UserError, SystemExit: As `together`.
    """
    return place.largest(together(place, lambda: work() if place.leads else 0) or 0)


def part(place: Placement) -> None:
    """End what the processes do together: the first may take its time over the results, and the others exit."""
    if place.processes > 1:
        jax.distributed.shutdown()


def check_batch(place: Placement, batch_size: int) -> None:
    """Refuse a batch that cannot be shared evenly.

    Raises:
        UserError: It cannot.
    """
    if batch_size % place.devices:
        raise UserError(
            f"batch_size {batch_size} cannot be shared evenly among {place.devices} devices: give a multiple of them"
        )
