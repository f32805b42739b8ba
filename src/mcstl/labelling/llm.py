"""One client for any OpenAI-compatible server: prompts, a cache of replies, parsing of replies.

A reply is paid for once: it is kept on disk as soon as it is there, by prompt and model. What
stands around an answer, thinking before it or a fence of a code block, is taken off; a reply of
another form than the prompt wants is requested again and then left out with the reason: nothing is
guessed. The key is in no file, message or representation.
"""

import ast
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jinja2

from mcstl._support import files
from mcstl._support.errors import InputError, brief, listed, need_extra
from mcstl._support.progress import Progress, silent
from mcstl.data.cells import comparable

T = TypeVar("T")
_Messages = list[dict[str, str]]

_PROMPTS = Path(__file__).parent / "prompts"
_USER_MARK = "=== user ===\n"
#: How many replies are requested in all where they are of the wrong form.
_ATTEMPTS = 3
#: This many failed requests, one after the other, end the work.
_MAX_FAILURES = 5
#: This many prompts without a usable reply, before any has one, end the work, too.
_MAX_UNUSABLE = 10
_THINKING = re.compile(r".*</(think|thinking|thought|reasoning|reflection|analysis)>", re.S | re.I)
_FENCED = re.compile(r"(`{3,}|~{3,})[^\n`]*\n(.*?)\n?\s*\1|`([^`\n]+)`", re.S)
_CHARACTERS_PER_TOKEN = 4


class Prompt(NamedTuple):
    """What a language model is sent.

    Attributes:
        system: The system's part, which may be empty.
        user: The user's part.
    """

    system: str
    user: str


class Template:
    """A prompt with gaps, in a file: a Jinja text whose user part follows ``=== user ===``.

    Args:
        name: A template that comes with mcstl: label, summary, name or infer.
        file: A file of the user's own, which takes its place.

    Raises:
        InputError: The file cannot be read or is no such text.

    Examples:
        >>> prompt = Template("summary").fill(rationales=["It is fair."], brief=False)
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
        """Fill the gaps of the prompt.

        Args:
            **gaps: What stands in each gap, by name.

        Returns:
            The prompt.

        Raises:
            InputError: The template has a gap that is not among `gaps`.
        """
        try:
            system, user = (part.render(gaps).strip() for part in self._parts)
        except jinja2.TemplateError as error:
            raise InputError(
                f"the prompt {self._path}: {error}; it can use {listed(gaps)}"
            ) from error
        return Prompt(system, user)


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came of a prompt.

    Attributes:
        value: The parsed reply, None where there is no usable one.
        reason: Why there is none.
    """

    value: T | None
    reason: str = ""


class Count(NamedTuple):
    """What sending prompts would cost.

    Attributes:
        requests: Requests to make.
        kept: Prompts whose replies are kept from before.
        tokens: Tokens to send, about four characters each.
    """

    requests: int
    kept: int
    tokens: int


class _Reply(NamedTuple):
    text: str
    is_cut: bool


class _FailedError(Exception):
    """One request that will not be answered."""


def replies_folder(cache_dir: str | Path | None = None) -> Path:
    """Name the folder in which the replies of language models are kept.

    Args:
        cache_dir: The cache folder; None for the user's (`files.cache_root`).

    Returns:
        The folder, which may not exist yet.
    """
    return files.cache_root(cache_dir) / "llm"


