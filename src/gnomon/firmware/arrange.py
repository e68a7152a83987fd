"""What the optimised kernels of `c/kernels_dsp.c` ask of an image: the order of weights, and scratch memory.

The order costs no memory but for padding; the C files say why it is as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROWS = 4
INPUTS = 8
BLOCK_ELEMENTS = 2048
"""Of int16 columns, 4 kB: what a convolution's block of pixels may take, within the limits below."""
BLOCK_PIXELS = (8, 128)


def dense_weights(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """A dense layer's weights as `gnomon_dense_s8` multiplies them.

    Four rows by eight inputs lie together, row by row, the matrix being padded with zeros to a multiple of
    both. Of each pair of neighbours in a row the first, w, is replaced by the byte 127 - w.

    Args:
        weights: Shape (out, in).

    Returns:
        One dimension, `ROWS * INPUTS` times the number of such blocks.
    """
    rows, inputs = weights.shape
    padded = np.pad(weights, ((0, -rows % ROWS), (0, -inputs % INPUTS)))
    padded[:, ::2] = (127 - padded[:, ::2].astype(np.int16)).astype(np.uint8).view(np.int8)
    blocks = padded.reshape(-1, ROWS, padded.shape[1] // INPUTS, INPUTS)
    return np.ascontiguousarray(blocks.swapaxes(1, 2)).ravel()


def dense_folded(
    weights: NDArray[np.int8], bias: NDArray[np.int32], in_offset: int
) -> NDArray[np.int32]:
    """The `folded` that goes with `dense_weights`: what of a row's sum does not depend on the inputs.

    Args:
        weights: Shape (out, in), as in the model.
        bias: Shape (out,).
        in_offset: Minus the input's zero point.

    Returns:
        Shape (out rounded up to `ROWS`,), zeros last: bias + in_offset * (sum of the row) - (sum of its
        elements 0, 2, ...) + 128 * (sum of its elements 1, 3, ...), wrapped to 32 bits as sums are there.
    """
    wide = weights.astype(np.int64)
    first, second = wide[:, ::2].sum(axis=1), wide[:, 1::2].sum(axis=1)
    exact = bias.ravel().astype(np.int64) + in_offset * (first + second) - first + 128 * second
    return np.pad(exact.astype(np.int32), (0, -exact.size % ROWS))


def conv_scratch_bytes(products: int) -> int:
    """Scratch memory of `gnomon_conv_s8`: a block's columns and two channels' weights as int16.

    Args:
        products: kernel_h * kernel_w * in_c.
    """
    column = _multiple(products, 4)
    least, most = BLOCK_PIXELS
    pixels = min(max(BLOCK_ELEMENTS // column // 2 * 2, least), most)
    return 2 * column * (pixels + 2)


def depthwise_scratch_bytes(kernel: tuple[int, int], out_width: int, stride_width: int) -> int:
    """Scratch memory of `gnomon_depthwise_s8`: four rows of four channels as int16, if the window is 3x3."""
    return 32 * ((out_width - 1) * stride_width + 3) if kernel == (3, 3) else 0


def dense_scratch_bytes(inputs: int) -> int:
    """Scratch memory of `gnomon_dense_s8`: its inputs as int16."""
    return 2 * _multiple(inputs, INPUTS)


def _multiple(count: int, of: int) -> int:
    return -(-count // of) * of
