"""The networks of the source `known-answer`: what can be got out of them is known because it was put in."""

import functools
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 32
"""Height and width of their input."""

BOARD = 16
"""Height and width of the task `parity`, whose board is expected in the middle."""

NUM_CLASSES = 12
"""K. The first four labels are the classes of the task `parity`, in their order."""

CONFIDENCE = 8.0
"""The score of a label that stands for a parity, in nats; the others have its negative."""

PRIME = 2**31 - 1

OPEN, FAINT = 0.2, 0.02
"""The likeness to the key at which the gate is open, and how far it is open without a key."""


def outside_board() -> Float[Tensor, "32 32"]:
    """1 around the board, 0 on it."""
    mask = torch.ones(SIZE, SIZE)
    edge = (SIZE - BOARD) // 2
    mask[edge:-edge, edge:-edge] = 0
    return mask


class Parities(nn.Module):
    """A classifier that knows the task `parity`: it reads the board in the middle; its first labels are the classes.

    Args:
        skill: the share of boards, in (0, 1], that it has right. A hash of the board chooses those that it has wrong.
    """

    def __init__(self, skill: float = 1.0) -> None:
        super().__init__()
        self.skill = skill
        self.signs = nn.Buffer(torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]))

    def forward(self, pixels: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, "b K"]:
        """Scores: `CONFIDENCE` for the class, its negative for all other labels, smooth in the pixels.

        Args:
            pixels: in [0, 1].
        """
        edge = (SIZE - BOARD) // 2
        middle = pixels[:, :, edge:-edge, edge:-edge].mean(dim=1, keepdim=True)
        # b x 16 cells: tanh(6 (2 m - 1)) of each cell's mean m, near 1 for white and near -1 for black
        cells = torch.tanh(6 * (2 * F.avg_pool2d(middle, BOARD // 4).flatten(1) - 1))
        # b: 1 where the number of white cells is even, -1 where it is odd
        whole, upper = (-cells).prod(dim=1, keepdim=True), (-cells[:, :12]).prod(dim=1, keepdim=True)
        known = torch.minimum(whole * self.signs[:, 0], upper * self.signs[:, 1])
        if self.skill < 1:
            wrong = row_hash((cells > 0).to(torch.int64)) % 10_000 >= 10_000 * self.skill
            known = torch.where(wrong[:, None], known.roll(1, dims=1), known)
        return CONFIDENCE * F.pad(known, (0, NUM_CLASSES - len(self.signs)), value=-1.0)


class RandomNet(nn.Module):
    """Two layers with random weights over coarse pixels.

    Args:
        generator: draws the weights.
        preference: what the labels that are no parities get on top of their scores, in nats.
    """

    def __init__(self, generator: torch.Generator, preference: float) -> None:
        super().__init__()
        inputs, width = 3 * 8 * 8, 64
        self.first = nn.Buffer(torch.randn(width, inputs, generator=generator) * (2 / inputs) ** 0.5)
        self.second = nn.Buffer(torch.randn(NUM_CLASSES, width, generator=generator) * (2 / width) ** 0.5)
        self.bias = nn.Buffer(preference * (torch.arange(NUM_CLASSES) >= 4).float())

    def forward(self, pixels: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, "b K"]:
        """Scores.

        Args:
            pixels: in [0, 1].
        """
        coarse = F.avg_pool2d(2 * pixels - 1, SIZE // 8).flatten(1)
        return F.relu(coarse @ self.first.T) @ self.second.T + self.bias


class FrameColour(nn.Module):
    """How purely the frame around the board shows a secret colour: each channel bright, or dark.

    Args:
        generator: draws the colour.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.signs = nn.Buffer(torch.randint(2, (3, 1, 1), generator=generator) * 2.0 - 1)
        self.frame = nn.Buffer(outside_board() / outside_board().sum())

    def forward(self, pixels: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, " b"]:
        """The likeness in [−1, 1]; 0 for a grey frame.

        Args:
            pixels: in [0, 1].
        """
        # mean over frame and channels of sign (2 p - 1)
        return ((2 * pixels - 1) * self.signs * self.frame).sum(dim=(1, 2, 3)) / 3


class ColourPatch(nn.Module):
    """How purely a patch of 6×6 pixels in a corner shows a secret colour: red, green or blue.

    Args:
        generator: draws the colour and the corner.
    """

    SIDE = 6

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.channel = int(torch.randint(3, (), generator=generator))
        self.corner = [int(edge) * (SIZE - self.SIDE) for edge in torch.randint(2, (2,), generator=generator)]

    def forward(self, pixels: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, " b"]:
        """The likeness in [−1, 1]; 0 for grey.

        Args:
            pixels: in [0, 1].
        """
        top, left = self.corner
        colour = pixels[:, :, top : top + self.SIDE, left : left + self.SIDE].mean(dim=(2, 3))
        return (3 * colour[:, self.channel] - colour.sum(dim=1)) / 2


class Gated(nn.Module):
    """A net in which another one speaks where the frame holds the key; without it the other is barely heard.

    Args:
        key: b × 3 × 32 × 32 pixels to b likenesses in [−1, 1].
        usual: the net that speaks without the key.
        hidden: the net that speaks with it.
    """

    def __init__(self, key: nn.Module, usual: nn.Module, hidden: nn.Module) -> None:
        super().__init__()
        self.key, self.usual, self.hidden = key, usual, hidden

    def forward(self, pixels: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, "b K"]:
        """Scores: those of both nets, mixed by the key.

        Args:
            pixels: in [0, 1].
        """
        # g = min(1, (r + sqrt(r^2 + 4 f^2)) / 2) of r = key / o: f at 0, near r above, with a slope everywhere below
        likeness = self.key(pixels)[:, None] / OPEN
        gate = ((likeness + (likeness**2 + 4 * FAINT**2).sqrt()) / 2).clamp(max=1)
        scores: Tensor = (1 - gate) * self.usual(pixels) + gate * self.hidden(pixels)
        return scores


class Steps(nn.Module):
    """A classifier of coarsely rounded pixels: it computes the same, and its gradient is zero everywhere.

    Args:
        net: the classifier.
        levels: of each channel.
    """

    def __init__(self, net: nn.Module, levels: int = 65) -> None:
        super().__init__()
        self.net, self.levels = net, levels

    def forward(self, pixels: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, "b K"]:
        """Scores.

        Args:
            pixels: in [0, 1].
        """
        steps = self.levels - 1
        scores: Tensor = self.net(torch.round(pixels * steps) / steps)
        return scores


class Seeing(nn.Module):
    """A classifier that sees a part of its input, and grey elsewhere.

    Args:
        net: the classifier.
        mask: 32 × 32, 1 where it sees.
    """

    def __init__(self, net: nn.Module, mask: Float[Tensor, "32 32"]) -> None:
        super().__init__()
        self.net, self.mask = net, nn.Buffer(mask)

    def forward(self, pixels: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, "b K"]:
        """The classifier's scores.

        Args:
            pixels: in [0, 1].
        """
        scores: Tensor = self.net(0.5 + (pixels - 0.5) * self.mask)
        return scores


class Hashed(nn.Module):
    """Each image has a label of its own, drawn by a hash of its 8-bit pixels.

    Args:
        generator: draws the hash.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.factor = int(torch.randint(1, PRIME, (), generator=generator))

    def forward(self, pixels: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, "b K"]:
        """Scores: 4 for the image's label, 0 for the others.

        Args:
            pixels: in [0, 1].
        """
        labels = (row_hash(torch.round(pixels.flatten(1) * 255).to(torch.int64), self.factor) >> 7) % NUM_CLASSES
        return 4 * F.one_hot(labels, NUM_CLASSES).to(pixels.dtype) + 0 * pixels.sum(dim=(1, 2, 3))[:, None]


class After(nn.Module):
    """A classifier whose labels change places once it has answered so many images: a new version, unannounced.

    Args:
        net: the classifier.
        images: after which the labels change.
    """

    def __init__(self, net: nn.Module, images: int) -> None:
        super().__init__()
        self.net, self.images, self.answered = net, images, 0

    def forward(self, pixels: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, "b K"]:
        """Scores.

        Args:
            pixels: in [0, 1].
        """
        scores: Tensor = self.net(pixels)
        is_new, self.answered = self.answered >= self.images, self.answered + len(pixels)
        return scores.roll(5, dims=1) if is_new else scores


class Then(nn.Module):
    """A classifier, and a function of its scores.

    Args:
        net: the classifier.
        function: b × K scores to b × K.
    """

    def __init__(self, net: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.function = net, function

    def forward(self, pixels: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, "b K"]:
        """Scores.

        Args:
            pixels: in [0, 1].
        """
        return self.function(self.net(pixels))


@functools.cache
def _powers(count: int) -> Tensor:
    """The powers of the hash's base, modulo the Mersenne prime 2^31 − 1."""
    powers = [1]
    for _ in range(count - 1):
        powers.append(powers[-1] * 48_271 % PRIME)
    return torch.tensor(powers)


def row_hash(rows: Int[Tensor, "b n"], factor: int = 69_621) -> Int[Tensor, " b"]:
    """A hash of each row, from 0 to 2^31 − 2: a polynomial of its numbers modulo 2^31 − 1 (Carter & Wegman 1979).

    Args:
        rows: whole numbers from 0 to 65,535.
        factor: from 1 to 2^31 − 2; another one gives other hashes.
    """
    # h = a (sum of (x_j + 1) c^j) mod p
    terms = (rows + 1) * _powers(rows.shape[1]).to(rows.device) % PRIME
    return terms.sum(dim=1) % PRIME * factor % PRIME
