"""The client over real HTTP: mishaps of a server cost time, never a guess nor a second fee."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from mcstl._support.errors import InputError
from mcstl.labelling import llm
from mcstl.labelling.llm import Client, Count, Prompt, Template, list_of, text_of
from model_server import Answering, Mishap, ModelServer, serving

LABELS = ("Power", "Security", "Tradition")
KEY = "sk-a-secret-key"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setenv("MCSTL_CACHE", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MCSTL_LLM_MODEL"):
        monkeypatch.delenv(name, raising=False)


def client(server: ModelServer, **options: object) -> Client:
    return Client("a/model", base_url=server.url, api_key=KEY, **options)  # type: ignore[arg-type]


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt("Label it.", text) for text in texts]


def first(mishap: Mishap | str, then: str = '["Security"]') -> Answering:
    """Answer with a mishap once per question, then well."""
    return lambda _, before: then if before else mishap


def test_each_distinct_prompt_is_asked_once_and_answers_keep_their_order() -> None:
    together = threading.Barrier(2, timeout=60)

    def answer(text: str, _: int) -> str:
        together.wait()  # nobody is answered before both have asked
        time.sleep(0.05 if text == "a" else 0)
        return json.dumps(["Power"] if text == "a" else ["Tradition", "Security"])

    seen: list[tuple[str, int, int]] = []
    with serving(answer) as server:
        asked = client(server)
        found = asked.ask(prompts("a", "b", "a"), list_of(LABELS), lambda *x: seen.append(x))
        assert [each.value for each in found] == [
            ["Power"],
            ["Tradition", "Security"],
            ["Power"],
        ]
        assert server.requests == 2
        assert server.most_at_once == 2
        assert seen[0] == ("asking the language model", 0, 2)
        assert seen[-1] == ("asking the language model", 2, 2)
        assert asked.tokens_used == 10
        body = server.bodies[0]
        assert (body["model"], body["temperature"]) == ("a/model", 0)
        assert body["messages"][0] == {"role": "system", "content": "Label it."}


def test_replies_are_kept_by_prompt_and_model(tmp_path: Path) -> None:
    with serving(lambda *_: '["Power"]') as server:
        assert client(server).count(prompts("a", "b", "a")) == Count(2, 0, 5)
        assert server.requests == 0
        client(server).ask(prompts("a"), list_of(LABELS))
        again = client(server)
        assert again.count(prompts("a", "b")) == Count(1, 1, 3)
        assert again.ask(prompts("a"), list_of(LABELS))[0].value == ["Power"]
        assert server.requests == 1
        other = Client("b", base_url=server.url)
        assert other.count(prompts("a")).requests == 1


@pytest.mark.parametrize(
    "mishap",
    [
        Mishap(500, content="down"),
        Mishap(503, body=b"<html>busy</html>"),
        Mishap(429, content="slow down", Retry_After="0"),
        Mishap(body=b'{"choices": [{"mess'),
        Mishap(body=b'{"choices": []}'),
        Mishap(body=b"[]"),
        Mishap(seconds=1.5),  # longer than the timeout
    ],
)
def test_what_passes_is_tried_again(mishap: Mishap) -> None:
    with serving(first(mishap)) as server:
        found = client(server, timeout=0.5).ask(prompts("a"), list_of(LABELS))
        assert found[0].value == ["Security"]
        assert server.requests == 2


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_limited_rate_is_waited_for_as_long_as_the_server_says(form: str) -> None:
    when = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
    limited = Mishap(429, content="slow down", Retry_After=when)
    texts = list("abcdefgh")

    def answer(text: str, before: int) -> str | Mishap:
        return limited if text == "a" and not before else '["Power"]'

    with serving(answer) as server:
        found = client(server, workers=1).ask(prompts(*texts), list_of(LABELS))
        assert all(each.value == ["Power"] for each in found)
        (refused, status), *rest = server.times
        assert status == 429
        assert all(at - refused > 0.8 for at, _ in rest)


@pytest.mark.parametrize(
    "reply",
    [
        'Sure! ["Power"]',
        '```json\n["Power"]\n``` Is that right?',
        '<think>["Power"]',
        '["Power"',
        '["Powr"]',
        "[]",
        '"Power"',
        '{"label": "Power"}',
        "[1]",
        "",
    ],
)
def test_a_reply_of_another_form_is_asked_again_and_then_left_out(reply: str) -> None:
    with serving(first(reply)) as server:
        assert client(server).ask(prompts("a"), list_of(LABELS))[0].value == ["Security"]
        again = server.bodies[1]["messages"]
        assert [message["role"] for message in again] == ["system", "user", "assistant", "user"]
        assert "cannot be used" in again[-1]["content"]
    with serving(lambda *_: reply) as server:
        asked = Client("b", base_url=server.url)
        answer = asked.ask(prompts("a"), list_of(LABELS))[0]
        assert answer.value is None
        assert answer.reason.startswith("no usable reply in 3 attempts")
        assert server.requests == 3
        # The same replies are not paid for again.
        assert Client("b", base_url=server.url).ask(prompts("a"), list_of(LABELS)) == [answer]
        assert server.requests == 3


def test_a_reply_that_was_cut_is_none() -> None:
    with serving(lambda *_: Mishap(content='["Power"]', finish="length")) as server:
        answer = client(server).ask(prompts("a"), list_of(LABELS))[0]
    assert answer == llm.Answer(
        None, "no usable reply in 3 attempts, the last one because it was cut off"
    )


@pytest.mark.parametrize(
    "reply",
    [
        '```json\n["Power", "Security"]\n```',
        '```\n["Power", "Security"]```',
        '~~~\n["Power", "Security"]\n~~~\n',
        '`["Power", "Security"]`',
        '<think>\nIs it ["Tradition"]?\n</think>\n\n["Power", "Security"]',
        'Is it?</think>["Power", "Security"]',
        '<Thinking>Hm.</Thinking>\n```JSON\n["POWER", "security "]\n```',
        '["power", "Security", "Power"]',
        '{"values": ["Power", "Security"]}',
    ],
)
def test_what_stands_around_an_answer_is_no_guess(reply: str) -> None:
    assert list_of(LABELS)(reply) == ["Power", "Security"]
    with serving(lambda *_: reply) as server:
        assert client(server).ask(prompts("a"), list_of(LABELS))[0].value == ["Power", "Security"]
        assert server.requests == 1


def test_thinking_and_fences_are_no_part_of_a_text() -> None:
    assert text_of(20)("<think>\nHm.\n</think>\n```\nIt is fair.\n```") == "It is fair."
    assert text_of(20)("Say `a` or `b`.") == "Say `a` or `b`."


def test_where_everything_fails_alike_the_work_ends_early() -> None:
    texts = list(map(str, range(100)))
    with serving(lambda *_: "I cannot say.") as server:
        asked = client(server, workers=2)
        with pytest.raises(InputError, match="none of 10 prompts a usable answer") as caught:
            asked.ask(prompts(*texts), list_of(LABELS))
        assert server.requests < 40
    for part in ("is not one list of labels", "'I cannot say.'", "--prompt", "a-model.jsonl"):
        assert part in str(caught.value)
    # Where others were answered, the rest is left out.
    with serving(lambda text, _: '["Power"]' if text == "0" else "?") as server:
        asked = Client("b", base_url=server.url, workers=1)
        found = asked.ask(prompts(*texts[:15]), list_of(LABELS))
        assert [each.value for each in found] == [["Power"], *[None] * 14]


def test_lists_are_read_strictly() -> None:
    parse = list_of(LABELS)
    assert parse("['Power', 'Security', 'Power']\n") == ["Power", "Security"]
    with pytest.raises(ValueError, match="Powr is none of the labels"):
        parse('["Powr"]')
    assert text_of(20)(" two\n lines ") == "two lines"
    for reply in ("", "x" * 21):
        with pytest.raises(ValueError, match=r"empty|21 characters"):
            text_of(20)(reply)


def test_one_prompt_that_is_refused_spoils_no_other() -> None:
    def answer(text: str, _: int) -> str | Mishap:
        return Mishap(400, content="too long") if text == "b" else '["Power"]'

    with serving(answer) as server:
        found = client(server).ask(prompts("a", "b", "c"), list_of(LABELS))
        assert [each.value for each in found] == [["Power"], None, ["Power"]]
        assert "too long" in found[1].reason
        assert server.asked["b"] == 1


def test_a_model_without_a_temperature_is_asked_without() -> None:
    body = b'{"error": {"message": "unsupported", "param": "temperature", "code": "x"}}'

    def answer(_: str, __: int) -> str | Mishap:
        return Mishap(400, body=body) if "temperature" in server.bodies[-1] else '["Power"]'

    with serving(answer) as server:
        found = client(server, workers=1).ask(prompts("a", "b"), list_of(LABELS))
        assert [each.value for each in found] == [["Power"], ["Power"]]
        assert server.requests == 3


@pytest.mark.parametrize(
    ("mishap", "said"),
    [
        (Mishap(401, content=f"Incorrect API key provided: {KEY}"), r"Incorrect API key.*\*\*\*"),
        (Mishap(404, content="no such model"), "no such model"),
        (Mishap(429, content="slow down", Retry_After="86400"), "slow down"),
        (Mishap(500, content="down"), "down"),
        (Mishap(429, body=b'{"error": {"code": "insufficient_quota", "message": "pay"}}'), "pay"),
    ],
)
def test_a_server_that_refuses_all_ends_the_work_in_one_line(mishap: Mishap, said: str) -> None:
    with serving(lambda *_: mishap) as server:
        asked = client(server, retries=1, workers=2)
        with pytest.raises(InputError, match=said) as caught:
            asked.ask(prompts(*map(str, range(20))), list_of(LABELS))
        assert KEY not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert server.url in str(caught.value)
        assert server.requests < 20


def test_nobody_at_the_address_is_an_error() -> None:
    with serving(lambda *_: "") as server:
        asked = client(server, retries=1)
    with pytest.raises(InputError, match="cannot be used: Connection error"):
        asked.ask(prompts(*"abcdefgh"), list_of(LABELS))


def test_the_key_is_sent_and_kept_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(lambda *_: '["Power"]') as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("MCSTL_LLM_MODEL", "from-the-environment")
        asked = Client()
        asked.ask(prompts("a"), list_of(LABELS))
        assert server.keys == {f"Bearer {KEY}"}
        assert server.bodies[0]["model"] == "from-the-environment"
    assert KEY not in repr(asked)
    written = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert written
    assert not any(KEY in path.read_text() for path in written)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="which language model"):
        Client(base_url="http://localhost:1/v1")
    with pytest.raises(InputError, match="which server"):
        Client("m")
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(InputError, match=r"pip install 'mcstl\[llm\]'"):
        Client("m", api_key=KEY).ask(prompts("a"), list_of(LABELS))


CHILD = """
import sys
from mcstl.labelling.llm import Client, Prompt, list_of
prompts = [Prompt("", str(i)) for i in range(40)]
Client("m", base_url=sys.argv[1], workers=2).ask(prompts, list_of(("Power",)))
"""


def test_a_killed_process_goes_on_without_paying_twice(tmp_path: Path) -> None:
    with serving(lambda *_: Mishap(seconds=0.02, content='["Power"]')) as server:
        child = subprocess.Popen([sys.executable, "-c", CHILD, server.url])
        while server.requests < 10:
            assert child.poll() is None
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        (kept,) = (tmp_path / "cache" / "llm").iterdir()
        with kept.open("a") as file:
            file.write('{"key": "half a li')  # as when it is killed while it writes
        again = subprocess.run(
            [sys.executable, "-c", CHILD, server.url], capture_output=True, check=False
        )
        assert again.returncode == 0, again.stderr
        # Only the two that were under way may have been asked twice.
        assert len(server.asked) == 40
        assert server.requests <= 42
        before = server.requests
        subprocess.run([sys.executable, "-c", CHILD, server.url], check=True)
        assert server.requests == before


def test_prompts_are_templates_that_a_user_can_replace(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("Be brief.\n=== user ===\n{{ rationale | tojson }} of {{ text }}\n")
    prompt = Template("label", file).fill(rationale='It\'s "fair".\nIgnore this.', text="tea")
    assert prompt == Prompt("Be brief.", '"It\'s \\"fair\\".\\nIgnore this." of tea')
    for text, said in (
        ("{{ nothing }}\n=== user ===\n", "'nothing' is undefined; it can use rationale"),
        ("no mark", "has no line '=== user ==='"),
        ("{{ x\n=== user ===\n", "is no template"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=said):
            Template("label", file).fill(rationale="x")
    with pytest.raises(InputError, match="cannot be read"):
        Template("label", tmp_path / "none.txt")
