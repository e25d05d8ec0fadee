"""Data parallelism: devices share every batch; weights and optimiser are the same on all of them.

The compiled optimiser steps are the same as for one device. Batches are marked as sharded along their first axis, and
XLA's partitioner (Xu et al., GSPMD, arXiv 2105.04663) splits all computations that depend on them. Quantities over the
whole batch, such as the error norm of a joint step size or whether any sample is unfinished, are computed over all
devices. So a run has the steps, losses and gradients of one device, except for the order of sums.
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
    """The devices of a run's weights and batches, and the process that writes.

    Attributes:
        devices: The number of devices that share a batch.
        processes: The number of processes in the run.
        leads: Whether this process writes records, checkpoints and plots.
        out: Options of `jax.jit` that place a program's results.
    """

    devices: int
    processes: int
    leads: bool
    out: dict[str, Any]

    def replicated(self, tree: PyTree) -> PyTree:
        """The arrays, on all devices of the run."""
        ...

    def sharded(self, batch: PyTree) -> PyTree:
        """The arrays of a batch, marked as sharded among the devices; call it inside a program."""
        ...

    def local(self, tree: PyTree) -> PyTree:
        """Replicated arrays, for programs of this process only."""
        ...

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers."""
        ...


class OneDevice:
    """A run on JAX's default device."""

    devices, processes, leads = 1, 1, True
    out: dict[str, Any] = {}  # noqa: RUF012

    def replicated(self, tree: PyTree) -> PyTree:
        """The arrays, on the device."""
        return jax.device_put(tree)

    def sharded(self, batch: PyTree) -> PyTree:
        """The batch, unchanged."""
        return batch

    def local(self, tree: PyTree) -> PyTree:
        """The arrays, unchanged."""
        return tree

    def largest(self, number: int) -> int:
        """The number."""
        return number


class DataParallel:
    """A run whose batches are divided among devices, of this process or of all processes that `joined` finds.

    All processes must have the same options, versions and kind of device.

    Args:
        devices: JAX devices; None for all devices of all processes.
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
        return jax.jit(_same, **self.out)(tree)  # device_put would send all of it to other processes, to compare it

    def sharded(self, batch: PyTree) -> PyTree:
        """The arrays of a batch, each device with its share of the rows; call it inside a program."""
        return jax.lax.with_sharding_constraint(batch, self._rows)

    def local(self, tree: PyTree) -> PyTree:
        """Replicated arrays, as this process's first device holds them."""
        return jax.tree.map(lambda x: x.addressable_data(0) if isinstance(x, jax.Array) else x, tree)

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers; all processes must call it."""
        return number if self.processes == 1 else int(np.max(multihost_utils.process_allgather(np.int32(number))))


def _same(tree: PyTree) -> PyTree:
    return tree


@functools.cache
def joined() -> DataParallel:
    """All devices of all processes that were started together; of this process only if there is no launcher.

    A process joins once; later calls return the same object.

    `jax.distributed.initialize` detects Slurm, Open MPI and cloud TPUs. Elsewhere set JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID; the first process then listens on that address only, while JAX itself listens
    on all network interfaces. JAX_COORDINATOR_BIND_ADDRESS sets another one. Call it before any computation.

    Raises:
        UserError: The variables are incomplete or not numbers, or JAX has begun to compute.
    """
    if not jax.distributed.is_initialized():
        address, *numbers = (os.environ.get(name) for name in _GIVEN)
        try:
            processes, process = (None if text is None else int(text) for text in numbers)
            bind = os.environ.get(_BIND, address)
            jax.distributed.initialize(address, processes, process, coordinator_bind_address=bind)
        except ValueError as error:  # also raised without a launcher
            if any(name in os.environ for name in _GIVEN):
                what = f"{', '.join(_GIVEN)} must be host:port and two whole numbers"
                raise UserError(f"--distributed cannot join the other processes ({error}): {what}") from None
        except RuntimeError as error:
            reason = str(error).partition(". ")[0]
            raise UserError(f"--distributed cannot join the other processes: {reason}") from None
    return DataParallel()


def together(place: Placement, work: Callable[[], Result]) -> Result:
    """The result of `work` in this process, if no process raises a `UserError`; else all processes end.

    Args:
        place: The placement of the run.
        work: A function that may raise a `UserError`, and does not wait for other processes.

    Raises:
        UserError: `work` raised it in this process.
        SystemExit: `work` raised it in another process, which prints the reason.
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
    """The number >= 0 that `work` returns in the first process, for all processes; 0 for None.

    Raises:
        UserError, SystemExit: As `together`.
    """
    return place.largest(together(place, lambda: work() if place.leads else 0) or 0)


def part(place: Placement) -> None:
    """End the joint work: the first process continues with the results, and the others exit."""
    if place.processes > 1:
        jax.distributed.shutdown()


def check_batch(place: Placement, batch_size: int) -> None:
    """Refuse a batch that does not divide evenly among the devices.

    Raises:
        UserError: It does not.
    """
    if batch_size % place.devices:
        raise UserError(
            f"batch_size {batch_size} cannot be shared evenly among {place.devices} devices: give a multiple of them"
        )