class Client:
    """Sends prompts to a language model and keeps its replies in `replies_folder`.

    A request that fails in passing (the rate is limited, the server is busy or cannot be reached)
    is tried again by the ``openai`` package, which waits as the server says or longer each time.

    Args:
        model: Name of the model; None for MCSTL_LLM_MODEL.
        base_url: Address of the server; None for OPENAI_BASE_URL, or else OpenAI's.
        api_key: Key of the server; None for OPENAI_API_KEY.
        workers: How many requests run at once.
        timeout: Seconds to wait for a reply.
        retries: How many times more a failed request is tried.
        cache_dir: Folder of the cache; None for the user's.

    Attributes:
        model: Name of the model.
        base_url: Address of the server, None for OpenAI's.
        tokens_used: Tokens that requests of this client have used, as the server counts them.

    Raises:
        InputError: No model is named, or neither a server nor a key.
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
        self._failures = 0
        self._unusable_replies: int | None = 0  # None once there was a usable one
        self._temperature: dict[str, Any] = {"temperature": 0}

    def count(self, prompts: Sequence[Prompt]) -> Count:
        """Count what sending prompts would cost, without sending any.

        Args:
            prompts: What would be sent; repeated prompts count once.

        Returns:
            The requests to make, the replies kept from before and the tokens to send.
        """
        distinct = [_messages(prompt) for prompt in dict.fromkeys(prompts)]
        unanswered = [each for each in distinct if self._replies.get(self._hash(each)) is None]
        size = sum(len(message["content"]) for each in unanswered for message in each)
        tokens = -(-size // _CHARACTERS_PER_TOKEN)
        return Count(len(unanswered), len(distinct) - len(unanswered), tokens)

    def ask(
        self,
        prompts: Sequence[Prompt],
        parse: Callable[[str], T],
        progress: Progress = silent,
    ) -> list[Answer[T]]:
        """Send each distinct prompt once and parse the replies.

        Args:
            prompts: (n,) prompts.
            parse: Makes a reply a value, or raises ValueError with what is wrong. Such a reply is
                requested again, with that message, and then given up.
            progress: Called with the step, how many prompts are answered and how many there are.

        Returns:
            (n,) answers in the order of the prompts. A prompt that the server refuses has none,
            and says why.

        Raises:
            InputError: The server refuses everything, or does not answer, or the first replies are
                all of no use. The replies so far are kept, and the same call continues from there.
        """
        distinct = list(dict.fromkeys(prompts))
        self._stopped.clear()
        self._failures, self._unusable_replies = 0, 0
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
        messages, reason, is_new = _messages(prompt), "", False
        for _ in range(_ATTEMPTS):
            is_new |= self._replies.get(self._hash(messages)) is None
            try:
                reply = self._reply(messages)
                if reply.is_cut:
                    raise ValueError("it was cut off")
                value = parse(reply.text)
                self._unusable_replies = None
                return Answer(value)
            except _FailedError as error:
                return Answer(None, str(error))
            except ValueError as error:
                if isinstance(error, InputError):
                    raise
                reason = str(error)
                messages = [
                    *messages,
                    {"role": "assistant", "content": reply.text},
                    {
                        "role": "user",
                        "content": f"This reply cannot be used: {reason}. Reply again, in exactly "
                        "the form that was asked for and with nothing else.",
                    },
                ]
        reason = f"no usable reply in {_ATTEMPTS} attempts, the last one because {reason}"
        with self._lock:
            if is_new and self._unusable_replies is not None:
                self._unusable_replies += 1
                if self._unusable_replies >= _MAX_UNUSABLE:
                    raise InputError(
                        f"the language model {self.model} has given none of "
                        f"{self._unusable_replies} prompts a usable answer: {reason} (it replied "
                        f"{brief(reply.text, 80)!r}). Try another --model or --prompt; the replies "
                        f"are kept in {self._replies.path}"
                    )
        return Answer(None, reason)

    def _reply(self, messages: _Messages) -> _Reply:
        """Return the reply that is kept, or else request one and keep it."""
        key = self._hash(messages)
        kept = self._replies.get(key)
        if kept is not None:
            return kept
        client, reason = self._openai, ""
        for _ in range(_ATTEMPTS):
            if self._stopped.is_set():
                raise _FailedError("it was stopped")
            try:
                completion = client.chat.completions.create(
                    model=self.model, messages=messages, **self._temperature
                )
                reply = _read_completion(completion)
            except Exception as error:  # the SDK's many, the network's, a body that is no JSON
                reason = self._reason(error)
                if self._temperature and getattr(error, "param", None) == "temperature":
                    self._temperature = {}  # some models take none
                elif not isinstance(error, ValueError):  # other than of a malformed body
                    break
                continue
            with self._lock:
                self._failures = 0
                self.tokens_used += getattr(completion.usage, "total_tokens", 0) or 0
            self._replies.put(key, reply)
            return reply
        with self._lock:
            self._failures += 1
            if self._failures >= _MAX_FAILURES:
                raise InputError(self._unusable(reason))
        raise _FailedError(reason)

    def _reason(self, error: Exception) -> str:
        """Say what went wrong. Raises InputError where every other request would fail alike."""
        message = brief(error, 160)
        message = message.replace(self._key, "***") if self._key else message
        status, code = getattr(error, "status_code", None), getattr(error, "code", None)
        if status in (401, 403, 404) or code == "insufficient_quota":
            raise InputError(self._unusable(message)) from None
        return message

    def _unusable(self, reason: str) -> str:
        server = self.base_url or "OpenAI's server"
        return (
            f"the language model {self.model} at {server} cannot be used: {reason}; what it has "
            "answered is kept, and the same command goes on from there"
        )

    @cached_property
    def _openai(self) -> Any:
        with need_extra("llm"):
            import openai
        return openai.OpenAI(
            api_key=self._key or "none",
            base_url=self.base_url,
            timeout=self._timeout,
            max_retries=self._retries,
        )

    def _hash(self, messages: _Messages) -> str:
        content = json.dumps([self.model, messages], ensure_ascii=False)
        return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()


class _Replies:
    """Replies on disk, one JSON line each, written as they come.

    A process that is killed loses at most the line it is writing; half a line is passed over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
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
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                # The half line of a process that was killed is ended, or it would spoil this one.
                start = "\n" if file.tell() and not _ends_a_line(self.path) else ""
                file.write(f"{start}{line}\n".encode())


