"""What CIFAR-10's images are turned into while they are trained on: shifted by up to four pixels, mirrored.

He et al. 2016, section 4.2. A whole batch at once, where it is.
"""

from __future__ import annotations

from gnomon.core.errors import MissingExtraError

try:
    import torch
    from torch import Tensor
    from torch.nn import functional
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

MARGIN = 4
"""Pixels of black around an image, out of which it is cut again."""


def shifted_and_mirrored(pixels: Tensor, draws: Tensor) -> Tensor:
    """Each image cut out of its black margin at random, and every other mirrored.

    Args:
        pixels: uint8 (n, channels, side, side).
        draws: In 0 to 1, (n, 3): how far down, how far right, whether to mirror.
    """
    count, channels, side, _ = pixels.shape
    padded = functional.pad(pixels, (MARGIN,) * 4)
    offsets = (draws[:, :2] * (2 * MARGIN + 1)).long()
    steps = torch.arange(side, device=pixels.device)
    rows = offsets[:, :1] + steps
    columns = torch.where(draws[:, 2:] < 0.5, steps, steps.flip(0)) + offsets[:, 1:]
    image = torch.arange(count, device=pixels.device)[:, None, None, None]
    channel = torch.arange(channels, device=pixels.device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
