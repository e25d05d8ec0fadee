"""to_diffusers: a solver as a scheduler of Hugging Face's diffusers, for pipelines that match flows."""

from pathlib import Path

from ..errors import UserError
from ..io.atomic import write_text
from ..solvers.base.solver import title
from ..solvers.rk.fixed import AbstractTableSolver
from .schemes import as_literals, to_numpy


def to_diffusers(solver: AbstractTableSolver, path: str | Path) -> None:
    """Write a Python module with the class `KuttaxScheduler`, which needs only PyTorch and diffusers.

    Put it in the place of a pipeline's `FlowMatchEulerDiscreteScheduler`: `pipeline.scheduler = KuttaxScheduler()`. The
    solver crosses the whole path from noise (sigma 1) to data (sigma 0), so the number of inference steps is the
    solver's number of evaluations. Fit it to the same path: `kx.distill(field, noise, 1.0, 0.0, ...)`, where the field
    is the model's output v = dx/dsigma and its time is sigma.

    What a pipeline changes in the latents between two steps, such as the known part of an image, moves the state by as
    much.

    Args:
        solver: `FixedSteps` or `LearnedRK`.
        path: Of the module, such as "scheduler_kuttax.py".

    Raises:
        UserError: The solver is no table, its first evaluation is not at the noise itself, or it was fitted to an
            interval of another length.
    """
    table = to_numpy(solver)
    meant = solver.meant_for()
    if meant is not None and abs(abs(meant[1] - meant[0]) - 1) > 1e-6:
        raise UserError(
            f"this solver was fitted to t={meant[0]:g} to {meant[1]:g}, and a pipeline's path goes from 1 to 0: fit it "
            "to that path, kx.distill(field, noise, 1.0, 0.0, ...)"
        )
    if table.scale[0, 0] != 1:
        raise UserError(
            "a pipeline hands the noise itself to the model, and this sampler scales it before its first evaluation: "
            "export an anchored or a per-step student"
        )
    write_text(Path(path), _SOURCE.format(title=title(solver), numbers=as_literals(table)))


_SOURCE = '''"""{title}, as a scheduler of diffusers. Written by kuttax."""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteSchedulerOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin

{numbers}


class KuttaxScheduler(SchedulerMixin, ConfigMixin):
    """Its number of inference steps is its number of evaluations, whatever a pipeline asks for."""

    _compatibles = []
    order = 1
    init_noise_sigma = 1.0

    @register_to_config
    def __init__(self, num_train_timesteps: int = 1000):
        self.set_timesteps()

    def set_timesteps(self, num_inference_steps=None, device=None, sigmas=None, mu=None, timesteps=None):
        """Begin to sample; the arguments are those of other schedulers, and only `device` counts."""
        times, start = [], 0.0
        for c, share in zip(C, H):
            times += [1 - start - x * share for x in c]
            start += share
        self.sigmas = torch.tensor([*times, 0.0], dtype=torch.float32, device=device)
        self.timesteps = self.sigmas[:-1] * self.config.num_train_timesteps
        self.num_inference_steps = len(times)
        self._step_index = self._begin_index = None
        self._slopes, self._start, self._handed = [], None, None

    @property
    def step_index(self):
        return self._step_index

    @property
    def begin_index(self):
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0):
        if begin_index:
            raise ValueError("this solver crosses the whole path: it cannot begin at a later step")
        self._begin_index = begin_index

    def scale_noise(self, sample, timestep, noise=None):
        """Noise added to data, as for the flow's training."""
        sigma = torch.as_tensor(timestep, dtype=sample.dtype, device=sample.device) / self.config.num_train_timesteps
        sigma = sigma.reshape(-1, *[1] * (sample.ndim - 1))
        return sigma * noise + (1 - sigma) * sample

    def step(self, model_output, timestep, sample, generator=None, return_dict=True, **ignored):
        """The state of the next evaluation; after the last evaluation, the sample."""
        if self._step_index is None:
            self._step_index = 0
        if self._step_index == len(self.timesteps):
            raise ValueError("the sample is finished: call set_timesteps() to begin another one")
        stages = len(B[0])
        row, stage = divmod(self._step_index, stages)
        if stage == 0:
            self._start = (sample if row == 0 else self._next).to(torch.float32)
            self._slopes = []
        if self._handed is not None and not torch.equal(sample, self._handed):  # a mask or a callback changed it
            self._start = self._start + (sample - self._handed).to(torch.float32) / SCALE[row][stage]
        self._slopes.append(-model_output.to(torch.float32))  # against sigma
        last = stage == stages - 1
        weights = B[row] if last else A[row][stage + 1]
        found = SCALE[row][stage + 1] * self._start
        for weight, slope in zip(weights, self._slopes):
            if weight:
                found = found + weight * H[row] * slope
        if last:
            self._next = found
            if row + 1 < len(B):
                found = SCALE[row + 1][0] * found
        self._step_index += 1
        self._handed = found = found.to(model_output.dtype)
        return FlowMatchEulerDiscreteSchedulerOutput(prev_sample=found) if return_dict else (found,)

    def __len__(self):
        return self.config.num_train_timesteps
'''
