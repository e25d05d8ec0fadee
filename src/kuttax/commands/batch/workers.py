"""Many runs at once, by dask: in processes of this machine, or on the workers of a running scheduler."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NamedTuple

from ...errors import UserError
from ...extras import imported
from ...io.lock import InUse
from ...training.saving import Stopped

LOST = "its worker process died at every attempt (was the memory full?)"
"""Why a call has no result."""

ONE_AT_A_TIME = threading.Lock()
"""For the runs of a process: a worker may have several threads, but has the memory for one run, and draws one plot."""


_PAUSE = 0.5
"""Seconds between two attempts to begin a run."""


class Workers(NamedTuple):
    """Where the runs go.

    Attributes:
        count: The number of processes on this machine; None with a scheduler.
        scheduler: The address of a running scheduler.
    """

    count: int | None
    scheduler: str | None

    def dask(self) -> Any:
        """The module `distributed`, of dask.

        Raises:
            UserError: It is not installed.
        """
        needs = "--workers" if self.scheduler is None else "--scheduler"
        return imported("distributed", of="dask", extra="cluster", needs=needs, instead="use --shard")

    def check(self) -> None:
        """Check early whether `results` can work.

        Raises:
            UserError: dask is not installed, or no scheduler answers.
        """
        distributed = self.dask()
        if self.scheduler is not None:
            with _quiet(), _connected(distributed, self.scheduler):
                pass


class StoppedRuns(Stopped):
    """SIGTERM stopped the runs of several processes."""

    def __init__(self, number: int):
        Exception.__init__(
            self, "stopped; finished runs are recorded, others go on from their last checkpoint with --resume"
        )
        self.signal, self.step = number, 0


def results(workers: Workers, work: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
    """Call a function of plain values many times in other processes.

    Args:
        workers: The processes. They end with this generator, unless they are those of a running scheduler.
        work: A function of a module, which the processes import.
        calls: The arguments of each call.

    Yields:
        The number of a call and its result, in the order in which they end. The result is None if the worker died as
        often as dask allows.

    Raises:
        UserError: dask is not installed, or no scheduler answers.
        StoppedRuns: SIGTERM arrived.
        Exception: What a call raised.
    """
    if not calls:
        return
    distributed = workers.dask()
    with _stops(), _quiet(), _client(distributed, workers) as client:
        futures = {client.submit(once_free, work, *call, pure=False): number for number, call in enumerate(calls)}
        for future in distributed.as_completed(futures):
            try:
                result = future.result()
            except distributed.KilledWorker:
                result = None
            yield futures.pop(future), result


def once_free(work: Callable[..., Any], *call: Any) -> Any:
    """Call a function of a run, in a worker, again and again while another process writes into the folder of the run.

    That process is a worker that dask believes to be dead. The operating system releases its lock when it ends.
    """
    while True:
        try:
            return work(*call)
        except InUse:
            time.sleep(_PAUSE)


@contextlib.contextmanager
def _client(distributed: Any, workers: Workers) -> Iterator[Any]:
    """A client of the running scheduler, or of new processes."""
    if workers.scheduler is not None:
        with _connected(distributed, workers.scheduler) as client:
            yield client
    else:
        with _local(distributed, workers.count or 1) as cluster, distributed.Client(cluster) as client:
            yield client


def _connected(distributed: Any, address: str) -> Any:
    """A client of a running scheduler; a context."""
    try:
        return distributed.Client(address)
    except (OSError, ValueError) as error:
        raise UserError(f"--scheduler {address}: no dask scheduler answers there ({error})") from None


@contextlib.contextmanager
def _local(distributed: Any, count: int) -> Iterator[Any]:
    """So many processes on this machine, which share its cores. dask starts a new one for each that dies."""
    cores = int(os.environ.get("NPROC", 0)) or len(_available())
    options = {
        "n_workers": count,
        "threads_per_worker": 1,
        "dashboard_address": "127.0.0.1:0",  # with None, dask warns where another comparison has its usual port
        "memory_limit": None,  # else dask pauses, and kills, a process with more than its share
        "silence_logs": logging.CRITICAL,
        "env": {"NPROC": str(max(1, cores // count))},  # the number of XLA's threads
        "preload": [__name__],  # calls `dask_setup` in each process
    }
    config = imported("dask.config", of="dask", extra="cluster", needs="--workers")
    # A process holds one run and none in reserve: its death then counts against that run alone.
    with config.set({"distributed.scheduler.worker-saturation": 1.0}), distributed.LocalCluster(**options) as cluster:
        yield cluster


def _available() -> Sequence[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return list(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)


def dask_setup(worker: Any) -> None:
    """In a new process: Ctrl-C, which a terminal sends to all processes, is for the main process alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without dask's log: a worker that dies costs a repetition, and an end is one line."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _stops() -> Iterator[None]:
    """SIGTERM raises `StoppedRuns`, unless it is ignored."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # until the workers have ended
        raise StoppedRuns(number)

    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before == signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
