"""One client for any OpenAI-compatible server: prompts, retries, cache, parsing of replies.

A reply is paid for once: it is kept on disk as soon as it is there, by prompt and model. A reply
that is not of the form asked for is asked for again and then left out with the reason: nothing is
guessed. The key is in no file, message or representation.
"""

import ast
import email.utils
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jinja2

from mcstl._support import files
from mcstl._support.errors import InputError, brief, listed, need_extra
from mcstl._support.progress import Progress, silent

T = TypeVar("T")
_Messages = list[dict[str, str]]

_PROMPTS = Path(__file__).parent / "prompts"
_USER_MARK = "=== user ===\n"
#: How often a reply of the wrong form is asked for in all.
_ATTEMPTS = 3
#: Waits between tries double from the first to the last, in seconds, unless the server says more.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
#: A server that wants a longer pause is not waited for.
_LONGEST_PAUSE = 600.0
#: So many requests without an answer, one after the other, end the work.
_MOST_FAILURES = 5
_CHARACTERS_PER_TOKEN = 4


class Prompt(NamedTuple):
    """What is asked: the system's part and the user's."""

    system: str
    user: str


class Template:
    """A prompt with gaps, in a file: a Jinja text whose user part follows ``=== user ===``.

    `name` is one that comes with mcstl (label, summary, infer); `file` takes its place. Raises
    InputError if the file cannot be read or is no such text.

    >>> prompt = Template("summary").fill(rationales=["It is fair."])
    >>> prompt.system, prompt.user.splitlines()[-1]
    ('You are a helpful assistant.', '- "It is fair."')
    """

    def __init__(self, name: str, file: str | Path | None = None) -> None:
        self._path = Path(file) if file else _PROMPTS / f"{name}.txt"
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the prompt {self._path} cannot be read: {brief(error)}") from error
        system, mark, user = text.partition(_USER_MARK)
        if not mark:
            raise InputError(
                f"the prompt {self._path} has no line '{_USER_MARK.strip()}' between the system's "
                "part and the user's"
            )
        environment = jinja2.Environment(
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            autoescape=False,  # noqa: S701 (a prompt is no web page)
        )
        # As JSON, so that a text that tries to give orders cannot end its own quotation.
        environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
        try:
            self._parts = [environment.from_string(part) for part in (system, user)]
        except jinja2.TemplateError as error:
            raise InputError(f"the prompt {self._path} is no template: {error}") from error

    def fill(self, **gaps: object) -> Prompt:
        """Return the prompt with its gaps filled. Raises InputError for a gap not in `gaps`."""
        try:
            system, user = (part.render(gaps).strip() for part in self._parts)
        except jinja2.TemplateError as error:
            raise InputError(
                f"the prompt {self._path}: {error}; it can use {listed(gaps)}"
            ) from error
        return Prompt(system, user)


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came of a prompt: a value, or None and the reason."""

    value: T | None
    why: str = ""


class Count(NamedTuple):
    """What work would cost: requests to make, replies that are kept already, tokens to send."""

    requests: int
    kept: int
    tokens: int


class _Reply(NamedTuple):
    text: str
    is_cut: bool


class _FailedError(Exception):
    """One request that will not be answered."""


def replies_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of the replies kept, in the cache folder (`files.cache_root`)."""
    return files.cache_root(cache_dir) / "llm"


