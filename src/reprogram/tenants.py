"""Several programs on one host: each tenant's images go in, each tenant's answers come out, in one call."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.engine.tape import Shelf, kept_on
from reprogram.errors import ConfigError
from reprogram.framed import Framed
from reprogram.model import Reprogrammed


class Tenants:
    """Models that share a host.

    A tenant whose program leaves a frame to share runs by itself, but what the host makes of its frame is kept: after
    the first call each image costs its window, whichever tenant came before. All other images (those of canvases
    without a frame, and all of hosts that run dense) go through the host as one batch. Scores are those of separate
    calls, up to rounding.

    What is kept is lost when the host's weights change, and is as much for each tenant as one frame has activations.
    A program that is learned further is noticed.

    Args:
        models: of one host, that is, of equal fingerprints; the host of the first is used for all.

    Raises:
        ConfigError: no model, or models of different hosts.
    """

    def __init__(self, models: Sequence[Reprogrammed]) -> None:
        if not models:
            raise ConfigError("no tenants; give at least one model")
        self.models = list(models)
        self.host = self.models[0].host
        for place, model in enumerate(self.models):
            if model.host is not self.host and model.host.fingerprint != self.host.fingerprint:
                raise ConfigError(
                    f"tenant {place} is of the host {model.host.info.id}, tenant 0 of {self.host.info.id} "
                    "(or of other weights); give models of one host"
                )
        self._shelves = [Shelf() for _ in self.models]

    @torch.no_grad()
    def __call__(self, batches: Sequence[Tensor]) -> "list[Float[Tensor, 'b k']]":
        """Classify each tenant's images.

        Args:
            batches: b × c × h × w for each tenant, in the order of the models; b may differ, and be 0.

        Returns:
            b × k task scores for each tenant.

        Raises:
            ConfigError: another number of batches than tenants.
            DataError: images that a tenant's canvas doesn't take.
        """
        if len(batches) != len(self.models):
            raise ConfigError(f"{len(batches)} batches for {len(self.models)} tenants; give one a tenant, maybe empty")
        canvases = [model.program(model.canvas(images)) for model, images in zip(self.models, batches, strict=True)]
        labels = self._labels()
        host_scores: dict[int, Tensor] = {}
        whole = [place for place, framed in enumerate(canvases) if len(framed) and not self._shares(framed)]
        if whole:
            images = torch.cat([canvases[place].dense() for place in whole])
            parts = self.host(images, labels=labels).split([len(canvases[place]) for place in whole])
            host_scores.update(zip(whole, parts, strict=True))
        for place, framed in enumerate(canvases):
            if len(framed) and place not in host_scores:
                with kept_on(self._shelves[place]):
                    host_scores[place] = self.host(framed, labels=labels)
        empty = canvases[0].frame.new_empty(0, self.host.info.num_classes)
        return [model.label_map(host_scores.get(place, empty)) for place, model in enumerate(self.models)]

    def _shares(self, framed: Framed) -> bool:
        has_frame = (framed.box.height, framed.box.width) != tuple(framed.frame.shape[2:])
        return has_frame and self.host.engine == "shared" and self.host.prepared.shares

    def _labels(self) -> Tensor | None:
        """The host labels that any tenant reads; None for all. One choice for all, as the host keeps few ready."""
        read = [labels for model in self.models if (labels := model.label_map.reads()) is not None]
        return torch.cat(read).bincount().nonzero()[:, 0] if len(read) == len(self.models) else None
