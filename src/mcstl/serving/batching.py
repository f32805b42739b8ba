"""A model that answers requests in batches: within limits, in turn, and within a timeout."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from mcstl._support.errors import InputError, listed
from mcstl.models.model import Model
from mcstl.models.perspectives import Views
from mcstl.serving.query import Query

#: How long is waited for more requests after a batch, as a share of what the batch took.
_SHARE_OF_WAITING = 0.5


@dataclass(frozen=True)
class Limits:
    """How much one request may ask, and how many requests may wait.

    Attributes:
        letters: Letters of one text.
        batch: Texts, or pairs of texts, of one request and of one batch.
        perspectives: Perspectives of one request.
        body: Bytes of one request.
        timeout: Seconds until a request is given up.
        waiting: Requests at once; more are told to come back.
    """

    letters: int = 10_000
    batch: int = 64
    perspectives: int = 256
    body: int = 4 * 2**20
    timeout: float = 30.0
    waiting: int = 256


class BusyError(Exception):
    """More requests wait than `Limits.waiting`, or one waited longer than `Limits.timeout`."""


@dataclass(eq=False)
class _Request:
    """Texts that wait for their turn, and where their answer is put."""

    texts: Sequence[Any]
    perspectives: tuple[tuple[str, ...], ...]
    level: float | None
    answer: "asyncio.Future[Views]"

    @property
    def asked(self) -> tuple[Any, ...]:
        """What requests that are answered together have in common."""
        return self.perspectives, self.level


class Batcher:
    """A model in a thread of its own that answers waiting requests together.

    Requests for the same perspectives and intervals share a batch, since texts that are encoded
    together take far less time than one after the other.

    Args:
        model: The model that answers.
        limits: How much one request may ask, and how many may wait.
    """

    def __init__(self, model: Model, limits: Limits) -> None:
        self.model = model
        self.limits = limits
        self.form = model.text_form
        self.waiting = 0
        self._queue: list[_Request] = []
        self._last = 0, 0.0  # how many were answered together, until when more are waited for
        self._loop_over_queue: asyncio.Task[None] | None = None
        # The model uses all cores for one batch; more threads would only share them.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="mcstl-model")

    def check(
        self,
        texts: Sequence[Any],
        perspectives: Sequence[str] | None = None,
        mix: Mapping[str, float] | None = None,
    ) -> tuple[list[Any], Query]:
        """Check a request against the limits and the model.

        Args:
            texts: n texts, or pairs of texts for a preference; a text may be the list of its parts.
            perspectives: Perspectives such as "Security + Tradition"; each group if None.
            mix: Weights of perspectives, or None.

        Returns:
            The n texts, or pairs of texts as tuples, and the query, both fit for the model.

        Raises:
            InputError: If the limits or the model do not allow it.
        """
        limits = self.limits
        if not 0 < len(texts) <= limits.batch:
            raise InputError(f"{len(texts)} texts; a request has from 1 to {limits.batch}")
        items = [self._checked_item(number, text) for number, text in enumerate(texts)]
        query = Query.parse(self.model, perspectives, mix)
        if len(query.perspectives) > limits.perspectives:
            raise InputError(
                f"{len(query.perspectives):,} perspectives; a request has at most "
                f"{limits.perspectives}: name some of "
                f"{listed(group.name for group in self.model.askable_groups)}"
            )
        self.model.membership(query.perspectives)  # refuses unknown groups
        return items, query

    def _checked_item(self, number: int, text: Any) -> Any:
        item = self.form.read(text)
        if isinstance(text, str) and not text.strip():
            raise InputError(f"text {number} is empty")
        if item is None:  # what came is not said: it may be anything
            expected = "a pair of texts" if self.form.sides == 2 else "a single text"
            expected = self.form.expected if self.form.parts else expected
            raise InputError(
                f"text {number} must be {expected} for this {self.model.task} model, not empty"
            )
        if any(len(each) > self.limits.letters for each in item):
            raise InputError(f"text {number} is longer than {self.limits.letters:,} letters")
        return item if len(item) == 2 else item[0]

    async def views(
        self,
        texts: Sequence[Any],
        perspectives: Sequence[Sequence[str]],
        level: float | None = None,
    ) -> Views:
        """Predict texts under perspectives once it is their turn.

        Args:
            texts: n texts, or pairs of texts, as `check` returns them.
            perspectives: P lists of group names.
            level: The probability that intervals are to hold, None for no intervals.

        Returns:
            The class probabilities of the n texts under the P perspectives.

        Raises:
            InputError: If intervals are asked of a model that does not know how sure it is.
            BusyError: If too many requests wait, or if it takes too long.
        """
        if self.waiting >= self.limits.waiting:
            raise BusyError("too many requests wait; come back in a moment")
        answer: asyncio.Future[Views] = asyncio.get_running_loop().create_future()
        request = _Request(texts, tuple(map(tuple, perspectives)), level, answer)
        self._queue.append(request)
        if self._loop_over_queue is None or self._loop_over_queue.done():
            self._loop_over_queue = asyncio.create_task(self._answer_queue())
        self.waiting += 1
        try:
            async with asyncio.timeout(self.limits.timeout):
                return await request.answer
        except TimeoutError:
            raise BusyError(f"no answer within {self.limits.timeout:g} seconds") from None
        finally:
            self.waiting -= 1

    async def _answer_queue(self) -> None:
        """Answer batch after batch until nobody waits."""
        loop = asyncio.get_running_loop()
        while self._queue:
            await self._gathered()
            if not (batch := self._next_batch()):
                continue
            started = loop.time()
            texts = [text for request in batch for text in request.texts]
            first = batch[0]
            work = partial(self.model.views, texts, first.perspectives, level=first.level)
            try:
                views = await loop.run_in_executor(self._worker, work)
            except Exception as error:  # every request of the batch gets it
                for request in batch:
                    if not request.answer.done():
                        request.answer.set_exception(error)
                continue
            start = 0
            for request in batch:
                positions = slice(start, start + len(request.texts))
                start = positions.stop
                if not request.answer.done():
                    request.answer.set_result(views.of_texts(positions))
            self._last = len(batch), loop.time() + (loop.time() - started) * _SHARE_OF_WAITING

    async def _gathered(self) -> None:
        """Wait until as many ask as were answered last, or for a moment after those.

        Whoever was answered with others asks again with them: without waiting, the first would be
        answered alone, in the same time, while the answers of the others are still being written.
        """
        count, until = self._last
        while len(self._queue) < count and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.002)

    def _next_batch(self) -> list[_Request]:
        """Take from the queue the first request and those that ask the same and fit."""
        batch: list[_Request] = []
        later: list[_Request] = []
        size = 0
        for request in self._queue:
            if request.answer.done():  # given up
                continue
            same = not batch or request.asked == batch[0].asked
            fits = not batch or size + len(request.texts) <= self.limits.batch
            if same and fits:
                batch.append(request)
                size += len(request.texts)
            else:
                later.append(request)
        self._queue = later
        return batch

    async def warm_up(self) -> None:
        """Load the encoder's weights, so that the first request need not wait for them."""
        text: Any = self.form.of_boxes(["ready"] * len(self.form.boxes))
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._worker, self.model.views, [text], [])

    def close(self) -> None:
        """End the thread after the batch that it is at."""
        self._worker.shutdown(cancel_futures=True)
