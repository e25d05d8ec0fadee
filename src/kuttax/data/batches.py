"""The order of samples in training."""

from dataclasses import dataclass

import numpy as np

from ..errors import UserError


@dataclass(frozen=True)
class BatchStream:
    """An endless, repeatable stream of batches of sample indices.

    Each epoch is a permutation of all samples, drawn from the seed and the epoch's number. The epochs follow each other
    without a gap, and batch `k` is entries `k * batch_size` to `(k + 1) * batch_size` of that sequence. So no sample is
    dropped: if the batch size does not divide the number of samples, a batch continues into the next epoch.

    A batch is a pure function of the fields below and its step. So training resumes at any step, and one dispatch can
    take the indices of several steps while the data stay on the device.

    Attributes:
        samples: Number of samples `n`.
        batch_size: Indices in a batch, at most `n`.
        seed: Non-negative; draws all permutations.
        taken: The batches that were taken before step 0.

    Raises:
        UserError: If the batch size is outside 1 to `n`, or the seed negative.
    """

    samples: int
    batch_size: int
    seed: int = 0
    taken: int = 0

    def __post_init__(self):
        if self.batch_size < 1:
            raise UserError(f"batch_size must be >= 1, got {self.batch_size}")
        if self.batch_size > self.samples:
            raise UserError(
                f"batch_size {self.batch_size} exceeds the {self.samples} training samples; give at most {self.samples}"
            )
        if self.seed < 0:
            raise UserError(f"seed must be >= 0, got {self.seed}")

    def take(self, step: int, count: int = 1) -> np.ndarray:
        """Returns the indices of steps `step` to `step + count - 1`, shape `(count, batch_size)`, int32.

        Raises:
            UserError: If `step` is negative or `count` below 1.
        """
        if step < 0 or count < 1:
            raise UserError(f"take needs step >= 0 and count >= 1, got step {step} and count {count}")
        start, stop = (self.taken + step) * self.batch_size, (self.taken + step + count) * self.batch_size
        first_epoch, last_epoch = start // self.samples, (stop - 1) // self.samples
        order = np.concatenate([self._epoch(epoch) for epoch in range(first_epoch, last_epoch + 1)])
        offset = first_epoch * self.samples
        return order[start - offset : stop - offset].reshape(count, self.batch_size)

    def _epoch(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.samples).astype(np.int32)