class Client:
    """Asks a language model; `model`, `base_url` and `api_key` fall back to the environment.

    The variables are MCSTL_LLM_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY. At most `workers`
    requests run at once; a server that limits the rate stops all of them for as long as it says.
    `timeout` is in seconds, and a request is tried `retries` times more. Replies are kept in
    `replies_folder`.

    Raises InputError if no model is named, or neither a server nor a key.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        workers: int = 8,
        timeout: float = 60.0,
        retries: int = 5,
        cache_dir: str | Path | None = None,
    ) -> None:
        self.model = model or os.environ.get("MCSTL_LLM_MODEL", "")
        self.base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._key = api_key or os.environ.get("OPENAI_API_KEY", "")
        if not self.model:
            raise InputError("which language model? Give --model or set MCSTL_LLM_MODEL")
        if not self.base_url and not self._key:
            raise InputError(
                "which server? Give --base-url or set OPENAI_BASE_URL (as http://localhost:8000/v1 "
                "for one of your own), or set OPENAI_API_KEY for OpenAI's"
            )
        self.tokens_used = 0
        self._workers, self._timeout, self._retries = workers, timeout, retries
        slug = re.sub(r"[^\w.-]+", "-", self.model)
        self._replies = _Replies(replies_folder(cache_dir) / f"{slug}.jsonl")
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._not_before = 0.0
        self._failures = 0
        self._temperature: dict[str, Any] = {"temperature": 0}

    def count(self, prompts: Sequence[Prompt]) -> Count:
        """Return what asking `prompts` would cost, without asking; about 4 characters a token."""
        distinct = [_messages(prompt) for prompt in dict.fromkeys(prompts)]
        open_ = [each for each in distinct if self._replies.get(self._key_of(each)) is None]
        size = sum(len(message["content"]) for each in open_ for message in each)
        tokens = -(-size // _CHARACTERS_PER_TOKEN)
        return Count(len(open_), len(distinct) - len(open_), tokens)

    def ask(
        self,
        prompts: Sequence[Prompt],
        parse: Callable[[str], T],
        progress: Progress = silent,
    ) -> list[Answer[T]]:
        """Ask each distinct prompt once and return an answer per prompt, in their order.

        `parse` makes a reply a value, or raises ValueError with what is wrong; such a reply is
        asked for again, with that, and then given up. So is a prompt that the server refuses.

        Raises InputError if the server refuses everything, or does not answer: what it has
        answered is kept, and the same call goes on from there.
        """
        distinct = list(dict.fromkeys(prompts))
        self._stopped.clear()
        self._failures = 0
        answers: dict[Prompt, Answer[T]] = {}
        progress("asking the language model", 0, len(distinct))
        pool = ThreadPoolExecutor(self._workers)
        try:
            jobs = {pool.submit(self._answer, prompt, parse): prompt for prompt in distinct}
            for done, job in enumerate(as_completed(jobs), start=1):
                answers[jobs[job]] = job.result()
                progress("asking the language model", done, len(distinct))
        finally:
            # Requests under way are paid for: they end and are kept, and no more are begun.
            self._stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
        return [answers[prompt] for prompt in prompts]

    def _answer(self, prompt: Prompt, parse: Callable[[str], T]) -> Answer[T]:
        messages, why = _messages(prompt), ""
        for _ in range(_ATTEMPTS):
            try:
                reply = self._reply(messages)
                if reply.is_cut:
                    raise ValueError("it was cut off")
                return Answer(parse(reply.text))
            except _FailedError as error:
                return Answer(None, str(error))
            except ValueError as error:
                if isinstance(error, InputError):
                    raise
                why = str(error)
                messages = [
                    *messages,
                    {"role": "assistant", "content": reply.text},
                    {
                        "role": "user",
                        "content": f"This reply cannot be used: {why}. Reply again, in exactly the "
                        "form that was asked for and with nothing else.",
                    },
                ]
        return Answer(None, f"no usable reply in {_ATTEMPTS} attempts, the last one because {why}")

    def _reply(self, messages: _Messages) -> _Reply:
        """Return the reply that is kept, or ask the server and keep its reply."""
        key = self._key_of(messages)
        kept = self._replies.get(key)
        if kept is not None:
            return kept
        client, why = self._openai, ""
        for attempt in range(self._retries + 1):
            self._wait(0.0)
            try:
                done = client.chat.completions.create(
                    model=self.model, messages=messages, **self._temperature
                )
                text, is_cut = _content(done)
            except Exception as error:  # the SDK's many, the network's, a body that is no JSON
                why = self._judge(error)
                if self._temperature and getattr(error, "param", None) == "temperature":
                    self._temperature = {}  # some models take none
                    continue
                if not _is_passing(error):
                    break
                self._pause(error, attempt)
                continue
            with self._lock:
                self._failures = 0
                self.tokens_used += getattr(done.usage, "total_tokens", 0) or 0
            reply = _Reply(text, is_cut)
            self._replies.put(key, reply)
            return reply
        with self._lock:
            self._failures += 1
            if self._failures >= _MOST_FAILURES:
                raise InputError(self._gave_up(why))
        raise _FailedError(why)

    def _judge(self, error: Exception) -> str:
        """Say what went wrong. Raises InputError where every other request would fail alike."""
        said = brief(error, 160)
        said = said.replace(self._key, "***") if self._key else said
        status, code = getattr(error, "status_code", None), getattr(error, "code", None)
        if status in (401, 403, 404) or code == "insufficient_quota":
            raise InputError(self._gave_up(said)) from None
        return said

    def _gave_up(self, why: str) -> str:
        server = self.base_url or "OpenAI's server"
        return (
            f"the language model {self.model} at {server} cannot be used: {why}; what it has "
            "answered is kept, and the same command goes on from there"
        )

    def _pause(self, error: Exception, attempt: int) -> None:
        """Wait before the next try; where the server limits the rate, everybody does."""
        wait = min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT)
        asked = _retry_after(error)
        if asked is not None and asked > _LONGEST_PAUSE:
            raise InputError(self._gave_up(f"it asks to wait {asked:.0f} seconds"))
        if getattr(error, "status_code", None) == 429:
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + (asked or wait))
            return
        self._wait(max(wait, asked or 0.0))

    def _wait(self, seconds: float) -> None:
        """Wait for `seconds` and for as long as the rate is limited, or until all is stopped."""
        until = time.monotonic() + seconds
        while (left := max(until, self._not_before) - time.monotonic()) > 0:
            if self._stopped.wait(left):
                break
        if self._stopped.is_set():
            raise _FailedError("it was stopped")

    @cached_property
    def _openai(self) -> Any:
        with need_extra("llm"):
            import openai
        return openai.OpenAI(
            api_key=self._key or "none",
            base_url=self.base_url,
            timeout=self._timeout,
            max_retries=0,  # so that one that is told to wait tells the others
        )

    def _key_of(self, messages: _Messages) -> str:
        content = json.dumps([self.model, messages], ensure_ascii=False)
        return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()


class _Replies:
    """Replies on disk, one JSON line each, written as they come.

    A process that is killed loses at most the line it is writing; half a line is passed over.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, _Reply] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    row = json.loads(line)
                    self._known[row["key"]] = _Reply(row["text"], bool(row["cut"]))
                except (ValueError, KeyError, TypeError):
                    continue

    def get(self, key: str) -> _Reply | None:
        return self._known.get(key)

    def put(self, key: str, reply: _Reply) -> None:
        line = json.dumps({"key": key, "text": reply.text, "cut": reply.is_cut})
        with self._lock:
            self._known[key] = reply
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                # The half line of a process that was killed is ended, or it would spoil this one.
                start = "\n" if file.tell() and not _ends_a_line(self._path) else ""
                file.write(f"{start}{line}\n".encode())


