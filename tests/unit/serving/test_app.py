"""The server's answers, through Starlette's test client: pictures in, a result for each, a line for each mistake."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from one_neuron.neuron import Parameters, predict_probability
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import load_picture
from one_neuron.serving import app as server
from one_neuron.serving import requests
from one_neuron.serving.predictor import Predictor
from one_neuron.storage.model import Model
from one_neuron.storage.prepared_set import PreparedSet, save_prepared

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def model() -> Model:
    """Return a model of pictures of 8 x 8 pixels."""
    w = np.random.default_rng(1).normal(size=192)
    return Model(Parameters(w, -0.25), Preprocessing(8), ("dog", "cat"), 0.5, {"learning_rate": 0.005})


@pytest.fixture
def client(model: Model) -> Iterator[TestClient]:
    """Return a client of a server of the model."""
    predictor = Predictor(model, {"file": "model.h5"}, {"test_accuracy": 0.75})
    with TestClient(server.create_app(predictor), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write pictures of several kinds."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(2)
    paths = [folder / name for name in ("a.png", "b.jpg", "c d.webp", "ö.bmp")]
    for path in paths:
        Image.fromarray(generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return paths


def expected(model: Model, path: Path) -> Answer:
    """Return the prediction as the library computes it."""
    probability = predict_probability(load_picture(path, model.preprocessing).reshape(1, -1), model.parameters)[0]
    name = "cat" if probability > 0.5 else "dog"
    return {"class": name, "probability": float(probability), "positive_class": "cat"}


def test_a_form_with_many_pictures(client: TestClient, model: Model, photos: list[Path]) -> None:
    """One result for each, in their order, with the bits of the library."""
    response = client.post("/predict", files=[("file", (path.name, path.read_bytes())) for path in photos])
    assert response.status_code == 200
    assert response.json() == {"results": [{"file": path.name, **expected(model, path)} for path in photos]}


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", None])
def test_a_picture_in_the_body(client: TestClient, model: Model, photos: list[Path], kind: str | None) -> None:
    """As `curl --data-binary` sends it."""
    response = client.post("/predict", content=photos[0].read_bytes(), headers={"content-type": kind} if kind else {})
    assert response.json() == {"results": [{"file": "body", **expected(model, photos[0])}]}


@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records", "instances", "inputs", "texts"])
def test_the_json_forms_of_mlflow(client: TestClient, model: Model, photos: list[Path], form: str) -> None:
    """Bytes are base64, as in MLflow's own server."""
    texts = [base64.b64encode(path.read_bytes()).decode() for path in photos]
    contents: dict[str, dict[str, Any]] = {
        "dataframe_split": {"dataframe_split": {"columns": ["n", "picture"], "data": [[1, text] for text in texts]}},
        "dataframe_records": {"dataframe_records": [{"picture": text} for text in texts]},
        "instances": {"instances": [{"picture": text} for text in texts]},
        "inputs": {"inputs": {"picture": texts}},
        "texts": {"inputs": texts},
    }
    response = client.post("/predict", json=contents[form])
    results = [{"file": f"row {i}", **expected(model, path)} for i, path in enumerate(photos)]
    assert response.json() == {"results": results}


def test_one_bad_picture_does_not_stop_the_others(client: TestClient, model: Model, photos: list[Path]) -> None:
    """It gets its own error, without a path of the server."""
    response = client.post(
        "/predict", files=[("file", ("x.png", b"hello")), ("file", ("y.png", photos[0].read_bytes()))]
    )
    assert response.status_code == 200
    bad, good = response.json()["results"]
    assert bad == {
        "file": "x.png",
        "error": "is not a picture that can be read: it is a text that begins with 'hello'; get the file again, or "
        "remove it",
    }
    assert good == {"file": "y.png", **expected(model, photos[0])}


def test_nothing_but_bad_pictures_is_an_error(client: TestClient) -> None:
    """Each still has its line."""
    response = client.post("/predict", files=[("file", ("x.png", b"hello")), ("file", ("empty.png", b""))])
    assert response.status_code == 400
    assert [set(result) for result in response.json()["results"]] == [{"file", "error"}] * 2


