"""How alike two pictures are: PSNR and SSIM."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

SIGMA, SIZE = 1.5, 11
K1, K2 = 0.01, 0.03


def psnr(a: Float[Tensor, "b C H W"], b: Float[Tensor, "b C H W"]) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio in dB of pixels in [0, 1]; infinite for equal pictures."""
    return -10 * torch.log10((a - b).square().mean(dim=(1, 2, 3)))


def ssim(a: Float[Tensor, "b C H W"], b: Float[Tensor, "b C H W"]) -> Float[Tensor, " b"]:
    """Structural similarity of pixels in [0, 1] (Wang et al., 2004): 11 × 11 Gaussian windows, σ = 1.5, no padding."""
    offsets = torch.arange(SIZE, dtype=a.dtype, device=a.device) - SIZE // 2
    line = torch.exp(-offsets.square() / (2 * SIGMA**2))
    line = line / line.sum()
    channels = a.shape[1]
    kernel = (line[:, None] * line[None, :]).expand(channels, 1, SIZE, SIZE)

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(x, kernel, groups=channels)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = K1**2, K2**2
    index = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    index = index / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return index.mean(dim=(1, 2, 3))
