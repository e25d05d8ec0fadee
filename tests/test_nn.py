"""Fields and classifier against the same formulas in NumPy, SciPy and closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.signal import correlate2d

import kuttax as kx
from kuttax.errors import UserError
from kuttax.nn import Conv1dField, ConvField, MLPField, NeuralODEClassifier, augment
from kuttax.nn.fields.convolution import Convolution

DTYPES = {"float32": (jnp.float32, 1e-5), "float64": (jnp.float64, 1e-12)}
slope_of = eqx.filter_jit(lambda field, t, y: field(t, y))


def as_float64(array) -> np.ndarray:
    return np.asarray(array, np.float64)


def mlp_by_hand(field: MLPField, t: float, y: np.ndarray) -> np.ndarray:
    for i, layer in enumerate(field.layers):
        inputs = np.append(y, t) if field.time_dependent else y
        y = as_float64(layer.weight) @ inputs + as_float64(layer.bias)
        if i < len(field.layers) - 1:
            y = np.tanh(y)
    return y


def conv_by_hand(field: ConvField, t: float, y: np.ndarray) -> np.ndarray:
    for i, layer in enumerate(field.layers):
        inputs = np.concatenate([y, np.full((1, *y.shape[1:]), t)]) if field.time_dependent else y
        kernels, bias = as_float64(layer.weight), as_float64(layer.bias)
        y = np.stack(
            [
                sum(correlate2d(channel, kernel, "same") for channel, kernel in zip(inputs, row, strict=True))
                for row in kernels
            ]
        )
        y = y + bias[:, None, None]
        if i < len(field.layers) - 1:
            y = np.tanh(y)
    return y


@pytest.mark.parametrize("time_dependent", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_mlp_field_is_its_formula(key, rng, dtype, time_dependent, depth):
    kind, tolerance = DTYPES[dtype]
    field = MLPField(5, 7, depth, key=key, time_dependent=time_dependent)
    y = rng.standard_normal(5)
    slope = slope_of(field, 0.3, jnp.asarray(y, kind))
    assert slope.dtype == kind
    np.testing.assert_allclose(slope, mlp_by_hand(field, 0.3, y), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("time_dependent", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_conv_field_is_its_formula(key, rng, dtype, time_dependent):
    kind, tolerance = DTYPES[dtype]
    field = ConvField(2, 3, 2, key=key, time_dependent=time_dependent)
    y = rng.standard_normal((2, 5, 6))
    slope = slope_of(field, 0.3, jnp.asarray(y, kind))
    assert slope.dtype == kind and slope.shape == y.shape
    np.testing.assert_allclose(slope, conv_by_hand(field, 0.3, y), rtol=tolerance, atol=tolerance)


def conv1d_by_hand(field: Conv1dField, t: float, y: np.ndarray) -> np.ndarray:
    h = y[None]
    for i, layer in enumerate(field.layers):
        h = np.concatenate([h, np.full((1, h.shape[1]), t)]) if field.time_dependent else h
        kernels = as_float64(layer.weight).transpose(1, 2, 0)  # (outputs, inputs, taps)
        h = np.stack([correlate2d(np.pad(h, ((0, 0), (len(row[0]) // 2,) * 2)), row, "valid")[0] for row in kernels])
        h = h + as_float64(layer.bias)[:, None]
        if i < len(field.layers) - 1:
            h = np.maximum(h, 0)
    return h[0]


@pytest.mark.parametrize("time_dependent", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_conv1d_field_is_its_formula(key, rng, dtype, time_dependent, size):
    kind, tolerance = DTYPES[dtype]
    field = Conv1dField(size, 5, 3, key=key, time_dependent=time_dependent)
    field = jax.tree.map(lambda x: x + 0.1, field)  # biases that are not zero
    y = rng.standard_normal(size)
    slope = slope_of(field, 0.3, jnp.asarray(y, kind))
    assert slope.dtype == kind and slope.shape == y.shape
    expected = conv1d_by_hand(field, 0.3, y)
    np.testing.assert_allclose(slope, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_conv1d_field_starts_as_he_et_al(key):
    """Normal weights of variance 2 / (taps inputs), no bias; the shapes are those of Ott et al. for spheres."""
    layers = Conv1dField(2, key=key).layers
    assert [layer.weight.shape for layer in layers] == [(1, 32, 1), (3, 32, 32), (1, 1, 32)]
    assert not any(layer.bias.any() for layer in layers)
    weights = as_float64(layers[1].weight).ravel()
    np.testing.assert_allclose(weights.var(), 2 / 96, rtol=4 * np.sqrt(2 / weights.size))


def test_a_head_may_start_as_he_et_al(key):
    field = MLPField(500, 3, key=key)
    head = NeuralODEClassifier(field, (500,), 20, key=key, he_head=True).head
    assert head.weight.dtype == jnp.float32 and not head.bias.any()
    weights = as_float64(head.weight).ravel()
    np.testing.assert_allclose(weights.var(), 2 / 500, rtol=4 * np.sqrt(2 / weights.size))


def test_time_may_have_another_dtype_than_the_state(key):
    y = jnp.ones(3, jnp.float32)
    field = MLPField(3, 4, key=key)
    given = [field(t, y) for t in (0.5, np.float64(0.5), jnp.asarray(0.5, jnp.float64), jnp.asarray(0.5, jnp.float32))]
    for slope in given:
        assert slope.dtype == jnp.float32
        np.testing.assert_array_equal(slope, given[0])


def test_mnist_field_has_the_shapes_of_pal_et_al(key):
    field = MLPField(784, 100, key=key)
    assert [layer.weight.shape for layer in field.layers] == [(100, 785), (784, 101)]
    assert [layer.bias.shape for layer in field.layers] == [(100,), (784,)]


def test_a_convolution_is_scipys_correlation(key, rng):
    layer = Convolution(3, 4, key=key, dtype=jnp.float64)
    x = rng.standard_normal((3, 6, 5))
    found = layer(jnp.asarray(x))
    for kernel, bias, channel in zip(layer.weight, layer.bias, found, strict=True):
        expected = sum(correlate2d(a, np.asarray(b), mode="same") for a, b in zip(x, kernel, strict=True)) + bias
        np.testing.assert_allclose(channel, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [MLPField, ConvField])
@pytest.mark.parametrize("sizes", [(0, 4, 1), (4, 0, 1), (4, 4, -1)])
def test_sizes_that_cannot_be(key, kind, sizes):
    with pytest.raises(UserError, match=f"got {', '.join(map(str, sizes))}"):
        kind(*sizes, key=key)


@pytest.mark.parametrize(("shape", "axis"), [((3,), 0), ((2, 4, 5), 0), ((6, 3), 1), ((6, 2, 4, 5), 1)])
def test_augment_appends_zeros(rng, shape, axis):
    y = rng.standard_normal(shape).astype(np.float32)
    width = [(0, 2 if i == axis else 0) for i in range(len(shape))]
    augmented = augment(jnp.asarray(y), 2, axis)
    assert augmented.dtype == jnp.float32
    np.testing.assert_array_equal(augmented, np.pad(y, width))


def test_augmenting_by_a_negative_number():
    with pytest.raises(UserError, match="got -1"):
        augment(jnp.zeros(3), -1)


class Linear(eqx.Module):
    """dy/dt = M y on a flattened state: its flow is expm(M)."""

    matrix: jax.Array

    def __call__(self, t, y, args):
        return (self.matrix @ y.reshape(-1)).reshape(y.shape)


@pytest.mark.parametrize(("shape", "augmented"), [((3,), 0), ((3,), 2), ((1, 2, 2), 1)])
def test_classifier_is_head_of_flow_of_augmented_input(key, rng, shape, augmented):
    full = (shape[0] + augmented, *shape[1:])
    matrix = rng.standard_normal((np.prod(full), np.prod(full))) / 3
    classifier = NeuralODEClassifier(Linear(jnp.asarray(matrix)), shape, 4, key=key, augmented=augmented)
    x = rng.standard_normal((6, *shape))
    logits, solution = classifier(kx.FixedSteps(kx.tableaus.DOPRI8, 20), jnp.asarray(x))
    y0 = np.concatenate([x, np.zeros((6, augmented, *shape[1:]))], axis=1).reshape(6, -1)
    y1 = y0 @ expm(matrix).T
    weight, bias = as_float64(classifier.head.weight), as_float64(classifier.head.bias)
    np.testing.assert_allclose(solution.y1.reshape(6, -1), y1, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(logits, y1 @ weight.T + bias, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_classifier_follows_the_inputs_dtype(key, dtype):
    kind, _ = DTYPES[dtype]
    classifier = NeuralODEClassifier(MLPField(3, 4, key=key), (3,), 2, key=key)
    logits, solution = classifier(kx.FixedSteps(kx.tableaus.RK4, 1), jnp.ones((5, 3), kind))
    assert logits.dtype == solution.y1.dtype == kind


@pytest.mark.parametrize(("classes", "augmented", "part"), [(1, 0, "2 classes, got 1"), (2, -1, "got -1")])
def test_classifiers_that_cannot_be(key, classes, augmented, part):
    with pytest.raises(UserError, match=part):
        NeuralODEClassifier(MLPField(3, 4, key=key), (3,), classes, key=key, augmented=augmented)
