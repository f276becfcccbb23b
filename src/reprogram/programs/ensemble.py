"""Several frame programs, one of which is drawn around each query."""

from dataclasses import dataclass, replace

import torch

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs._varied import VariedProgram

MAX_MEMBERS = 256


class Ensemble(VariedProgram):
    """P = tanh(W_j) / 2 on the frame, with j of `members` drawn for each query.

    A detector that counts repetitions sees each member as seldom as if there were that many accounts.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(VariedProgram.Config):
        """Options.

        Attributes:
            members: how many programs.
        """

        members: int = 4

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 1 <= self.members <= MAX_MEMBERS:
                raise ConfigError(f"members={self.members}; 1 to {MAX_MEMBERS} are expected")

    @classmethod
    def example(cls) -> Config:
        """Two members."""
        return cls.Config(members=2, shared=False)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        super().__init__(config, geometry=geometry, shape=(config.members, *geometry.shape))

    def look(self, framed: Framed, generator: torch.Generator) -> Framed:
        """Add one of the programs to the frame."""
        member = int(torch.randint(0, self.config.members, (1,), generator=generator))
        return replace(framed, frame=framed.frame + torch.tanh(self.weight[member : member + 1]) / 2)
