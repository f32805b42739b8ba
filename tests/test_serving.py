"""The API in this process: the model's own numbers, limits, faults, logs without texts, counts."""

import asyncio
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from mcstl._support.errors import InputError
from mcstl.data.labels import Task
from mcstl.encoding import encoders
from mcstl.models.model import Model
from mcstl.serving import Limits
from mcstl.serving.api import create_app
from mcstl.serving.batching import Batcher, BusyError
from mcstl.serving.monitoring import JsonLines
from tiny import Finished

LIMITS = Limits(letters=60, batch=3, perspectives=5, body=2000)
TEXTS = ["The library opens at nine.", "漢字 🙂 <b>=1+1</b>"]


@pytest.fixture(scope="module")
def model(finished: Callable[[Task], Finished]) -> Model:
    return Model.load(finished("binary").folder / "model")


@pytest.fixture(scope="module")
def client(model: Model) -> Iterator[TestClient]:
    with TestClient(create_app(model, LIMITS, page=False), raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, **question: Any) -> Any:
    return client.post("/predict", json=question)


def test_answers_are_the_models(client: TestClient, model: Model) -> None:
    mix = {"Security": 3, "Tradition + gender=Man": 1}
    perspectives = ["Security", "Security + Tradition"]
    answer = ask(client, texts=TEXTS, perspectives=perspectives, mix=mix)
    assert answer.status_code == 200
    predictions = answer.json()
    assert predictions["classes"] == list(model.classes)
    assert predictions["perspectives"] == perspectives
    p = model.predict_proba(TEXTS, [["Security"], ["Security", "Tradition"]])
    other = model.predict_proba(TEXTS, [["Tradition", "gender=Man"]])
    population = model.predict_proba(TEXTS)[:, 0]
    score = model.disagreement(TEXTS, [["Security"], ["Security", "Tradition"]])
    for i, each in enumerate(predictions["answers"]):
        np.testing.assert_allclose(each["perspectives"], p[i], atol=1e-6)
        np.testing.assert_allclose(each["population"], population[i], atol=1e-6)
        np.testing.assert_allclose(each["mix"], 0.75 * p[i, 0] + 0.25 * other[i, 0], atol=1e-6)
        assert each["disagreement"] == pytest.approx(score[i], abs=1e-6)
    alone = ask(client, texts=TEXTS[:1], perspectives=[]).json()
    assert alone["perspectives"] == []
    assert alone["answers"][0]["mix"] is None


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"texts": []}, "texts"),
        ({"texts": ["a"] * 4, "perspectives": []}, "4 texts; a request has from 1 to 3"),
        ({"texts": ["a" * 61], "perspectives": []}, "text 0 is longer than 60 letters"),
        ({"texts": ["a", " \n"], "perspectives": []}, "text 1 is empty"),
        ({"texts": [["a", "b"]], "perspectives": []}, "text 0 must be a single text"),
        ({"texts": ["a"], "perspectives": ["Securty"]}, "Did you mean 'Security'?"),
        ({"texts": ["a"], "perspectives": [], "mix": {"Security": -1}}, "not negative"),
        ({"texts": ["a"], "perspectives": [], "mix": {}}, "sum to nothing"),
        ({"texts": ["a"]}, "perspectives; a request has at most 5: name some of"),
        ({"texts": ["a"], "text": "b"}, "there is no such field"),
        ({"texts": "a"}, "texts"),
        ({}, "texts"),
        ([], "body"),
    ],
)
def test_what_a_request_may_not_ask(client: TestClient, question: Any, message: str) -> None:
    answer = client.post("/predict", json=question)
    assert answer.status_code == 422
    assert message in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[" * 1500,
        b'{"texts": ["\\ud800"]}',
        b'{"texts": ["a"], "mix": {"\\ud800": 1}}',
        b'{"texts": ["a"], "mix": {"Security": NaN}}',
        b'{"texts": ["a"], "mix": {"Security": 1e999}}',
        b'{"texts": ["a"], "perspectives": ["\\udfff"]}',
        b'{"texts": [' + b"9" * 1500 + b"]}",
    ],
)
def test_bodies_that_are_none(client: TestClient, body: bytes) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert isinstance(answer.json()["detail"], str)


