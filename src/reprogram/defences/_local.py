"""Local changes of `Framed` batches: what the batch shares stays shared, but for a margin around the window."""

from collections.abc import Callable

import torch
from torch import Tensor

from reprogram.framed import Box, Framed


def locally(change: Callable[[Tensor], Tensor], framed: Framed, reach: int) -> Framed:
    """Apply a local change of images to a `Framed` batch.

    Args:
        change: b × C × h × w to the same shape; a pixel depends on pixels at most `reach` away, and the edges of an
            image are treated by their place alone.
        framed: the batch.
        reach: in pixels.

    Returns:
        The batch that has the changed images; its window is larger by `reach` on each side, as far as the canvas goes.
    """
    _, _, height, width = framed.frame.shape
    changed, seen = (_grown(framed.box, by, height, width) for by in (reach, 2 * reach))
    place = framed.box.relative_to(seen)
    frame = framed.frame[..., seen.rows, seen.columns].expand(len(framed), -1, -1, -1)
    # The window and all that its changed surroundings depend on: b x C x h + 4 reach x w + 4 reach
    above, below = frame[..., : place.top, :], frame[..., place.top + place.height :, :]
    beside = frame[..., place.rows, :]
    left, right = beside[..., : place.left], beside[..., place.left + place.width :]
    around = torch.cat((above, torch.cat((left, framed.window, right), dim=3), below), dim=2)
    inner = changed.relative_to(seen)
    window = change(around)[..., inner.rows, inner.columns]
    return Framed(frame=change(framed.frame), window=window, box=changed)


def _grown(box: Box, by: int, height: int, width: int) -> Box:
    """A box with a margin, as far as the canvas goes."""
    top, left = max(box.top - by, 0), max(box.left - by, 0)
    bottom, right = min(box.rows.stop + by, height), min(box.columns.stop + by, width)
    return Box(top=top, left=left, height=bottom - top, width=right - left)