JSON = {"content-type": "application/json"}
BAD_REQUESTS = {
    "no picture": ({}, 400, "there is no picture in the request; send at least one in the field 'file'"),
    "another field": ({"files": {"picture": b"x"}}, 400, "there is no picture in the request"),
    "text in the field": ({"files": {"other": b"x"}, "data": {"file": "x"}}, 400, "there is no picture"),
    "another type": (
        {"content": b"x", "headers": {"content-type": "text/html; charset=utf-8"}},
        415,
        "the type 'text/html' is not known; send multipart/form-data, image/* or JSON",
    ),
    "no boundary": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        400,
        "the form cannot be read (Missing boundary in multipart.); send it as multipart/form-data with a boundary",
    ),
    "a broken form": (
        {"content": b"--x\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        400,
        "there is no picture",
    ),
    "a form of nonsense": (
        {"content": b"nonsense", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        400,
        "the form cannot be read",
    ),
    "not JSON": ({"content": b"{", "headers": JSON}, 400, "the request is not JSON; see the forms of MLflow"),
    "deep JSON": ({"content": b"[" * 100_000, "headers": JSON}, 400, "the request is not JSON"),
    "JSON of another kind": ({"json": {"pictures": []}}, 400, "the JSON has no pictures; send dataframe_split or"),
    "a list": ({"json": []}, 400, "the JSON has no pictures"),
    "another column": (
        {"json": {"dataframe_split": {"columns": ["x"], "data": [["y"]]}}},
        400,
        "the JSON has no pictures",
    ),
    "short rows": (
        {"json": {"dataframe_split": {"columns": ["x", "picture"], "data": [["y"]]}}},
        400,
        "the JSON has no pictures",
    ),
    "not base64": ({"json": {"inputs": ["???"]}}, 400, "row 0 has no 'picture' in base64; encode the bytes of a file"),
    "a number": ({"json": {"inputs": [{"picture": 5}]}}, 400, "row 0 has no 'picture' in base64"),
    "no rows": ({"json": {"inputs": []}}, 400, "there is no picture in the request"),
    "too many rows": ({"json": {"inputs": [""] * 101}}, 413, "the request has 101 pictures; at most 100 are read"),
    "too many files": (
        {"files": [("file", (f"{i}.png", b"x")) for i in range(101)]},
        413,
        "the request has more than 100 pictures; at most 100 are read at once",
    ),
}


@pytest.mark.parametrize(("request_", "status", "message"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
@pytest.mark.parametrize("address", ["/predict", "/explain"])
def test_a_bad_request_gets_one_line(
    client: TestClient, address: str, request_: dict[str, Any], status: int, message: str
) -> None:
    """A status, and a message that says what to send."""
    response = client.post(address, **request_)
    assert response.status_code == status
    assert set(response.json()) == {"error"}
    assert message in response.json()["error"]
    assert "\n" not in response.json()["error"]


def test_a_large_request_is_refused_while_it_arrives(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds for forms and for bodies, whatever length they claim."""
    monkeypatch.setattr(requests, "MAX_BODY", 1000)
    contents: list[dict[str, Any]] = [
        {"files": {"file": bytes(1001)}},
        {"content": bytes(1001)},
        {"content": iter([bytes(600)] * 2)},
    ]
    for content in contents:
        response = client.post("/predict", **content)
        assert response.status_code == 413
        assert response.json() == {"error": "the request has more than 1,000 bytes; send fewer or smaller pictures"}


def test_a_slow_request_is_given_up(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends nothing does not occupy the server."""
    import anyio

    monkeypatch.setattr(requests, "BODY_SECONDS", 0.1)
    sent: list[Any] = []

    async def receive() -> Any:
        await anyio.sleep(10)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b""}
    anyio.run(server.create_app(Predictor(model, {})), scope, receive, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"]) == {"error": "the request did not arrive within 0.1 s; send it again"}


def test_a_busy_server_says_so(client: TestClient, photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The requests that are being answered are answered; one more gets 429 at once."""
    monkeypatch.setattr(server, "MAX_WAITING", 1)
    begun, go_on = threading.Event(), threading.Event()
    answer = Predictor.answer

    def slow(self: Predictor, name: str, content: bytes) -> Answer:
        begun.set()
        go_on.wait(10)
        return answer(self, name, content)

    monkeypatch.setattr(Predictor, "answer", slow)
    content, statuses = photos[0].read_bytes(), []
    first = threading.Thread(target=lambda: statuses.append(client.post("/predict", content=content).status_code))
    first.start()
    assert begun.wait(10)
    response = client.post("/predict", content=content)
    go_on.set()
    first.join()
    assert statuses == [200]
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert response.json() == {"error": "1 requests are waiting; send it again in a second"}


@pytest.mark.parametrize(
    ("method", "address", "status"), [("GET", "/x", 404), ("GET", "/predict", 405), ("POST", "/", 405)]
)
def test_an_unknown_address_names_the_known_ones(client: TestClient, method: str, address: str, status: int) -> None:
    """With the method, which may be the mistake."""
    response = client.request(method, address)
    assert response.status_code == status
    known = "POST /predict, GET /health, GET /model and GET /"
    assert response.json() == {"error": f"{method} {address} is not known; use {known}"}


def test_a_mistake_of_the_program_shows_no_traceback(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender learns that it was not the request."""
    monkeypatch.setattr(Predictor, "describe", lambda _: 1 / 0)
    response = client.get("/model")
    assert response.status_code == 500
    assert response.json() == {"error": "the server made a mistake; its log has the details"}


def test_health_and_model(client: TestClient, model: Model) -> None:
    """What a monitor and a user ask for."""
    assert client.get("/health").json() == {"status": "ok"}
    found = client.get("/model").json()
    assert found.pop("weights").startswith("data:image/png;base64,")
    assert found == {
        "classes": ["dog", "cat"],
        "positive_class": "cat",
        "threshold": 0.5,
        "num_px": 8,
        "resize": "stretch",
        "decode": "exact",
        "trained_with": {"learning_rate": 0.005},
        "sha256": model.sha256,
        "metrics": {"test_accuracy": 0.75},
        "origin": {"file": "model.h5"},
    }


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    """The policy forbids it, and the files do not try."""
    for address in ("/", "/page.js", "/page.css"):
        response = client.get(address)
        assert response.status_code == 200
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert "://" not in response.text
        assert "style=" not in response.text


def decoded(uri: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the pixels behind a data address."""
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def test_the_explanation_shows_the_pixels_and_what_they_say(
    client: TestClient, model: Model, photos: list[Path]
) -> None:
    """Orange where w x is positive, blue where it is negative, summed over the channels."""
    answer = client.post("/explain", content=photos[0].read_bytes()).json()
    pixels = load_picture(photos[0], model.preprocessing)
    assert {key: answer[key] for key in ("class", "probability", "positive_class")} == expected(model, photos[0])
    assert decoded(answer["seen"]).tolist() == pixels.tolist()
    contributions = (model.parameters.w.reshape(8, 8, 3) * (pixels / 255)).sum(axis=2)
    shown = decoded(answer["contributions"]).astype(int)
    clear = np.abs(contributions) > 0.02 * np.abs(contributions).max()
    assert ((shown[..., 0] > shown[..., 2]) == (contributions > 0))[clear].all()


def test_a_bad_picture_is_not_explained(client: TestClient) -> None:
    """The page shows the line behind the name of the file."""
    response = client.post("/explain", content=b"hello")
    assert response.status_code == 400
    assert response.json()["error"].startswith("is not a picture that can be read")


def test_the_worst_mistakes_come_first(model: Model, tmp_path: Path) -> None:
    """Those of the test set, as `find_mistakes` orders them."""
    X = np.random.default_rng(5).integers(0, 256, (6, 192), dtype=np.uint8)
    probabilities = predict_probability(X, model.parameters)
    Y = (probabilities <= 0.5).astype(np.uint8)
    Y[0] = 1 - Y[0]  # the only right one
    names = [f"{i}.png" for i in range(6)]
    test = PreparedSet(X, Y, names, model.preprocessing, ("dog", "cat"), "folder")
    save_prepared(tmp_path / "test.h5", test)
    app = server.create_app(Predictor(model, {}, {}, tmp_path / "test.h5"))
    found = TestClient(app).get("/mistakes").json()["mistakes"]
    order = sorted(range(1, 6), key=lambda i: -abs(probabilities[i] - Y[i]))
    assert [mistake["file"] for mistake in found] == [names[i] for i in order]
    assert decoded(found[0]["seen"]).reshape(-1).tolist() == X[order[0]].tolist()


def test_no_mistakes_without_a_test_set_of_the_model(client: TestClient, model: Model, tmp_path: Path) -> None:
    """Pictures of another size say nothing about it."""
    assert client.get("/mistakes").json() == {"mistakes": []}
    X = np.zeros((2, 12), np.uint8)
    test = PreparedSet(X, np.array([0, 1], np.uint8), ["a", "b"], Preprocessing(2), ("dog", "cat"), "folder")
    save_prepared(tmp_path / "test.h5", test)
    app = server.create_app(Predictor(model, {}, {}, tmp_path / "test.h5"))
    assert TestClient(app).get("/mistakes").json() == {"mistakes": []}
