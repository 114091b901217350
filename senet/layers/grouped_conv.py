"""A grouped convolution that trains on a CPU as fast as an ordinary one.

Keras hands grouped convolutions to XLA, on TensorFlow (CPU) as on JAX. On a CPU XLA has one slow loop for the
gradient of a grouped kernel: seconds a step, where PyTorch takes a tenth of one. The formulations here give
the same numbers, to rounding:

native (any GPU; TensorFlow on a CPU): one grouped convolution and its native gradients. The forward kernel
    always exists. The gradients exist on a CPU where oneDNN is on, and are then as fast as PyTorch's, which
    are oneDNN's too. TensorFlow turns it on by itself only for processors with AVX-512 VNNI or AMX; `import
    senet` does it for the others, where TensorFlow is not imported yet and TF_ENABLE_ONEDNN_OPTS is not set.
slices (JAX on a CPU; gradients on TensorFlow without oneDNN): neighbouring groups are put together until a
    slice is `MIN_WIDTH` channels wide. A slice is an ordinary convolution; its kernel is zero between groups.

`benchmarks/grouped_conv.py` measures them against PyTorch.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras
from keras import layers, ops

# Wider slices multiply more zeros, narrower ones leave the matrix products inside a convolution too thin.
# Of 4, 8, 16, 32 and 64 the best at 4 and 8 channels a group; of wider groups each is a slice of its own.
MIN_WIDTH = 16


@keras.saving.register_keras_serializable(package="senet")
class GroupedConv2D(layers.Conv2D):
    """`keras.layers.Conv2D` with a formulation of `groups` that fits the engine and the device.

    `(N, H, W, C)`, channels last, to `(N, H', W', filters)`; H and W may be unknown. Arguments, configuration
    and weights are those of `keras.layers.Conv2D(groups=...)`: `kernel` `(kh, kw, C / groups, filters)` and,
    unless `use_bias=False`, `bias` `(filters,)`. Output channel f reads the C / groups input channels of
    group `f // (filters / groups)`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.data_format != "channels_last":
            raise ValueError(
                f"{self.name}: the input must be channels last. Received: data_format={self.data_format!r}. "
                "Leave `data_format` out, or pass data_format='channels_last'."
            )

    def convolution_op(self, inputs, kernel):
        engine = keras.backend.backend()
        if self.groups == 1 or engine == "torch":
            return super().convolution_op(inputs, kernel)
        if engine == "tensorflow":
            return self._on_tensorflow(inputs, kernel)
        import jax

        if jax.default_backend() != "cpu":
            return super().convolution_op(inputs, kernel)
        inputs, kernel = ops.convert_to_tensor(inputs), ops.convert_to_tensor(kernel)
        spans = tuple((n - 1) * d + 1 for n, d in zip(self.kernel_size, self.dilation_rate, strict=True))
        pads = tuple(jax.lax.padtype_to_pads(inputs.shape[1:3], spans, self.strides, self.padding.upper()))
        return _on_jax_cpu(
            inputs, kernel, self.groups, _Windows(self.strides, self.dilation_rate, spans, pads)
        )

    def _on_tensorflow(self, inputs, kernel):
        import tensorflow as tf

        inputs, kernel = tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel)
        # An ordinary convolution, as Keras does it, serves the slices.
        slices = functools.partial(_by_slices, convolve=super().convolution_op, groups=self.groups)
        if self.dilation_rate != (1, 1):
            return slices(inputs, kernel)  # TensorFlow has no dilated gradients on a CPU
        if self.groups == inputs.shape[-1] and self.strides[0] == self.strides[1]:
            depthwise = ops.reshape(kernel, (*self.kernel_size, self.groups, -1))
            return ops.depthwise_conv(inputs, depthwise, self.strides, self.padding)
        return _tensorflow_native(inputs, kernel, self.strides, self.padding.upper(), slices)