def test_what_is_written_wrong_gets_the_nearest_right_word(client: TestClient) -> None:
    answer = client.post("/predict", json={"texts": ["a"], "perspektives": ["Security"]})
    assert answer.status_code == 422
    assert "no such field. Did you mean 'perspectives'?" in answer.json()["detail"]
    answer = client.get("/predikt")
    assert answer.status_code == 404
    assert "Did you mean '/predict'?" in answer.json()["detail"]


def test_a_browser_finds_an_icon_and_a_manifest(client: TestClient) -> None:
    assert client.get("/favicon.ico").text.startswith("<svg")
    manifest = client.get("/manifest.json").json()
    # As seen from the manifest: the same behind a proxy.
    assert (manifest["start_url"], manifest["icons"][0]["src"]) == ("page/", "favicon.ico")
    assert 'href="favicon.ico"' in client.get("/docs").text


def test_the_statuses_that_are_documented_are_the_real_ones(client: TestClient) -> None:
    documented = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["responses"]
    typed = {"Content-Type": "application/json"}
    bodies = {422: b"{", 400: b'{"texts": ["\xff"]}', 413: b'{"texts": ["' + b"a" * 2000 + b'"]}'}
    for status, body in bodies.items():
        answer = client.post("/predict", content=body, headers=typed)
        assert answer.status_code == status
        assert str(status) in documented


def test_a_large_body_is_refused(client: TestClient) -> None:
    answer = ask(client, texts=["a" * 3000])
    assert answer.status_code == 413
    assert answer.json() == {"detail": "a request has at most 2,000 bytes"}


def test_groups_health_and_other_paths(client: TestClient, model: Model) -> None:
    facts = client.get("/groups").json()
    assert [group["name"] for group in facts["groups"]] == list(model.group_names)
    assert facts["classes"] == list(model.classes)
    assert facts["limits"]["letters"] == 60
    assert client.get("/health").json()["status"] == "ok"
    assert client.get("/nothing").status_code == 404
    assert client.get("/predict").status_code == 405
    docs = client.get("/docs").text
    assert not re.findall(r'(?:src|href)="https?://', docs)
    assert "/predict" in client.get("/openapi.json").json()["paths"]


def test_logs_and_counts_hold_no_texts(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="mcstl.serving"):
        ask(client, texts=["a secret word"], perspectives=[])
        ask(client, texts=["a secret word" * 9], perspectives=[])
        client.get("/a-secret-word?q=a-secret-word")
    lines = [JsonLines().format(record) for record in caplog.records]
    logged = [json.loads(line) for line in lines]
    assert [(line["path"], line["status"]) for line in logged] == [
        *(("/predict", 200), ("/predict", 422), ("other", 404))
    ]
    assert all(line["ms"] > 0 for line in logged)
    metrics = client.get("/metrics").text
    assert 'mcstl_requests_total{method="POST",path="/predict",status="200"}' in metrics
    assert "mcstl_texts_total" in metrics
    assert "secret" not in "".join(lines) + metrics


def test_an_error_is_logged_by_its_kind_not_its_words() -> None:
    try:
        raise KeyError("a secret word")
    except KeyError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f", 1, "failed", (), __import__("sys").exc_info()
        )
    line = JsonLines().format(record)
    assert json.loads(line)["error"] == "KeyError"
    assert "secret" not in line


def test_too_many_and_too_slow(model: Model) -> None:
    async def main() -> None:
        none = Batcher(model, Limits(waiting=0))
        with pytest.raises(BusyError, match="come back"):
            await none.views(["a"], [])
        slow = Batcher(model, Limits(timeout=0.0))
        with pytest.raises(BusyError, match="within 0 seconds"):
            await slow.views(["a"], [])
        assert slow.waiting == 0
        none.close()
        slow.close()

    asyncio.run(main())


def test_those_who_wait_are_answered_together_and_each_its_own(model: Model) -> None:
    async def main() -> None:
        batcher = Batcher(model, Limits(batch=4))
        views_asked = [[["Security"]], [["Tradition"], ["Security"]]]
        questions = [
            ([f"text {i}", "Tea"][: 1 + i % 2], views_asked[i % 3 == 0]) for i in range(12)
        ]
        answers = await asyncio.gather(*(batcher.views(*question) for question in questions))
        for views, (texts, perspectives) in zip(answers, questions, strict=True):
            alone = model.views(texts, perspectives)
            assert views.names == alone.names
            np.testing.assert_allclose(views.p, alone.p, atol=1e-5)
            np.testing.assert_allclose(views.population, alone.population, atol=1e-5)
        with pytest.raises(InputError, match="no group"):
            await batcher.views(["a"], [["Nobody"]])
        assert (await batcher.views(["a"], [])).p.shape == (1, 0, 2)
        batcher.close()

    asyncio.run(main())


