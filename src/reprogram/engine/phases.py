"""The input of a strided convolution in phases: pixels at one distance from each other, which the same taps read.

The gradient of such pixels is a convolution at a stride of one. On one axis, with a stride s, output i reads pixel
s · i + k - padding with tap k. So pixel s · j + p is read by the taps k that make p + padding - k a multiple of s:

    dx[s · j + p] = Σ_k w[k] · dy[j + (p + padding - k) / s]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from torch import Tensor
from torch.nn import functional as F

Axes = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class AxisPhase:
    """A phase of one axis.

    Attributes:
        start: its first pixel, p.
        stride: pixels from one to the next.
        taps: the taps that read them, the one of the first output first.
        first: the output that the first pixel meets with the first tap; negative before the first output.
    """

    start: int
    stride: int
    taps: tuple[int, ...]
    first: int

    @property
    def pixels(self) -> slice:
        """The phase's pixels."""
        return slice(self.start, None, self.stride)

    def margins(self, size: int, out: int) -> Axes:
        """Zeros before and after the outputs, so that they cover what all of the phase's pixels meet.

        Args:
            size: of the input's axis, in pixels.
            out: of the output's axis.

        Returns:
            Two numbers; negative where outputs are left out.
        """
        count = len(range(self.start, size, self.stride))
        return -self.first, self.first + count - 1 + len(self.taps) - out


def axis_phases(kernel: int, stride: int, padding: int) -> list[AxisPhase]:
    """The phases of one axis.

    Args:
        kernel: number of taps.
        stride: the convolution's step, in pixels.
        padding: zeros before the axis.
    """
    found = []
    for start in range(stride):
        # From the last tap to the first, which is from the first output to the last.
        taps = tuple(k for k in reversed(range(kernel)) if (start + padding - k) % stride == 0)
        first = (start + padding - taps[0]) // stride if taps else 0
        found.append(AxisPhase(start=start, stride=stride, taps=taps, first=first))
    return found


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A phase of both axes.

    Attributes:
        rows: its phase down.
        columns: its phase across.
    """

    rows: AxisPhase
    columns: AxisPhase

    def filters(self, weight: Tensor) -> Tensor | None:
        """The filters that compute the phase's gradient at a stride of one.

        Args:
            weight: o × c × kh × kw, of the strided convolution.

        Returns:
            c × o × the phase's taps down × those across; None where no tap reads its pixels.
        """
        if not self.rows.taps or not self.columns.taps:
            return None
        return weight[:, :, list(self.rows.taps)][..., list(self.columns.taps)].transpose(0, 1)

    def outputs(self, gradient: Tensor, size: Sequence[int]) -> Tensor:
        """The outputs' gradient that the filters are applied to, without further padding.

        Args:
            gradient: b × o × h2 × w2.
            size: height and width of the input.
        """
        down = self.rows.margins(size[0], gradient.shape[2])
        across = self.columns.margins(size[1], gradient.shape[3])
        return F.pad(gradient, (*across, *down))

    def of(self, maps: Tensor) -> Tensor:
        """The phase's pixels of an input's gradient, as a view.

        Args:
            maps: b × c × h × w.
        """
        return maps[..., self.rows.pixels, self.columns.pixels]


def phases(kernel: Axes, stride: Axes, padding: Axes) -> list[Phase]:
    """All phases of a convolution without dilation.

    Args:
        kernel: height and width of the filters.
        stride: the step down and across, in pixels.
        padding: zeros above and on the left.
    """
    rows, columns = (axis_phases(kernel[i], stride[i], padding[i]) for i in (0, 1))
    return [Phase(rows=down, columns=across) for down, across in product(rows, columns)]
