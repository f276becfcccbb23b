"""Hosts behind a network: what all formats share. A format is one file with a small pure pair, encode and decode."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from reprogram.errors import ConfigError, HostMismatchError, HostUnavailableError
from reprogram.hosts._answering import AnsweringHost, levels
from reprogram.hosts._asking import Store
from reprogram.hosts._client import Client
from reprogram.hosts._consent import check_encrypted, checked_url, credential
from reprogram.hosts._encoding import encoded
from reprogram.hosts._frozen import Call
from reprogram.hosts._info import HostInfo
from reprogram.hosts._remote_config import ACCESS, TUNING, RemoteConfig
from reprogram.hosts._sentinels import MAX_DISTANCE, difference, fixed_images
from reprogram.hosts._vocabulary import Answer, Vocabulary
from reprogram.hosts._wire import Request, Response, WrongAnswerError
from reprogram.hosts.base import HostSource


class RemoteSource(HostSource):
    """A service behind a URL. A format implements `encode` and `decode`, which are pure.

    Building it sends no image. A program file never has it built: nothing that a stranger wrote has anything sent.

    Args:
        config: the variant's `Config`, which derives from `RemoteConfig` and begins with `url`.

    Attributes:
        usual_batch: the images of a request, by default.
        most_images: the most images that a request may carry.
        variables: the environment variables that hold credentials; see `authorisation`.
    """

    is_local: ClassVar[bool] = False
    usual_batch: ClassVar[int] = 1
    most_images: ClassVar[int] = 1
    variables: ClassVar[tuple[str, ...]] = ("MODEL_SERVER_TOKEN",)

    @property
    def names_labels(self) -> bool:
        """Whether answers say labels by name; if not, by number, or all of them in their order."""
        return True

    @abstractmethod
    def encode(self, images: np.ndarray) -> Request:
        """The request that asks for some images.

        Args:
            images: uint8, b × H × W × C; b is at most `most_images`.
        """

    @abstractmethod
    def decode(self, response: Response, count: int) -> Sequence[Answer]:
        """The answers in a response.

        Args:
            response: what came back, with a status below 300.
            count: b, the images of the request.

        Returns:
            An answer an image, in their order.

        Raises:
            GarbledError: the response isn't whole; it is worth asking again.
            WrongAnswerError: it is no answer in this format.
        """

    def version(self, response: Response) -> str | None:
        """The version of the model that answered, where the format says it.

        Args:
            response: what came back.
        """
        return None

    def described(self, client: Client) -> "RemoteSource":
        """This source, completed by what the service says of itself; by default it says nothing.

        Args:
            client: sends requests that carry no images.
        """
        return self

    def authorisation(self, request: Request, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """The headers that hold credentials; by default the first variable's as a bearer token.

        Args:
            request: what is sent.
            secrets: the values of those `variables` that are set.
        """
        token = secrets.get(self.variables[0])
        return {"Authorization": f"Bearer {token}"} if token else {}

    def images_per_request(self) -> int:
        """The most images of a request."""
        return min(self.config.batch or self.usual_batch, self.most_images)

    def files(self, images: np.ndarray) -> list[bytes]:
        """Images as files, in the encoding that the options say.

        Args:
            images: uint8, b × H × W × C.
        """
        return [encoded(image, self.config.encoding, self.config.quality) for image in images]

    def build(self, *, download: bool = False) -> "RemoteHost":
        """Check the URL and the consent, ask the service what it is where it can say so, and make the host."""
        name = self.name()
        url = checked_url(self.config.url, name)
        secrets = {variable: text for variable in self.variables if (text := credential(variable, name))}
        if secrets:
            check_encrypted(url, name)
        client = Client(
            url,
            name=name,
            authorise=lambda request: self.authorisation(request, secrets),
            secrets=tuple(secrets.values()),
            timeout_s=self.config.timeout,
            retries=self.config.retries,
            concurrency=self.config.concurrency,
        )
        return RemoteHost(self.described(client), client, id=self.spec())

    def nameable(self) -> bool:
        """Never: a program file can't have anything sent."""
        return False