def _groups_together(kernel, groups: int, width: int) -> int:
    """How many groups make a slice of `width` channels or more; all of them where even they are narrower."""
    narrow = min(kernel.shape[2], kernel.shape[3] // groups)
    return next((n for n in range(1, groups) if groups % n == 0 and n * narrow >= width), groups)


def _block_kernel(kernel, groups: int, together: int):
    """The kernel of slices of `together` groups: `(kh, kw, slice's input channels, filters)`.

    It is `kernel` repeated along its third axis, with zero wherever the input is of another group than the
    output.
    """
    if together == 1:
        return kernel
    height, length, depth, filters = kernel.shape
    blocks = ops.reshape(kernel, (height, length, 1, depth, groups // together, together, filters // groups))
    same_group = ops.reshape(ops.eye(together, dtype="bool"), (1, 1, together, 1, 1, together, 1))
    blocks = ops.where(same_group, blocks, ops.zeros((), kernel.dtype))
    return ops.reshape(blocks, (height, length, together * depth, filters))


def _from_block_kernel(blocks, groups: int, together: int):
    """The kernel in a block kernel; of a block kernel's gradient, the kernel's."""
    if together == 1:
        return blocks
    height, length, inputs, filters = blocks.shape
    depth = inputs // together
    blocks = ops.reshape(
        blocks, (height, length, together, depth, groups // together, together, filters // groups)
    )
    own = [blocks[:, :, group, :, :, group] for group in range(together)]
    return ops.reshape(ops.stack(own, axis=-2), (height, length, depth, filters))


def _slices(inputs, block_kernel, convolve):
    """`convolve(inputs, kernel)` of each slice of both, put side by side again."""
    count = inputs.shape[-1] // block_kernel.shape[2]
    parts = zip(ops.split(inputs, count, axis=-1), ops.split(block_kernel, count, axis=-1), strict=True)
    return ops.concatenate([convolve(part, kernel) for part, kernel in parts], axis=-1)


def _by_slices(inputs, kernel, convolve, groups: int, width: int = MIN_WIDTH):
    together = _groups_together(kernel, groups, width)
    return _slices(inputs, _block_kernel(kernel, groups, together), convolve)


@dataclasses.dataclass(frozen=True)
class _Windows:
    """Where the kernel's windows lie on an image, per axis (rows, columns)."""

    strides: tuple[int, int]
    dilation: tuple[int, int]
    spans: tuple[int, int]  # pixels from a window's first to its last, both included
    pads: tuple[tuple[int, int], tuple[int, int]]


def _on_jax_cpu(inputs, kernel, groups: int, windows: _Windows):
    """The convolution by slices, with a gradient of the kernel that suits XLA on a CPU."""
    import jax

    of_slice = functools.partial(
        jax.lax.conv_general_dilated,
        window_strides=windows.strides,
        padding=windows.pads,
        rhs_dilation=windows.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )

    together = _groups_together(kernel, groups, MIN_WIDTH)

    def forward(inputs, kernel):
        return _slices(inputs, _block_kernel(kernel, groups, together), of_slice)

    @jax.custom_vjp
    def grouped(inputs, kernel):
        return forward(inputs, kernel)

    def backward(kept, upstream):
        inputs, kernel = kept
        slope = _jax_block_kernel_gradient(inputs, upstream, together * kernel.shape[2], windows)
        # Linear in the inputs, so that nothing of this forward pass is computed again.
        (input_slope,) = jax.vjp(lambda x: forward(x, kernel), inputs)[1](upstream)
        return input_slope, _from_block_kernel(slope, groups, together)

    grouped.defvjp(lambda inputs, kernel: (forward(inputs, kernel), (inputs, kernel)), backward)
    return grouped(inputs, kernel)


def _jax_block_kernel_gradient(inputs, upstream, width: int, windows: _Windows):
    """The gradient of the block kernel, for slices of `width` input channels.

    It is a convolution over the images with `upstream` as its kernel, in which channels take the place of
    images, and images that of channels. XLA's own gradient moves them slice by slice, in loops that read one
    number at a time; to move all at once takes half the time.
    """
    from jax import lax

    axes = zip(
        windows.pads, windows.strides, windows.spans, inputs.shape[1:3], upstream.shape[1:3], strict=True
    )
    # Pixels that no window reaches are cut off: the high edge may be negative.
    edges = [
        (low, (steps - 1) * stride + span - low - size, 0) for (low, _), stride, span, size, steps in axes
    ]
    images = lax.optimization_barrier(inputs.transpose(3, 1, 2, 0))
    images = lax.pad(images, images.dtype.type(0), [(0, 0, 0), *edges, (0, 0, 0)])
    images, upstream = lax.optimization_barrier((images, upstream.transpose(1, 2, 0, 3)))
    count = inputs.shape[-1] // width
    found = [
        lax.conv_general_dilated(
            image,
            slope,
            window_strides=windows.dilation,
            padding="VALID",
            rhs_dilation=windows.strides,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        for image, slope in zip(
            ops.split(images, count, axis=0), ops.split(upstream, count, axis=-1), strict=True
        )
    ]
    return ops.concatenate(found, axis=-1).transpose(1, 2, 0, 3)


def _tensorflow_native(inputs, kernel, strides: tuple[int, int], padding: str, slices):
    """`tf.nn.conv2d`, which knows groups on every device, with gradients that do too."""
    import tensorflow as tf

    raw: dict[str, Any] = {"strides": [1, *strides, 1], "padding": padding}

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradient(upstream):
            def native():
                return (
                    tf.raw_ops.Conv2DBackpropInput(
                        input_sizes=tf.shape(inputs), filter=kernel, out_backprop=upstream, **raw
                    ),
                    tf.raw_ops.Conv2DBackpropFilter(
                        input=inputs, filter_sizes=tf.shape(kernel), out_backprop=upstream, **raw
                    ),
                )

            def by_slices(width: int = MIN_WIDTH):
                with tf.GradientTape() as tape:
                    tape.watch((inputs, kernel))
                    outputs = slices(inputs, kernel, width=width)
                return tuple(tape.gradient(outputs, (inputs, kernel), upstream))

            has_native = _tensorflow_native_gradients(inputs.dtype.name)
            if tf.executing_eagerly():
                return native() if has_native or "GPU" in inputs.device else by_slices()
            if not has_native and not _tensorflow_has_gpu():
                return by_slices()
            on_cpu = native if has_native else by_slices
            # At most eight slices: a branch that is there for XLA alone should not fill every graph.
            few = functools.partial(by_slices, max(MIN_WIDTH, inputs.shape[-1] // 8))
            elsewhere = native if _tensorflow_has_gpu() else few
            # DeviceIndex answers with the place in the list of the device it runs on, or with the list's
            # length: on a GPU, and inside XLA, which then compiles the last branch alone.
            return tf.switch_case(tf.raw_ops.DeviceIndex(device_names=["CPU"]), [on_cpu, elsewhere])

        outputs = tf.nn.conv2d(inputs, kernel, **raw)
        # Nothing but a fence: TensorFlow would fuse a bias, or BatchNorm and ReLU, into the convolution, and
        # without oneDNN the fused kernel refuses groups. A model exported here may run elsewhere, so always.
        return tf.ensure_shape(outputs, outputs.shape), gradient

    return convolve(inputs, kernel)


@functools.cache
def _tensorflow_native_gradients(dtype: str) -> bool:
    """Whether this process has native gradients of grouped convolutions on the CPU (oneDNN's), by trial."""
    import tensorflow as tf

    with tf.init_scope(), tf.device("CPU:0"):
        inputs, kernel = tf.zeros((1, 4, 4, 2), dtype), tf.zeros((3, 3, 1, 2), dtype)
        raw: dict[str, Any] = {"out_backprop": inputs, "strides": [1, 1, 1, 1], "padding": "SAME"}
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(inputs), filter=kernel, **raw)
            tf.raw_ops.Conv2DBackpropFilter(input=inputs, filter_sizes=tf.shape(kernel), **raw)
        except tf.errors.OpError:
            return False
    return True


@functools.cache
def _tensorflow_has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
