"""What detectors remember of accounts: arrays of a fixed shape for each, and no more accounts than fit."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reprogram.detectors._repeats import RETRY_FIELDS, read_retries
from reprogram.detectors.base import Array, Detector
from reprogram.errors import ConfigError, DataError

Fields = dict[str, tuple[tuple[int, ...], Any]]
"""Shape and type of each array that is kept of an account, by name."""

MAX_ACCOUNTS = 10_000_000

MAX_ACCOUNT_BYTES = 2**28
"""Of what is kept of one account."""

LONGEST_NAME = 200
"""Characters of an account's name that are kept; a longer one goes by its digest."""


class AccountTable:
    """A row of arrays for each account; where the table is full, the account seen least recently makes room.

    Args:
        fields: shape and type of the arrays of a row.
        capacity: the most accounts that are remembered.
    """

    def __init__(self, fields: Fields, capacity: int) -> None:
        self.fields, self.capacity = fields, capacity
        self.rows: OrderedDict[str, int] = OrderedDict()
        self.arrays = {name: np.zeros((0, *shape), dtype) for name, (shape, dtype) in fields.items()}

    def row(self, account: str) -> dict[str, Array]:
        """Views of an account's arrays, zeros where it is new; they hold until the next call.

        Args:
            account: its name.
        """
        index = self.rows.pop(account, None)
        if index is None:
            if len(self.rows) >= self.capacity:
                _, index = self.rows.popitem(last=False)
            else:
                index = len(self.rows)
                self._grow(index + 1)
            for array in self.arrays.values():
                array[index] = 0
        self.rows[account] = index
        return {name: array[index] for name, array in self.arrays.items()}

    def _grow(self, least: int) -> None:
        """Make room for some accounts; the room doubles, so that it is copied seldom."""
        for name, array in self.arrays.items():
            if len(array) < least:
                larger = np.zeros((min(max(2 * len(array), 4), self.capacity), *array.shape[1:]), array.dtype)
                larger[: len(array)] = array
                self.arrays[name] = larger

    def state(self) -> dict[str, Array]:
        """A copy of each array, accounts × its shape, in the order of `rows`."""
        order = list(self.rows.values())
        return {name: array[order] for name, array in self.arrays.items()}

    def load(self, state: Mapping[str, Array], accounts: list[str]) -> None:
        """Replace all rows.

        Args:
            state: what `state` gave.
            accounts: the accounts, in the same order.

        Raises:
            DataError: an array has another name, shape or type, or there are too many accounts.
        """
        if set(state) != set(self.fields):
            odd = sorted(set(state) ^ set(self.fields))[0]
            raise DataError(f"array {odd!r} is missing, or unknown; give the state of the same detector")
        if len(set(accounts)) != len(accounts) or len(accounts) > self.capacity:
            raise DataError(f"{len(accounts):,} accounts; at most {self.capacity:,} different ones are expected")
        for name, (shape, dtype) in self.fields.items():
            array, expected = state[name], (len(accounts), *shape)
            if array.shape != expected or array.dtype != dtype:
                raise DataError(f"array {name!r} is {array.dtype} of {array.shape}; {np.dtype(dtype)} of {expected} is")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise DataError(f"array {name!r} holds values that aren't finite")
        self.arrays = {name: state[name].copy() for name in self.fields}
        self.rows = OrderedDict((account, index) for index, account in enumerate(accounts))


class AccountDetector(Detector):
    """A detector that remembers something of each account. An author writes `fields` and `score_row`."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Detector.Config):
        """Options of every detector that remembers accounts.

        Attributes:
            capacity: the most accounts that are remembered; the one seen least recently is forgotten first.
            pooled: take all queries for those of one account: many accounts then hide nothing, and many users look
                like one.
        """

        capacity: int = 10_000
        pooled: bool = False

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 1 <= self.capacity <= MAX_ACCOUNTS:
                raise ConfigError(f"capacity={self.capacity}; 1 to {MAX_ACCOUNTS:,} accounts are expected")

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if self.bytes_per_account > MAX_ACCOUNT_BYTES:
            raise ConfigError(
                f"{self.name()}: these options keep {self.bytes_per_account / 2**20:,.0f} MiB of each account; "
                f"at most {MAX_ACCOUNT_BYTES >> 20} are expected"
            )
        self.table = AccountTable(self.fields(), config.capacity)

    def fields(self) -> Fields:
        """Shape and type of each array that is kept of an account; they start as zeros."""
        raise NotImplementedError

    def score_row(self, row: dict[str, Array], image: Array, answer: Array | None) -> float:
        """The score of a query; the account's arrays are changed in place.

        Args:
            row: the account's arrays, by name.
            image: C × H × W, uint8.
            answer: a vector of float64 where `reads` asks for one, else None.
        """
        raise NotImplementedError

    def is_new_row(self, row: dict[str, Array]) -> bool:
        """Whether too little is known of an account for its latest score to say anything; by default it is enough.

        Args:
            row: the account's arrays, by name.
        """
        return False

    def score(self, image: Array, account: str, answer: Array | None) -> float:
        """The score of a query, with the row of its account."""
        return self.score_row(self.table.row(self._row_name(account)), image, answer)

    def is_new(self, account: str) -> bool:
        """Whether the account's row says too little."""
        return self.is_new_row(self.table.row(self._row_name(account)))

    def _row_name(self, account: str) -> str:
        """The name that an account's row has."""
        return "" if self.config.pooled else _short(account)

    def reset(self) -> None:
        """Forget all accounts."""
        self.table = AccountTable(self.fields(), self.config.capacity)

    def state_dict(self) -> dict[str, Array]:
        """The arrays of all accounts, in the order of `accounts`."""
        return self.table.state()

    def accounts(self) -> list[str]:
        """The accounts' names, the one that was seen least recently first."""
        return list(self.table.rows)

    def load_state_dict(self, state: Mapping[str, Array], accounts: list[str]) -> None:
        """Replace what is remembered of all accounts."""
        table = AccountTable(self.fields(), self.config.capacity)
        knows_retries = RETRY_FIELDS.keys() <= self.fields().keys()
        table.load(read_retries(state, len(accounts)) if knows_retries else state, accounts)
        self.table = table

    @property
    def bytes_per_account(self) -> int:
        """The sum over an account's arrays."""
        return sum(int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize for shape, dtype in self.fields().values())


def _short(account: str) -> str:
    """A name of bounded length for an account."""
    if len(account) <= LONGEST_NAME:
        return account
    return f"long-{hashlib.blake2s(account.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"


def check_count(name: str, value: int, least: int, most: int) -> None:
    """Refuse a number that is out of range.

    Args:
        name: the option's.
        value: the number.
        least: the smallest that is allowed.
        most: the largest that is allowed.

    Raises:
        ConfigError: it is out of range.
    """
    if not least <= value <= most:
        raise ConfigError(f"{name}={value}; {least:,} to {most:,} is expected")


def check_share(name: str, value: float) -> None:
    """Refuse what is no share.

    Args:
        name: the option's.
        value: the number, in (0, 1].

    Raises:
        ConfigError: it is out of range.
    """
    if not 0 < value <= 1:
        raise ConfigError(f"{name}={value}; a share above 0 and at most 1 is expected")
