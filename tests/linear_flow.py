"""A task whose truth is a matrix exponential."""

import jax
import jax.numpy as jnp
import numpy as np

import kuttax as kx
from kuttax.data import Dataset
from kuttax.tasks import Metric, Prediction, mean_nfe


class Flow:
    """Learn the matrix of dy/dt = W y from noisy pairs of states; outputs are the end states."""

    name = "flow"
    interval = (0.0, 1.0)
    metric = Metric("rmse", higher_is_better=False, unit="")
    matrix = np.array([[-0.5, 2.0], [-2.0, -0.5]])

    def __init__(self):
        self.loss_traces = 0
        self.train, self.validation = self._pairs(0), self._pairs(1)

    def _pairs(self, number):
        start, noise = np.random.default_rng(number).standard_normal((2, 64, 2))
        values, vectors = np.linalg.eig(self.matrix)
        flow = (vectors @ np.diag(np.exp(values)) @ np.linalg.inv(vectors)).real
        return Dataset(start, start @ flow.T + 0.2 * noise)

    def init(self, key):
        return {"w": 0.1 * jax.random.normal(key, (2, 2))}

    def loss(self, model, solver, batch, key):
        self.loss_traces += 1
        seen = self.predict(model, solver, batch)
        return seen.loss, {"nfe": mean_nfe(seen.stats), "metric": seen.metric, "status": seen.status}

    def predict(self, model, solver, batch):
        sol = kx.solve(
            lambda t, y, args: model["w"] @ y,
            jnp.asarray(batch.x),
            *self.interval,
            solver=solver,
            batch_axis=0,
            max_steps=64,
            throw=False,
        )
        square = jnp.mean((sol.y1 - batch.y) ** 2)
        return Prediction(sol.y1, jnp.sqrt(square), stats=sol.stats, loss=square, status=jnp.max(sol.status))
