"""The batches of a run: which training images each step sees, and how they are varied."""

import torch
from torch import Tensor

from reprogram.augmentations.base import Augmentation
from reprogram.tasks._split import Split
from reprogram.types import Sampling
from reprogram.utils.seeding import epoch_order, stratified_order


class Batches:
    """The training images in an order of their own for each epoch, which the seed decides.

    Args:
        train: the training split, on the model's device.
        augmentation: varies the images.
        size: images of a batch; the last of an epoch may have fewer.
        seed: the run's.
        sampling: "stratified" or "shuffled", see `FitOptions`.
    """

    def __init__(self, train: Split, augmentation: Augmentation, size: int, seed: int, sampling: Sampling) -> None:
        self.train, self.augmentation, self.size, self.seed = train, augmentation, size, seed
        self.labels = train.labels.cpu() if sampling == "stratified" else None
        self.epoch, self.order, self.chance = -1, torch.empty(0), torch.empty(0)

    def indices(self, epoch: int, position: int) -> Tensor:
        """The indices of a batch's images.

        Args:
            epoch: the number of finished passes over the training images.
            position: of the batch in this pass, from 0.
        """
        if self.epoch != epoch:
            count, device = len(self.train), self.train.labels.device
            if self.labels is None:
                order = epoch_order(count, self.seed, epoch)
            else:
                order = stratified_order(self.labels, self.seed, epoch)
            self.order = order.to(device)
            self.chance = self.augmentation.draw(count, self.seed, epoch).to(device)
            self.epoch = epoch
        return self.order[position * self.size : (position + 1) * self.size]

    def take(self, indices: Tensor) -> Split:
        """Some training images, varied as the epoch of the latest batch sees them.

        Args:
            indices: of the images.
        """
        return self.augmentation.batch(self.train, indices, self.chance)