def test_pairs(finished: Callable[[Task], Finished]) -> None:
    model = Model.load(finished("preference").folder / "model")
    batcher = Batcher(model, Limits())
    pair = ("The library opens at nine.", "Tea")
    assert batcher.check([list(pair)], [], None)[0] == [pair]
    with pytest.raises(InputError, match="text 0 must be a pair of texts"):
        batcher.check(["alone"], [], None)
    with pytest.raises(InputError, match="text 1 must be a pair"):
        batcher.check([pair, ["a"]], [], None)
    batcher.close()


def test_an_encoder_that_keeps_nothing(tmp_path: Path) -> None:
    encoder = encoders.load_encoder(cache_dir=tmp_path, keep=False)
    long = "word " * 500
    kept = encoders.load_encoder(cache_dir=tmp_path / "kept")
    np.testing.assert_allclose(encoder.encode(["Tea", long]), kept.encode(["Tea", long]), atol=1e-6)
    assert (encoder.truncated, kept.truncated) == (0, 1)
    # A converted network may be kept, as it knows no text.
    assert {path.parents[1].name for path in tmp_path.rglob("*.sqlite")} == {"kept"}


@pytest.mark.parametrize("how", ["option", "header", "header without stripping"])
def test_a_server_under_a_prefix(model: Model, how: str) -> None:
    option = "/town" if how == "option" else ""
    headers = {} if option else {"X-Forwarded-Prefix": "/town/"}
    start = "/town" if how == "header without stripping" else ""
    app = create_app(model, LIMITS, page=False, root_path=option)
    with TestClient(app, headers=headers) as client:
        assert "'/town/openapi.json'" in client.get(f"{start}/docs").text
        assert client.get(f"{start}/openapi.json").json()["servers"] == [{"url": "/town"}]
        assert client.get(f"{start}/static-offline-docs/swagger-ui.css").status_code == 200
        answer = client.post(f"{start}/predict", json={"texts": TEXTS, "perspectives": []})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "prefix", ["", "//evil.example", "https://evil.example", "/a b", "/a\\b", "town"]
)
def test_no_prefix_leads_elsewhere(client: TestClient, prefix: str) -> None:
    page = client.get("/docs", headers={"X-Forwarded-Prefix": prefix}).text
    assert "'/openapi.json'" in page
    if prefix:
        assert prefix not in page


def test_a_prefix_is_a_path(model: Model) -> None:
    with pytest.raises(InputError, match="as /town; got 'town'"):
        create_app(model, page=False, root_path="town")


PAGE_UNDER_A_PREFIX = """
import re, sys
from fastapi.testclient import TestClient
from mcstl.models.model import Model
from mcstl.serving.api import create_app

app = create_app(Model.load(sys.argv[1]))
with TestClient(app, headers={"X-Forwarded-Prefix": "/town"}, follow_redirects=False) as client:
    print(client.get("/").headers["location"])
    print(client.get("/page").headers["location"])
    print(client.get("/page/config").json()["root"])
    print(*re.findall('<link rel="(?:icon|manifest)" href="(.*?)"', client.get("/page/").text))
"""


@pytest.mark.system
def test_the_page_under_a_prefix(finished: Callable[[Task], Finished]) -> None:
    """In a process of its own: the page leaves an event loop behind."""
    command = [sys.executable, "-c", PAGE_UNDER_A_PREFIX, str(finished("binary").folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    front, page, root, *links = done.stdout.split()
    assert front == page == "/town/page/"
    assert root.endswith("/town/page")
    assert links == ["../favicon.ico", "../manifest.json"]


def test_a_text_that_is_cut_is_said_to_be(model: Model) -> None:
    long = "The heron stood there. " * 400
    limits = Limits(perspectives=50)
    with TestClient(create_app(model, limits, page=False)) as client:
        answers = ask(client, texts=[long, "The heron stood there."]).json()["answers"]
    assert [answer["truncated"] for answer in answers] == [True, False]
