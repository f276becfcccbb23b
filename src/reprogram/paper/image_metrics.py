"""The similarity of two images: PSNR and SSIM."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

SIGMA, SIZE = 1.5, 11
K1, K2 = 0.01, 0.03


def psnr(a: Float[Tensor, "b C H W"], b: Float[Tensor, "b C H W"]) -> Float[Tensor, " b"]:
    """The peak signal-to-noise ratio of two images; infinite where they are equal.

    Args:
        a: b × C × H × W pixels in [0, 1].
        b: pixels of the same shape.

    Returns:
        b numbers in dB.
    """
    # 10 log10(1 / mean squared error): the peak is 1
    return -10 * torch.log10((a - b).square().mean(dim=(1, 2, 3)))


def ssim(a: Float[Tensor, "b C H W"], b: Float[Tensor, "b C H W"]) -> Float[Tensor, " b"]:
    """The structural similarity of two images, in 11 × 11 Gaussian windows, σ = 1.5, without padding.

    Args:
        a: b × C × H × W pixels in [0, 1], H and W at least 11.
        b: pixels of the same shape.

    Returns:
        b numbers, at most 1.

    Reference: Wang, Bovik, Sheikh and Simoncelli, Image Quality Assessment, 2004, section III-B.
    """
    # C × 1 × 11 × 11: the outer product of exp(−offset² / 2σ²) with itself, sum 1
    offsets = torch.arange(SIZE, dtype=a.dtype, device=a.device) - SIZE // 2
    line = torch.exp(-offsets.square() / (2 * SIGMA**2))
    line = line / line.sum()
    channels = a.shape[1]
    kernel = (line[:, None] * line[None, :]).expand(channels, 1, SIZE, SIZE)

    def mean(x: Tensor) -> Tensor:
        """The weighted mean of each window: b × C × (H − 10) × (W − 10)."""
        return F.conv2d(x, kernel, groups=channels)

    mean_a, mean_b = mean(a), mean(b)
    # E[x²] − E[x]², E[ab] − E[a] E[b]
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = K1**2, K2**2
    # (2 μa μb + c1)(2 σab + c2) / ((μa² + μb² + c1)(σa² + σb² + c2))
    index = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    index = index / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return index.mean(dim=(1, 2, 3))
