"""Several programs on one host: one call classifies a batch of images for each program."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.engine.frame_cache import CacheStore, use_store
from reprogram.errors import ConfigError
from reprogram.framed import Framed
from reprogram.hosts.base import Host
from reprogram.model import Reprogrammed


class SharedHost:
    """Models that share a host.

    A model whose canvas has a frame has a frame cache of its own: after the first call each of its images costs the
    host no more than the window. The images of all other models (those of canvases without a frame, and all where the
    host runs dense) go through the host as one batch. Scores are those of separate calls, up to rounding.

    A frame cache takes as much memory as the host's activations for one frame. It is computed anew when the host's
    weights or the model's program change.

    Args:
        models: models whose hosts have equal fingerprints, and the same before their scores: defences, what is shown of
            them, how often an image is asked about. The host of the first is used for all.
        names: theirs, for messages; their numbers from 0 by default.

    Raises:
        ConfigError: no model, or models of different hosts.
    """

    def __init__(self, models: Sequence[Reprogrammed], *, names: Sequence[str] = ()) -> None:
        if not models:
            raise ConfigError("no models; give at least one")
        self.models = list(models)
        self.host = self.models[0].host
        names = names or [str(index) for index in range(len(self.models))]
        for name, model in zip(names, self.models, strict=True):
            if not _answer_alike(model.host, self.host):
                raise ConfigError(
                    f"model {name} is of the host {model.host.info.id}, model {names[0]} of {self.host.info.id} "
                    "(or of other weights); give models of one host"
                )
        self._stores = [CacheStore() for _ in self.models]

    def __call__(self, batches: Sequence[Tensor]) -> "list[Float[Tensor, 'b k']]":
        """Classify a batch of images for each model.

        Args:
            batches: b × c × h × w for each model, in the order of the models; b may differ, and be 0.

        Returns:
            b × k task scores (logits) for each model.

        Raises:
            ConfigError: the number of batches isn't that of the models.
            DataError: images that a model's canvas doesn't take.
        """
        scores = self.host_scores(batches, labels=self._labels())
        with torch.no_grad():
            return [model.label_map(rows) for model, rows in zip(self.models, scores, strict=True)]

    @torch.no_grad()
    def host_scores(self, batches: Sequence[Tensor], *, labels: Tensor | None = None) -> "list[Float[Tensor, 'b K']]":
        """The host's own scores of a batch of reprogrammed images for each model.

        Args:
            batches: as for a call.
            labels: the host labels whose scores are needed; all by default. The others may be NaN.

        Returns:
            b × K host scores (logits) for each model.

        Raises:
            ConfigError: the number of batches isn't that of the models.
            DataError: images that a model's canvas doesn't take.
        """
        if len(batches) != len(self.models):
            raise ConfigError(f"{len(batches)} batches for {len(self.models)} models; give one a model, maybe empty")
        canvases = {
            index: model.program(model.canvas(images))
            for index, (model, images) in enumerate(zip(self.models, batches, strict=True))
            if len(images)
        }
        host_scores: dict[int, Tensor] = {}
        dense = [index for index, framed in canvases.items() if not self._shares(framed)]
        if dense:
            # All images of these models, one batch: sum of b x C x H x W
            images = torch.cat([canvases[index].dense() for index in dense])
            scores = self.host(images, labels=labels).split([len(canvases[index]) for index in dense])
            host_scores.update(zip(dense, scores, strict=True))
        for index, framed in canvases.items():
            if index not in host_scores:
                with use_store(self._stores[index]):
                    host_scores[index] = self.host(framed, labels=labels)
        return [
            model.program.combined(host_scores[index])
            if index in host_scores
            else model.canvas.frame.new_empty(0, model.label_map.num_host_labels)
            for index, model in enumerate(self.models)
        ]

    def _shares(self, framed: Framed) -> bool:
        """Whether the host computes what the images of a batch share once."""
        has_frame = (framed.box.height, framed.box.width) != tuple(framed.frame.shape[2:])
        return has_frame and self.host.engine == "shared" and self.host.prepared.shares

    def _labels(self) -> Tensor | None:
        """The host labels that any of the label maps reads; None for all, where views of an image are combined too.

        All calls use the same labels, because the host prepares itself for only a few sets of labels at a time.
        """
        single = [model for model in self.models if model.program.num_views == 1]
        read = [labels for model in single if (labels := model.label_map.reads()) is not None]
        return torch.cat(read).bincount().nonzero()[:, 0] if len(read) == len(self.models) else None


def _answer_alike(host: Host, other: Host) -> bool:
    """Whether two hosts have the same weights, and the same between them and their callers."""
    return host is other or (host.fingerprint == other.fingerprint and _between(host) == _between(other))


def _between(host: Host) -> tuple[object, ...]:
    """What stands between a host's network and its callers."""
    return host.guard and host.guard.spec(), getattr(host, "shown", None), host.asks_per_image
