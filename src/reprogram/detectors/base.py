"""The contract of a detector: it reads a host's queries one by one, and gives a score and an alarm for each."""

import math
import threading
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from reprogram.detectors._calibration import learned_half
from reprogram.detectors._checks import Array as Array
from reprogram.detectors._checks import checked_answer, checked_answers, checked_image, threshold_of
from reprogram.errors import ConfigError, DataError
from reprogram.registry import Component

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a service sees of one query.

    Attributes:
        image: C × H × W pixels as the host gets them, uint8; C is 1 or 3.
        account: who asked.
        answer: what the detector `reads` beside the image: the host's K scores, or d features of its last layer.
    """

    image: Array
    account: str = ""
    answer: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a detector says to one query.

    Attributes:
        score: higher is more suspicious; its unit is the variant's.
        alarm: whether the score lies above the threshold.
    """

    score: float
    alarm: bool


class Detector(Component):
    """Reads queries in the order in which they come, and keeps no more of an account than a fixed number of bytes.

    An author writes `score`, and where the detector learns what is ordinary, `fit`. The call of `observe` is final: it
    checks the query, locks, and compares with the threshold. The state is NumPy arrays and the accounts' names, so a
    detector is stopped and goes on by `save` and `load`, without pickle. No PyTorch is needed.

    Attributes:
        reads: what `observe` needs as the answer: nothing ("image"), the host's K scores, or the features of its last
            layer; `host_answers` asks a host for them.
        fits: whether `calibrate` gives the answers to half of the benign queries to `fit`.
        usual_threshold: the alarm rings above it where nothing else is given; None where it has to be calibrated.
        highest: no score lies above it; infinity where there is no such number.
        has_gradient: whether `scores_with_gradient` gives the score as a function that PyTorch can derive.
        threshold: the alarm rings above it.
        false_positive_rate: the share of benign queries that `calibrate` allowed; None where it wasn't called.
        num_calibrated: the benign queries that the threshold was set from.

    Args:
        config: the variant's `Config`, derived from `Detector.Config`.
    """

    reads: ClassVar[Literal["image", "scores", "features"]] = "image"
    fits: ClassVar[bool] = False
    usual_threshold: ClassVar[float | None] = None
    highest: ClassVar[float] = math.inf
    has_gradient: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options of every detector.

        Attributes:
            threshold: the alarm rings for scores above it; by default the variant's own, or what `calibrate` sets.
        """

        threshold: float | None = None

        def __post_init__(self) -> None:
            if self.threshold is not None and not math.isfinite(self.threshold):
                raise ConfigError(f"threshold={self.threshold}; a finite number is expected")

    def __init__(self, config: Any) -> None:
        self.config = config
        self.threshold: float | None = self.usual_threshold if config.threshold is None else config.threshold
        self.false_positive_rate: float | None = None
        self.num_calibrated = 0
        self._lock = threading.Lock()

    def score(self, image: Array, account: str, answer: Array | None) -> float:
        """The score of a query, which is remembered where the detector keeps a state.

        Args:
            image: C × H × W, uint8.
            account: who asked.
            answer: a vector of float64 where `reads` asks for one, else None.

        Returns:
            A finite number, larger for what is more suspicious.
        """
        raise NotImplementedError

    def fit(self, answers: Array) -> None:
        """Learn from benign queries what is ordinary; by default there is nothing to learn.

        Args:
            answers: n × d, the answers to benign queries.
        """

    def is_new(self, account: str) -> bool:
        """Whether an account has sent so little that its latest score says nothing; `calibrate` leaves that out.

        Args:
            account: who asked.
        """
        return False

    @property
    def across_queries(self) -> bool:
        """Whether the score of a query depends on the account's other queries."""
        return True

    def scores_with_gradient(self, answers: "Tensor") -> "Tensor":
        """The scores of queries that one account sends, for an attacker who follows them downhill (loss `evading`).

        An author writes it, and says `has_gradient`. A detector that remembers accounts takes the queries for all that
        the account sends.

        Args:
            answers: b × K scores or b × d features, as the detector `reads` them.

        Returns:
            b numbers, larger for what is more suspicious.

        Raises:
            ConfigError: nothing was learned yet.
            DataError: the detector learned from answers of another length.
        """
        raise NotImplementedError

    def reset(self) -> None:
        """Forget all accounts; what `fit` and `calibrate` learned stays."""

    def state_dict(self) -> dict[str, Array]:
        """Copies of all arrays that decide the next scores, by name; accounts' names are in `accounts`."""
        return {}

    def accounts(self) -> list[str]:
        """The accounts that something is remembered of, the one that was seen least recently first."""
        return []

    def load_state_dict(self, state: Mapping[str, Array], accounts: list[str]) -> None:
        """Go on from the arrays that `state_dict` gave.

        Args:
            state: arrays by name.
            accounts: what `accounts` gave.

        Raises:
            DataError: an array is missing, unknown, or of another shape or type.
        """
        if state or accounts:
            raise DataError(f"{self.name()}: unknown array {next(iter([*state, *accounts]))!r}")

    @property
    def bytes_per_account(self) -> int:
        """The bytes that are kept of an account, however many queries it sends."""
        return 0

    def observe(self, image: Any, account: str = "", answer: Any = None) -> Verdict:
        """Score one query. Threads may call this at the same time.

        Args:
            image: C × H × W pixels, uint8, as a NumPy array or a tensor on the CPU; C is 1 or 3.
            account: who asked: any text.
            answer: the host's scores or features, a vector, where the detector `reads` one.

        Returns:
            Score and alarm.

        Raises:
            DataError: the image or the answer isn't of this kind.
            ConfigError: the detector has no threshold yet.
        """
        if self.threshold is None:
            raise ConfigError(f"{self.name()}: no threshold; call calibrate with benign queries, or give threshold=")
        value = self._score(image, account, answer)
        return Verdict(score=value, alarm=value > self.threshold)

    def _score(self, image: Any, account: str, answer: Any) -> float:
        pixels = checked_image(image)
        if not isinstance(account, str):
            raise DataError(f"account {account!r} is no text; give the account's name")
        vector = None
        if self.reads != "image":
            if answer is None:
                raise DataError(f"{self.name()}: reads the host's {self.reads}; give them as the answer")
            vector = checked_answer(answer)
        with self._lock:
            value = float(self.score(pixels, account, vector))
        if not math.isfinite(value):
            raise DataError(f"{self.name()}: the score isn't finite; options, file or answer are out of range")
        return value

    def calibrate(self, queries: Iterable[Query], false_positive_rate: float = 0.001) -> float:
        """Set the threshold from benign queries, in their order; the state of all accounts is forgotten after it.

        The threshold is the k-th largest of n scores with k = ⌊rate · (n + 1)⌋: a further query of the same kind lies
        above it with a probability of at most the rate (split conformal prediction). Scores of new accounts (`is_new`)
        don't count. A detector that `fits` learns from half of the accounts, and the queries of the others set the
        threshold; a single account is cut in the middle. Where as many scores as the rate allows are the highest there
        is, the alarm never rings, and a warning says so.

        Args:
            queries: benign traffic, at least 1 / rate queries, twice as many where the detector `fits`.
            false_positive_rate: the share of benign queries for which the alarm may ring, in (0, 1).

        Returns:
            The threshold.

        Raises:
            ConfigError: the rate is no such share.
            DataError: there are too few queries, accounts are too short, or a query isn't as `observe` wants it.

        Reference: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, chapter 2.
        """
        if not 0 < false_positive_rate < 1:
            raise ConfigError(f"false_positive_rate={false_positive_rate}; a share between 0 and 1 is expected")
        scores, num_new = self._benign_scores(queries)
        self.threshold = threshold_of(scores, false_positive_rate, self.name(), num_new)
        self.false_positive_rate, self.num_calibrated = false_positive_rate, len(scores)
        if self.threshold >= self.highest:
            warnings.warn(
                f"{self.name()}: the alarm never rings, for benign queries have the highest score there is "
                f"({self.highest:g}); allow more false alarms than {false_positive_rate:g}, or give threshold=",
                UserWarning,
                stacklevel=2,
            )
        return self.threshold

    def _benign_scores(self, queries: Iterable[Query]) -> tuple[Array, int]:
        """The scores of benign queries that set the threshold, and how many others came when their account was new."""
        kept = self._learn(queries) if self.fits else queries
        self.reset()
        try:
            found = [(self._score(q.image, q.account, q.answer), self.is_new(q.account)) for q in kept]
        finally:
            self.reset()
        return np.array([score for score, is_new in found if not is_new]), sum(is_new for _, is_new in found)

    def _learn(self, queries: Iterable[Query]) -> list[Query]:
        """Fit to half of the queries; the others, without their images, which the detector doesn't look at."""
        known = [Query(image=np.zeros((1, 1, 1), np.uint8), account=q.account, answer=q.answer) for q in queries]
        learned = learned_half([query.account for query in known])
        if sum(learned) < 2:
            raise DataError(f"{self.name()}: {sum(learned)} benign queries to learn from; give more")
        self.fit(checked_answers(q.answer for q, one in zip(known, learned, strict=True) if one))
        return [query for query, one in zip(known, learned, strict=True) if not one]

    def save(self, path: str | Path) -> Path:
        """Write options, threshold and state to a file; a later `load` goes on exactly.

        Args:
            path: the file, whole or not there; an older one is replaced.

        Returns:
            The path.

        Raises:
            WriteError: the file can't be written.
        """
        from reprogram.detectors import _file

        with self._lock:
            return _file.save(self, path)

    @staticmethod
    def load(path: str | Path) -> "Detector":
        """The detector that `save` wrote.

        Args:
            path: the file.

        Raises:
            DataError: the file is none, or damaged.
        """
        from reprogram.detectors import _file

        detector: Detector = _file.load(path)
        return detector
