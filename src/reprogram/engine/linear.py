"""A frozen linear layer as the engine runs it: a convolution with 1 × 1 filters over a row of pixels."""

from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.engine import onednn
from reprogram.engine.convolution import Convolution
from reprogram.engine.precision import is_half


class EngineLinear(nn.Module):
    """y = x weightᵀ + bias over the last axis, without gradients for weight and bias.

    Args:
        layer: the host's layer, whose tensors are shared.
    """

    groups = 1

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach(), requires_grad=False)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), requires_grad=False)
        self._derived: list[Convolution] = []

    def forget(self) -> None:
        """Drop everything derived from the weight: a copy of this layer gets another weight."""
        self._derived = []

    def forward(self, input: Tensor) -> Tensor:
        """Compute y = x weightᵀ + bias.

        Args:
            input: x, … × c; the argument's name is that of `nn.Linear`.

        Returns:
            y, … × o.
        """
        input = input.to(self.weight.dtype) if is_half(input) else input
        if not onednn.runs(input) and not (is_half(input) and input.device.type == "cpu"):
            return F.linear(input, self.weight, self.bias)
        channels = input.shape[-1]
        # n rows of c numbers as one image of 1 × n pixels: 1 × c × 1 × n
        row = input.reshape(1, -1, 1, channels).permute(0, 3, 1, 2)
        output = self._convolution().padded(row, (0, 0))
        return output.permute(0, 2, 3, 1).reshape(*input.shape[:-1], len(self.weight))

    def _convolution(self) -> Convolution:
        if not self._derived:
            weight = self.weight[:, :, None, None]
            self._derived = [
                Convolution(weight, self.bias, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1),
            ]
        return self._derived[0]