def list_of(labels: Sequence[str]) -> Callable[[str], list[str]]:
    """Return the parser of a reply that is one list of `labels` and nothing else (A.4).

    >>> list_of(["Power", "Security"])(' ["Security"] ')
    ['Security']
    """

    def parse(reply: str) -> list[str]:
        found = _literal(reply.strip())
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise ValueError("it is not one list of labels and nothing else")
        if not found:
            raise ValueError("the list is empty")
        if unknown := [each for each in found if each not in labels]:
            raise ValueError(f"{listed(unknown)} is none of the labels")
        return list(dict.fromkeys(found))

    return parse


def some_text(most: int) -> Callable[[str], str]:
    """Return the parser of a reply that is a text of at most `most` characters."""

    def parse(reply: str) -> str:
        text = " ".join(reply.split())
        if not text:
            raise ValueError("it is empty")
        if len(text) > most:
            raise ValueError(f"it has {len(text)} characters, and {most} are allowed")
        return text

    return parse


def _messages(prompt: Prompt) -> _Messages:
    parts = (("system", prompt.system), ("user", prompt.user))
    return [{"role": role, "content": text} for role, text in parts if text]


def _content(done: Any) -> tuple[str, bool]:
    """Return the reply's text and whether it was cut; a body of another form is a passing error."""
    try:
        choice = done.choices[0]
        return choice.message.content or "", choice.finish_reason == "length"
    except (AttributeError, IndexError, TypeError) as error:
        raise _BodyError("the server's answer is no chat completion") from error


class _BodyError(ValueError):
    """An answer that is not as the API promises."""


def _is_passing(error: Exception) -> bool:
    """Say whether the same request may well be answered later."""
    status = getattr(error, "status_code", None)
    return status is None or status in (200, 408, 409, 425, 429) or status >= 500


def _retry_after(error: Exception) -> float | None:
    """Return the seconds that the server asks to wait: a number, or a date (RFC 9110, 10.2.3)."""
    headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", {})
    said = headers.get("retry-after")
    if said is None:
        return None
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        when = email.utils.parsedate_to_datetime(said)
    except ValueError:
        return None
    return max(0.0, when.timestamp() - time.time())


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _literal(text: str) -> object:
    """Return what JSON, or a Python literal, says; None for anything else."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
