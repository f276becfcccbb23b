"""Several views of the task image, each of which the host is asked about; no numbers to learn."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reprogram.errors import ConfigError
from reprogram.framed import BACKGROUND, Framed, Geometry
from reprogram.programs.base import Program


class View(NamedTuple):
    """How a view shows the task image; as it is by default.

    Attributes:
        zoom: the factor of its size.
        down: by how much it is moved down, in parts of the window's height.
        right: by how much it is moved to the right, in parts of the window's width.
        mirrored: whether left and right are exchanged.
        turned: by how many degrees it is turned clockwise.
        colour: the factor of what makes it differ from its own grey; 0 takes all colour away.
        contrast: the factor of its distance from mid-grey; −1 is the negative.
    """

    zoom: float = 1.0
    down: float = 0.0
    right: float = 0.0
    mirrored: bool = False
    turned: float = 0.0
    colour: float = 1.0
    contrast: float = 1.0


VIEWS = (
    View(),
    View(zoom=0.75, turned=-15.0, mirrored=True),
    View(mirrored=True),
    View(zoom=1.3),
    View(zoom=0.75, turned=15.0),
    View(zoom=0.5, mirrored=True),
    View(zoom=0.75),
    View(zoom=1.6, mirrored=True),
    View(zoom=1.3, down=-0.1, right=-0.1),
    View(colour=0.0),
    View(zoom=0.6, down=0.15, right=0.15),
    View(contrast=0.5),
    View(colour=2.0, mirrored=True),
    View(zoom=1.3, down=0.1, right=0.1, mirrored=True),
    View(contrast=-1.0),
    View(zoom=0.4),
)
"""The views in the order in which they are taken: each tells the most about the class beside those before it, by naive
Bayes on the labels that EfficientNet-Lite0 shows for 100 training images of CIFAR-10, read on 300 validation images."""


class Views(Program):
    """The window in several views; the host's answers to them count together as its answer to the image.

    A single answer tells little where a host shows its top label alone. Its answers to the same image in several views
    tell more, and the label map that reads them has as many answers to learn from for each labelled image. Each view
    is asked for, and on the bill. There is nothing to learn but the label map. Images are moved within the window by
    bilinear sampling, and mid-grey appears beyond their edges.

    Reference: Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional Neural Networks, 2012,
    section 4.1, whose net averages its answers to ten patches of an image.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Program.Config):
        """Options.

        Attributes:
            count: how many views there are, from 1, the image as it is, to 16. The tenth and the thirteenth change
                colours, so that of grey images they are the first and the third again.
            apart: the label map reads the answers to each view by themselves, as labels of their own; else their mean.
                It has more to learn from then, and more to learn: for hosts with few labels, or many labelled images.
        """

        count: int = 8
        apart: bool = False

        def __post_init__(self) -> None:
            if not 1 <= self.count <= len(VIEWS):
                raise ConfigError(f"count={self.count}; 1 to {len(VIEWS)} views are expected")

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        super().__init__(config, geometry=geometry)
        self.num_views = config.count
        self.num_groups = config.count if config.apart else 1

    def run(self, framed: Framed) -> Framed:
        """Show each image of the batch in every view: the window of view v of image i is row v · b + i."""
        return replace(framed, window=torch.cat([_shown(framed.window, view) for view in VIEWS[: self.num_views]]))


def _shown(images: Float[Tensor, "b C h w"], view: View) -> Float[Tensor, "b C h w"]:
    """Images in a view."""
    if view == View():
        return images
    if view.colour != 1:
        grey = images.mean(dim=1, keepdim=True)
        images = grey + view.colour * (images - grey)
    # grey + contrast · (x - grey), and mid-grey beyond the edges
    return BACKGROUND + view.contrast * _moved(images - BACKGROUND, view)


def _moved(images: Float[Tensor, "b C h w"], view: View) -> Float[Tensor, "b C h w"]:
    """Images turned, mirrored, zoomed and moved, 0 beyond their edges."""
    if view._replace(colour=1.0, contrast=1.0) == View():
        return images
    height, width = images.shape[2:]
    c, s, aspect = math.cos(math.radians(view.turned)), math.sin(math.radians(view.turned)), width / height
    side = -1.0 if view.mirrored else 1.0
    # A target pixel (x, y) in [-1, 1] shows the source pixel F Rᵀ ((x, y) - t) / zoom: t the move, R the turn, F the
    # exchange of sides; sides of unequal length make the turn a shear in these units.
    turn = images.new_tensor([[side * c, side * s / aspect], [-s * aspect, c]]) / view.zoom
    move = images.new_tensor([[2 * view.right], [2 * view.down]])
    theta = torch.cat([turn, -turn @ move], dim=1)[None]
    grid = F.affine_grid(theta, [1, *images.shape[1:]], align_corners=False)
    return F.grid_sample(images, grid.expand(images.shape[0], -1, -1, -1), align_corners=False)
