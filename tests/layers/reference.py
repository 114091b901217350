"""What the layers must answer, written in NumPy without a look at them. Arrays are (N, H, W, C), float64."""

import numpy as np

GATES = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
}
SQUEEZES = {
    "avg": lambda x: x.mean(axis=(1, 2), keepdims=True),  # eq. 2
    "max": lambda x: x.max(axis=(1, 2), keepdims=True),
    "none": lambda x: x,
}


def gates(x, w1, b1, w2, b2, squeeze="avg", gate="sigmoid"):
    """The excitation, eq. 3. Kernels are (in, out)."""
    z = SQUEEZES[squeeze](x.astype(np.float64))
    return GATES[gate](np.maximum(z @ w1 + b1, 0) @ w2 + b2)


def windows(x, kernel: int, stride: int):
    """Every window that lies inside `x`: (N, rows, columns, C, kernel, kernel)."""
    found = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(1, 2))
    return found[:, ::stride, ::stride]


def convolve(x, kernel, stride: int):
    """PyTorch's Conv2d(padding=k // 2, bias=False); `kernel` is (k, k, in, out)."""
    border = kernel.shape[0] // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (border, border), (border, border), (0, 0)))
    return np.einsum("nhwcij,ijco->nhwo", windows(padded, kernel.shape[0], stride), kernel)


def normalize(x, gamma, beta, mean, variance, epsilon=1e-5):
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def pool_ceil(x):
    """Caffe's 3×3 max pool, stride 2, no padding: ⌈(H - 3) / 2⌉ + 1 rows, windows cut off at the far edge."""
    rows, columns = (int(np.ceil((side - 3) / 2)) + 1 for side in x.shape[1:3])
    out = np.empty((x.shape[0], rows, columns, x.shape[3]))
    for i, j in np.ndindex(rows, columns):
        out[:, i, j] = x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2))
    return out


def pool_pad(x):
    """PyTorch's MaxPool2d(3, stride=2, padding=1): the border is minus infinity."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    return windows(padded, 3, 2).max(axis=(4, 5))
