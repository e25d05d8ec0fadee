"""The transformer field in PyTorch; the same as in `jax_transformer.py`."""
# pyright: reportMissingImports=false

from torch.nn.functional import gelu

from .torch_layers import attention, dense, layer_norm, time_features


def transformer(t, y, weights):
    """f(t, y) on a batch of sequences, (batch, tokens, width): what the block adds to its input."""
    x = y + time_features(t, weights)[:, None, :]
    mixed = attention(layer_norm(x, weights, "norm0"), weights, "attention")
    hidden = gelu(dense(layer_norm(x + mixed, weights, "norm1"), weights, "mlp0"), approximate="tanh")
    return mixed + dense(hidden, weights, "mlp1")