class RemoteHost(AnsweringHost):
    """A service that is asked through a client.

    Args:
        source: its format and options, completed by what the service says of itself.
        client: sends its requests.
        id: the spec that builds it.
    """

    is_local = False

    def __init__(self, source: RemoteSource, client: Client, *, id: str) -> None:
        config: RemoteConfig = source.config
        count = config.num_classes or len(config.class_names)
        if not count:
            raise ConfigError(
                f"host {id}: how many labels it has isn't known; give num_classes=N, the most that are told apart, or "
                "class_names"
            )
        self.vocabulary = Vocabulary(config.class_names, count, source.name())
        info = HostInfo(
            id=id,
            num_classes=count,
            size=(config.size, config.size),
            channels=config.channels,
            mean=(0.0,) * config.channels,
            std=(1.0,) * config.channels,
            class_names=config.class_names if len(config.class_names) == count else None,
            access=ACCESS[config.access],
        )
        super().__init__(Call(_no_module), info)
        self.source, self.client = source, client
        self.images_per_request, self.sentinels = source.images_per_request(), config.sentinels
        self.concurrent_requests = config.concurrency
        self._model_version: str | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what is said about the service; its weights can't be seen, so that nothing is verified."""
        options = {
            option.name: getattr(self.source.config, option.name)
            for option in fields(self.source.config)
            if option.name not in TUNING
        }
        digest = hashlib.sha256(repr((self.source.name(), sorted(options.items()))).encode()).hexdigest()
        return f"unverified:{self.source.name()}:{digest[:16]}"

    def ask(self, images: Any) -> Sequence[Answer]:
        """Send images; see `AnsweringHost.ask`.

        Args:
            images: b × C × H × W, multiples of 1/255.

        Returns:
            The answers; `read` makes scores of them.
        """
        if tuple(images.shape[1:]) != self.info.shape:
            expected = " x ".join(map(str, self.info.shape))
            raise ConfigError(f"host {self.info.id}: images of shape {tuple(images.shape)}, expected b x {expected}")
        if not len(images):
            return []
        pixels = levels(images).permute(0, 2, 3, 1).contiguous().cpu().numpy()  # b x H x W x C
        return self.client.ask(
            self.source.encode(pixels),
            lambda response: self._read(response, len(pixels)),
            images=len(pixels),
            meter=self.meter,
        )

    def read(self, found: Any) -> Tensor:
        """The evidence of answers; labels that weren't seen yet get their columns.

        Args:
            found: what `ask` returned.

        Returns:
            b × K scores.
        """
        config, known = self.source.config, self.vocabulary.names
        evidence = self.vocabulary.evidence(
            found, kind=config.kind, decimals=config.decimals, whole=config.access == "scores"
        )
        if self.vocabulary.names != known:
            if self.answers is not None:
                self.answers.learn(self.vocabulary.names)
            self._name_labels()
        return evidence.to(self.mean)

    @property
    def answers(self) -> Store | None:
        """The store of answers; the labels that it holds are those that this host knows from now on."""
        return self._store

    @answers.setter
    def answers(self, store: Store | None) -> None:
        self._store = store
        if store is not None and store.labels:
            self.vocabulary.restart(store.labels, grows=self.vocabulary.open)
            self._name_labels()
        elif store is not None:
            store.learn(self.vocabulary.names)

    @property
    def is_ordered(self) -> bool:
        """Whether labels may be found yet: then their order is that of the images."""
        return self.vocabulary.grows and self.source.names_labels

    @property
    def found_labels(self) -> tuple[str, ...]:
        """The labels that have a column, where not all were known from the start."""
        return () if len(self.source.config.class_names) == self.info.num_classes else self.vocabulary.names

    def know(self, labels: tuple[str, ...]) -> None:
        """Take a program's labels, in its order: it was learned on these columns, and no others are evidence for it."""
        declared = self.source.config.class_names
        if labels[: len(declared)] != declared or len(labels) > self.info.num_classes:
            raise HostMismatchError(f"host {self.info.id}: its class_names aren't the first of the program's labels")
        self.vocabulary.restart(labels, grows=False)
        self._name_labels()

    def check_unchanged(self, when: str) -> None:
        """Ask for the sentinels; see `FrozenHost.check_unchanged`."""
        if not self.sentinels or self.answers is None:
            return
        images = fixed_images(self.sentinels, self.info).to(self.mean)
        distance = difference(*(self._answers_as(name, images) for name in ("start", when)))
        if distance > MAX_DISTANCE:
            raise HostUnavailableError(
                f"host {self.source.name()}: {self.client.url} is another model than at the start, or answers by "
                f"chance: its answer to a fixed image changed by {distance:.2f} of 1; start anew, or say sentinels=0"
            )

    def _answers_as(self, name: str, images: Tensor) -> Tensor:
        """The answers to images that are kept under a name of their own, apart from the images' other answers."""
        asker = replace(self._asker(self.ask), read=self.read, ordered=self.is_ordered, salt=name.encode())
        return asker.answers(images, levels)

    def renew(self) -> None:
        """Begin anew: with a new meter, and with the labels alone that were known from the start."""
        super().renew()
        self.vocabulary.restart(self.source.config.class_names, grows=True)
        self._name_labels()

    def _name_labels(self) -> None:
        names = self.vocabulary.names
        unseen = (f"host label {i}" for i in range(len(names), self.info.num_classes))
        self.info = replace(self.info, class_names=(*names, *unseen) if names else None)

    def _read(self, response: Response, count: int) -> Sequence[Answer]:
        answers = self.source.decode(response, count)
        if len(answers) != count:
            raise WrongAnswerError(f"answers {len(answers)} images, and was asked for {count}")
        version = self.source.version(response)
        if version is not None and self._model_version not in (None, version):
            change = f"the model's version changed from {self._model_version!r} to {version!r} in the middle"
            raise WrongAnswerError(f"{change}; what was learned before doesn't hold for it, start anew")
        self._model_version = self._model_version or version
        return answers


def _no_module(pixels: Tensor) -> Tensor:
    raise HostUnavailableError("a host behind a network has no module of its own; call the host itself")
