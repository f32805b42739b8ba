"""What a server says to texts: within limits, in turn, and not beyond a timeout."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from mcstl._support.errors import InputError, listed
from mcstl.models.model import Model
from mcstl.models.perspectives import Views, check_weights, parse


@dataclass(frozen=True)
class Limits:
    """How much one request may ask, and how many may wait."""

    letters: int = 10_000  # of one text
    batch: int = 64  # texts, or pairs, of one request
    perspectives: int = 256  # of one request
    body: int = 4 * 2**20  # bytes of one request
    timeout: float = 30.0  # seconds until a request is given up
    waiting: int = 256  # requests at once; more are told to come back


class BusyError(Exception):
    """More requests wait than `Limits.waiting`, or one waited longer than `Limits.timeout`."""


@dataclass(eq=False)
class _Request:
    """Texts that wait for their turn, and where their answer is put."""

    texts: Sequence[Any]
    asked: tuple[tuple[str, ...], ...]
    answer: "asyncio.Future[Views]"


class Answers:
    """A model that answers in a thread of its own, those together who wait for the same.

    Texts that are encoded together take far less time than one after the other.
    """

    def __init__(self, model: Model, limits: Limits) -> None:
        self.model = model
        self.limits = limits
        self.waiting = 0
        # The model uses all cores for one request; more threads would only share them.
        self._queue: list[_Request] = []
        self._turns: asyncio.Task[None] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="mcstl-model")

    @property
    def sides(self) -> int:
        """How many texts one question has: 2 for a preference."""
        return 2 if self.model.task == "preference" else 1

    def check(
        self,
        texts: Sequence[str | Sequence[str]],
        perspectives: Sequence[str] | None,
        mix: Mapping[str, float] | None,
    ) -> tuple[list[Any], list[list[str]], dict[str, float], int]:
        """Return texts, perspectives and weights that are fit to be asked.

        Perspectives that only the mix needs stand behind those that are to be shown, of which the
        number comes last.

        Raises InputError for what the limits or the model do not allow.
        """
        limits, groups = self.limits, self.model.group_names
        if not 0 < len(texts) <= limits.batch:
            raise InputError(f"{len(texts)} texts; a request has from 1 to {limits.batch}")
        rows: list[Any] = []
        for number, text in enumerate(texts):
            row = (text,) if isinstance(text, str) else tuple(text)
            if len(row) != self.sides:
                one = "a pair of texts" if self.sides == 2 else "a single text"
                raise InputError(f"text {number} must be {one} for this {self.model.task} model")
            if any(len(each) > limits.letters for each in row):
                raise InputError(f"text {number} is longer than {limits.letters:,} letters")
            if not all(each.strip() for each in row):
                raise InputError(f"text {number} is empty")
            rows.append(row if self.sides == 2 else row[0])
        weights = check_weights(mix) if mix is not None else {}
        weights = {" + ".join(parse(name, groups)): w for name, w in weights.items()}
        written = groups if perspectives is None else perspectives
        names = dict.fromkeys(" + ".join(parse(name, groups)) for name in written)
        asked = [parse(name, groups) for name in [*names, *(w for w in weights if w not in names)]]
        if len(asked) > limits.perspectives:
            raise InputError(
                f"{len(asked):,} perspectives; a request has at most {limits.perspectives}: "
                f"name some of {listed(groups)}"
            )
        self.model.membership(asked)
        return rows, asked, weights, len(names)

    async def views(self, texts: Sequence[Any], asked: Sequence[Sequence[str]]) -> Views:
        """Return what `perspectives` say of texts, once it is their turn.

        Raises BusyError if too many wait, or if it takes too long.
        """
        if self.waiting >= self.limits.waiting:
            raise BusyError("too many requests wait; come back in a moment")
        request = _Request(
            texts, tuple(map(tuple, asked)), asyncio.get_running_loop().create_future()
        )
        self._queue.append(request)
        if self._turns is None or self._turns.done():
            self._turns = asyncio.create_task(self._take_turns())
        self.waiting += 1
        try:
            async with asyncio.timeout(self.limits.timeout):
                return await request.answer
        except TimeoutError:
            raise BusyError(f"no answer within {self.limits.timeout:g} seconds") from None
        finally:
            self.waiting -= 1

    async def _take_turns(self) -> None:
        """Answer those who wait: the first, and with it all who ask the same perspectives."""
        loop = asyncio.get_running_loop()
        while self._queue:
            turn: list[_Request] = []
            left: list[_Request] = []
            size = 0
            for request in self._queue:
                if request.answer.done():  # given up
                    continue
                first = turn[0] if turn else request
                fits = not turn or size + len(request.texts) <= self.limits.batch
                if request.asked == first.asked and fits:
                    turn.append(request)
                    size += len(request.texts)
                else:
                    left.append(request)
            self._queue = left
            if not turn:
                continue
            texts = [text for request in turn for text in request.texts]
            work = partial(self.model.views, texts, turn[0].asked)
            try:
                views = await loop.run_in_executor(self._worker, work)
            except Exception as error:  # each who asked is told
                for request in turn:
                    if not request.answer.done():
                        request.answer.set_exception(error)
                continue
            start = 0
            for request in turn:
                rows = slice(start, start + len(request.texts))
                start = rows.stop
                if not request.answer.done():
                    request.answer.set_result(views.of(rows))

    async def warm_up(self) -> None:
        """Load the encoder's weights, so that the first request need not wait for them."""
        text: Any = "ready" if self.sides == 1 else ("a", "b")
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._worker, self.model.views, [text], [])

    def close(self) -> None:
        """End the thread once what it is at is done."""
        self._worker.shutdown(cancel_futures=True)