def answer_in(reply: str) -> str:
    r"""Take off what stands around an answer: thinking before it, a fence around all of it.

    Args:
        reply: What a language model replied.

    Returns:
        The answer, without outer blanks.

    Examples:
        >>> answer_in('<think>Safety?</think>\n```json\n["Security"]\n```')
        '["Security"]'
    """
    answer = _THINKING.sub("", reply, count=1).strip()
    fenced = _FENCED.fullmatch(answer)
    return (fenced[2] or fenced[3] or "").strip() if fenced else answer


def list_of(labels: Sequence[str]) -> Callable[[str], list[str]]:
    """Make the parser of a reply that is one list of labels and nothing else (A.4).

    Args:
        labels: The labels that the list may hold.

    Returns:
        A function that makes such a reply the list of its distinct labels, in any case and in an
        object with one key, too, and raises ValueError for any other.

    Examples:
        >>> list_of(["Power", "Security"])(' ["Security"] ')
        ['Security']
    """
    by_answer = {comparable(label): label for label in labels}

    def parse(reply: str) -> list[str]:
        literal = _literal(answer_in(reply))
        if isinstance(literal, dict) and len(literal) == 1:
            (literal,) = literal.values()
        if not isinstance(literal, list) or not all(isinstance(each, str) for each in literal):
            raise ValueError("it is not one list of labels and nothing else")
        if not literal:
            raise ValueError("the list is empty")
        if unknown := [each for each in literal if comparable(each) not in by_answer]:
            raise ValueError(f"{listed(unknown)} is none of the labels")
        return list(dict.fromkeys(by_answer[comparable(each)] for each in literal))

    return parse


def strings_of(count: int) -> Callable[[str], list[str]]:
    """Make the parser of a reply that is one list of different texts and nothing else.

    Args:
        count: How many texts the list must have.

    Returns:
        A function that makes such a reply a list, and raises ValueError for any other.

    Examples:
        >>> strings_of(2)('["Care", "Safety"]')
        ['Care', 'Safety']
    """

    def parse(reply: str) -> list[str]:
        literal = _literal(answer_in(reply))
        if not isinstance(literal, list) or not all(isinstance(each, str) for each in literal):
            raise ValueError("it is not one list of texts and nothing else")
        texts = [" ".join(each.split()) for each in literal]
        if len(texts) != count or "" in texts:
            raise ValueError(f"it has {len(texts)} texts, and {count} are asked for")
        if len(set(map(comparable, texts))) < count:
            raise ValueError("two of the texts are the same")
        return texts

    return parse


def text_of(max_length: int) -> Callable[[str], str]:
    """Make the parser of a reply that is a short text.

    Args:
        max_length: Most characters that the text may have.

    Returns:
        A function that returns the text on one line, and raises ValueError where it is empty or
        too long.
    """

    def parse(reply: str) -> str:
        text = " ".join(answer_in(reply).split())
        if not text:
            raise ValueError("it is empty")
        if len(text) > max_length:
            raise ValueError(f"it has {len(text)} characters, and {max_length} are allowed")
        return text

    return parse


def _messages(prompt: Prompt) -> _Messages:
    parts = (("system", prompt.system), ("user", prompt.user))
    return [{"role": role, "content": text} for role, text in parts if text]


def _read_completion(completion: Any) -> _Reply:
    """Return the reply in a chat completion. Raises ValueError if it is none."""
    try:
        choice = completion.choices[0]
        return _Reply(choice.message.content or "", choice.finish_reason == "length")
    except (AttributeError, IndexError, TypeError) as error:
        raise ValueError("the server's answer is no chat completion") from error


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
