"""A served model from outside: a real browser, many clients, malformed requests, SIGTERM."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin

import httpx
import pytest

from browser import asked_for, chromium, photograph
from mcstl.data.labels import Task
from mcstl.models.model import Model
from tiny import Finished

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from load import press, start

pytestmark = pytest.mark.system

TEXT = "We should build a new library, soon."
#: The seconds that many clients press; the requirement is two minutes.
SECONDS = 120
#: What servers run with: one core, so that requests are in flight for a while.
ONE_CORE = {"OMP_NUM_THREADS": "1"}


class Served(NamedTuple):
    url: str
    process: "subprocess.Popen[str]"
    log: Path
    model: Model


@pytest.fixture(scope="module", params=["binary", "preference"])
def served(
    request: pytest.FixtureRequest,
    finished: Callable[[Task], Finished],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    folder = finished(request.param).folder / "model"
    log = tmp_path_factory.mktemp("served") / "log"
    url, process = start(folder, log, ONE_CORE)
    yield Served(url, process, log, Model.load(folder))
    process.terminate()
    assert process.wait(60) == 0


@contextmanager
def proxied(url: str, prefix: str) -> Iterator[str]:
    """Show a server under a prefix, as a reverse proxy does that takes the prefix away."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {**self.headers, "X-Forwarded-Prefix": prefix, "Accept-Encoding": "identity"}
            with client.stream(
                self.command, self.path.removeprefix(prefix), headers=headers, content=body
            ) as answer:
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name not in ("transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.end_headers()
                for chunk in answer.iter_raw():
                    self.wfile.write(chunk)
                    self.wfile.flush()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with httpx.Client(base_url=url, timeout=240, trust_env=False) as client:
            yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("prefix", ["", "/the/town"])
def test_the_page_behind_a_proxy(served: Served, prefix: str) -> None:
    """Icon, manifest and everything else come from under the prefix."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support import expected_conditions
    from selenium.webdriver.support.ui import WebDriverWait

    with proxied(served.url, prefix) as url, chromium(800, 600) as driver:
        driver.get(f"{url}{prefix}/")
        assert driver.current_url == f"{url}{prefix}/page/"
        wait = WebDriverWait(driver, 120)
        for place in range(len(texts_of(served)[0]) if served.model.task == "preference" else 1):
            box = f"#text-{place} textarea"
            wait.until(expected_conditions.presence_of_element_located((By.CSS_SELECTOR, box)))
            driver.find_element(By.CSS_SELECTOR, box).send_keys(TEXT)
        driver.find_element(By.ID, "look").click()
        wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, ".views .view"))

        manifest = driver.execute_cdp_cmd("Page.getAppManifest", {})
        assert manifest["url"] == f"{url}{prefix}/manifest.json"
        assert not manifest["errors"]
        icon = driver.find_element(By.CSS_SELECTOR, "link[rel=icon]").get_attribute("href")
        told = json.loads(manifest["data"])
        for address in (icon, *(each["src"] for each in told["icons"]), told["start_url"]):
            where = urljoin(manifest["url"], address)
            assert where.startswith(f"{url}{prefix}/")
            assert httpx.get(where, trust_env=False).status_code == 200
        asked = asked_for(driver)
        assert f"{url}{prefix}/favicon.ico" in asked
        assert all(each.startswith((f"{url}{prefix}/", "data:", "blob:")) for each in asked)


def texts_of(served: Served) -> Any:
    return [[TEXT, "Nothing."]] if served.model.task == "preference" else [TEXT]


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_the_page_in_a_browser(served: Served, width: int, height: int, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    with chromium(width, height) as driver:

        def find(selector: str) -> Any:
            return WebDriverWait(driver, 120).until(
                lambda d: d.find_element(By.CSS_SELECTOR, selector)
            )

        def numbers() -> dict[str, list[float]]:
            return {
                view.get_attribute("data-who"): [
                    float(number)
                    for number in re.findall(
                        r"[\d.]+", view.find_element(By.CSS_SELECTOR, ".numbers").text
                    )
                ]
                for view in driver.find_elements(By.CSS_SELECTOR, ".views .view")
            }

        driver.get(f"{served.url}/page")
        for place, text in enumerate(
            texts_of(served)[0] if served.model.task == "preference" else texts_of(served)
        ):
            find(f"#text-{place} textarea").send_keys(text)
        find("#look").click()
        find(".views .view")
        question: Any = [tuple(t) if isinstance(t, list) else t for t in texts_of(served)]
        views = served.model.views(question)
        found = numbers()
        assert found.pop("Population") == pytest.approx(100 * views.population[0], abs=0.06)
        assert {*views.names} == {*found}
        for k, name in enumerate(views.names):
            assert found[name] == pytest.approx(100 * views.p[0, k], abs=0.06)

        slider = find("#jury-0 input[type=number]")
        slider.send_keys(Keys.CONTROL, "a")
        slider.send_keys("2")
        slider.send_keys(Keys.TAB)
        find("[data-who='Your jury']")
        label = find("#jury-0 label").text.strip() or find("#jury-0").text.split("\n")[0]
        assert numbers()["Your jury"] == pytest.approx(numbers()[label], abs=0.06)

        find("#compare button").click()
        for place, text in enumerate(
            ["Another text.", "And one."][: len(served.model.text_form.boxes)]
        ):
            find(f"#other-{place} textarea").send_keys(text)
        find("#look").click()
        WebDriverWait(driver, 120).until(
            lambda d: len(d.find_elements(By.CSS_SELECTOR, ".beside .views")) == 2
        )

        # The two texts stand side by side: each is named, and their groups have one order.
        columns = driver.find_elements(By.CSS_SELECTOR, ".beside .views")
        assert all(column.find_elements(By.TAG_NAME, "h2") for column in columns)
        first, second = (
            [view.get_attribute("data-who") for view in column.find_elements(By.CLASS_NAME, "view")]
            for column in columns
        )
        assert first == second

        assert "may be offensive" in find(".warning").text
        width_of = "return document.documentElement.scrollWidth"
        assert driver.execute_script(width_of) <= width
        elsewhere = {
            address
            for address in asked_for(driver)
            if not address.startswith((served.url, "data:", "blob:"))
        }
        assert not elsewhere
        photograph(driver, tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 10_000


def test_many_clients_for_two_minutes(served: Served) -> None:
    pairs = served.model.task == "preference"
    load = press(served.url, 50, SECONDS, pairs)
    assert not load.errors
    assert len(load.seconds) > 50
    logged = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert sum(line.get("path") == "/predict" for line in logged) >= len(load.seconds)
    assert "library" not in served.log.read_text()


def test_ten_thousand_malformed_requests(served: Served) -> None:
    """Spoilt bodies of a right one, paths, methods and types: 4xx or a right answer, never 5xx."""
    chooser = random.Random(0)
    right = json.dumps({"texts": texts_of(served), "perspectives": []}).encode()
    paths = ("/predict",) * 8 + ("/groups", "/health", "/x", "//", "/%00", "/..%2f..", "/predict/")
    statuses: dict[int, int] = {}
    with httpx.Client(base_url=served.url, timeout=60, trust_env=False) as client:
        for _ in range(10_000):
            body = bytearray(right)
            for _ in range(chooser.randint(1, 5)):
                at = chooser.randrange(len(body) + 1)
                body[at : at + chooser.randint(0, 3)] = chooser.choice(
                    [b"", b'"', b"{", b"[", b"\x00", b"\xff", b"\\ud800", b"1e999", b"null", b","]
                )
            kind = chooser.choice(["application/json", "text/plain", "", "application/x\xff"])
            answer = client.request(
                chooser.choice(["POST"] * 6 + ["PUT", "GET", "DELETE"]),
                chooser.choice(paths),
                content=bytes(body),
                headers=[(b"content-type", kind.encode("latin-1"))],
            )
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    assert max(statuses) < 500
    assert sum(count for status, count in statuses.items() if status >= 400) > 5000
    assert httpx.get(f"{served.url}/health", trust_env=False).status_code == 200


def test_requests_made_from_the_schema(served: Served, tmp_path: Path) -> None:
    import schemathesis

    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json"),
            *("--max-examples", "1000", "--checks", "not_a_server_error", "--seed", "1"),
            *("--request-timeout", "60", "--phases", "fuzzing"),
        ],
        capture_output=True,
        text=True,
        timeout=1800,
        cwd=tmp_path,  # it leaves a folder behind
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
    )
    assert len(list(schema.get_all_operations())) == 3
    assert done.returncode == 0, done.stdout[-3000:]


def test_raw_bytes_never_hang_it(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    for raw in (
        b"\x16\x03\x01\x00\xff\n\n",
        b"GET /\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            said = connection.recv(65536)
            assert not said or b" 4" in said.split(b"\r\n")[0]
    assert httpx.get(f"{served.url}/health", trust_env=False).status_code == 200


def test_sigterm_finishes_what_is_in_flight(
    finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    url, process = start(finished("binary").folder / "model", tmp_path / "log", ONE_CORE)
    texts = [f"{TEXT} {i} " + "and so on " * 200 for i in range(64)]
    answers: list[int] = []

    def ask() -> None:
        answer = httpx.post(f"{url}/predict", json={"texts": texts}, timeout=120, trust_env=False)
        answers.append(answer.status_code if len(answer.json()["answers"]) == 64 else 0)

    asking = threading.Thread(target=ask)
    asking.start()
    in_flight = re.compile(r"mcstl_requests_in_flight (\d+)")
    for _ in range(200):
        found = in_flight.search(httpx.get(f"{url}/metrics", trust_env=False).text)
        if found and int(found.group(1)) > 1:  # the metrics' own request is one
            break
    process.send_signal(signal.SIGTERM)
    asking.join(120)
    assert answers == [200]
    assert process.wait(60) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health", trust_env=False)
