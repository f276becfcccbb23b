"""A model server of the tests' own, on the loopback: it speaks every format, counts what it gets, and fails at will."""

import base64
import contextlib
import io
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

FAULTS = ("timeout", "500", "429", "429-date", "truncated", "reset")
LOST = {"timeout", "truncated", "reset"}


def file_pixels(data):
    """An image file as H x W x C levels."""
    pixels = np.array(Image.open(io.BytesIO(data)))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def logits(pixels, count=10, seed=0):
    """The model: a linear function of the means of an image's quarters; b x H x W x C levels to b x K logits."""
    pixels = np.asarray(pixels, dtype=np.float64) / 255
    half = pixels.shape[1] // 2
    quarters = [pixels[:, :half, :half], pixels[:, half:, :half], pixels[:, :half, half:], pixels[:, half:, half:]]
    features = np.concatenate([quarter.mean((1, 2)) for quarter in quarters], axis=1)
    return (features - 0.5) @ np.random.default_rng(seed).normal(size=(features.shape[1], count)) * 20


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


class ModelServer:
    """A server whose model has K labels; `requests` and `answered` are its own count of images' requests.

    Args:
        labels: names of the K labels.
        rate: the part of requests that fail.
        faults: the ways in which they do.
        top: how many labels an answer shows, in formats that show some.
        size: of the model's input.
    """

    def __init__(self, labels=None, *, rate=0.0, faults=FAULTS, seed=0, top=5, size=48, ready=True, echo=False):
        self.labels = labels or [f"label {i}" for i in range(10)]
        self.rate, self.faults, self.top, self.size = rate, faults, top, size
        self.ready, self.echo, self.version, self.ratelimit = ready, echo, "1", None
        self.requests = self.answered = self.lost = self.gets = 0
        self.by_fault, self.connections = Counter(), 0
        self.reply = None  # A function of (path, images) to (status, headers, body), instead of everything else.
        self.seen, self.images = [], []
        self._chance, self._lock = random.Random(seed), threading.Lock()
        self.stop = threading.Event()

    def __enter__(self):
        server = self

        class Handler(_Handler):
            model = server

        self.http = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def fault(self):
        with self._lock:
            self.requests += 1
            fault = self._chance.choice(self.faults) if self._chance.random() < self.rate else None
            if fault:
                self.by_fault[fault] += 1
            return fault

    def count(self, *, answered=0, lost=0):
        with self._lock:
            self.answered += answered
            self.lost += lost

    def scores(self, images):
        return logits(images, len(self.labels))

    def first(self, row):
        """The first labels of an image with their numbers."""
        return [(self.labels[i], float(row[i])) for i in np.argsort(-row)[: self.top]]


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass  # The client went away, as some tests want it to.


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: ModelServer

    def setup(self):
        super().setup()
        self.model.connections += 1
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.model.gets += 1
        model = self.model
        if self.path == "/v2/health/ready":
            self.send(200 if model.ready else 503, b"")
        elif self.path.startswith("/v2/models/"):
            size, count = model.size, len(model.labels)
            self.send_json(
                {
                    "name": "m",
                    "versions": [model.version],
                    "platform": "numpy",
                    "inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 3, size, size]}],
                    "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, count]}],
                }
            )
        else:
            self.send_json({"error": "not found"}, 404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        model = self.model
        model.seen.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
        fault = model.fault()
        images, answer = self.understood(body)
        model.images.extend(np.asarray(images))
        if model.reply is not None:
            status, headers, content = model.reply(self.path, images)
            self.send(status, content, **headers)
            return
        if fault in LOST:
            model.count(lost=len(images))
        if fault == "timeout":
            model.stop.wait(1.2)
            self.close_connection = True
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif fault == "500":
            self.send_json({"error": "something broke"}, 500)
        elif fault == "429":
            self.send_json({"error": "too many"}, 429, Retry_After="0")
        elif fault == "429-date":
            soon = format_datetime(datetime.now(UTC) + timedelta(seconds=0.9), usegmt=True)
            self.send_json({"error": "too many"}, 429, Retry_After=soon)
        else:
            headers, content = answer()
            if fault == "truncated":
                self.send(200, content, cut=len(content) // 2, **headers)
            else:
                model.count(answered=len(images))
                self.send(200, content, **headers)

    def understood(self, body):
        """The images of a request, and a function that makes the answer."""
        path, model = self.path, self.model
        if path.startswith("/v2/models/"):
            return _oip(model, self.headers, body)
        if path.startswith("/v1/models/"):
            return _tf_serving(model, path, json.loads(body))
        if path.startswith("/v1/images:annotate"):
            return _google(model, json.loads(body))
        if path.startswith("/v2/users/"):
            return _clarifai(model, json.loads(body))
        if "X-Amz-Target" in self.headers:
            return _rekognition(model, json.loads(body))
        if body[:1] == b"{":
            value = json.loads(body)
            body = base64.b64decode(value.get("inputs") or value["image"])
        images = [file_pixels(body)]
        row = softmax(model.scores(images))[0]
        if path.startswith("/predictions/"):
            return images, lambda: _json(dict(model.first(row)))
        if path.startswith("/endpoints/"):
            return images, lambda: _json({"predictions": [row.tolist()]})
        return images, lambda: _json([{"label": label, "score": score} for label, score in model.first(row)])

    def send_json(self, value, status=200, **headers):
        self.send(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def send(self, status, content, cut=None, **headers):
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if self.model.ratelimit:
                self.send_header("ratelimit", self.model.ratelimit)
            if self.model.echo:
                self.send_header("X-Echo", self.headers.get("Authorization", ""))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if cut is None else content[:cut])
        if cut is not None:
            self.close_connection = True


def _json(value):
    return {"Content_Type": "application/json"}, json.dumps(value).encode()


def _oip(model, headers, body):
    length = headers.get("Inference-Header-Content-Length")
    head = json.loads(body if length is None else body[: int(length)])
    (tensor,) = head["inputs"]
    if tensor["datatype"] == "BYTES":
        if "data" in tensor:
            files = [base64.b64decode(text) for text in tensor["data"]]
        else:
            files, place = [], int(length)
            while place < len(body):
                (size,) = struct.unpack_from("<I", body, place)
                files.append(body[place + 4 : place + 4 + size])
                place += 4 + size
        images = [file_pixels(file) for file in files]
    else:
        values = (
            np.array(tensor["data"], np.float32)
            if length is None
            else np.frombuffer(body[int(length) :], {"FP32": "<f4", "UINT8": "u1"}[tensor["datatype"]])
        ).reshape(tensor["shape"])
        values = np.round(values * 255) if tensor["datatype"] == "FP32" else values
        images = list(values.transpose(0, 2, 3, 1))
    (asked,) = head["outputs"]

    def answer():
        scores = model.scores(images).astype("<f4")
        parameters = asked.get("parameters", {})
        output = {"name": asked["name"], "datatype": "FP32", "shape": list(scores.shape)}
        reply = {"model_name": "m", "model_version": model.version, "outputs": [output]}
        if k := parameters.get("classification"):
            order = np.argsort(-scores, axis=1)[:, :k]
            texts = [
                f"{row[i]:f}:{i}:{model.labels[i]}" for row, places in zip(scores, order, strict=True) for i in places
            ]
            output |= {"datatype": "BYTES", "shape": list(order.shape), "data": texts}
            return _json(reply)
        if not parameters.get("binary_data"):
            output["data"] = scores.reshape(-1).tolist()
            return _json(reply)
        output["parameters"] = {"binary_data_size": scores.nbytes}
        head = json.dumps(reply).encode()
        return {"Inference_Header_Content_Length": str(len(head))}, head + scores.tobytes()

    return images, answer


def _tf_serving(model, path, value):
    entries = value.get("instances") or [entry["image"] for entry in value["examples"]]
    if isinstance(entries[0], dict):
        images = [file_pixels(base64.b64decode(entry["b64"])) for entry in entries]
    else:
        images = [np.round(np.array(entry) * 255) for entry in entries]
    rows = softmax(model.scores(images))
    if path.endswith(":classify"):
        return images, lambda: _json({"result": [[list(pair) for pair in model.first(row)] for row in rows]})
    return images, lambda: _json({"predictions": rows.tolist()})


def _google(model, value):
    images = [file_pixels(base64.b64decode(item["image"]["content"])) for item in value["requests"]]
    rows = 1 / (1 + np.exp(-model.scores(images)))

    def one(row):
        return {"labelAnnotations": [{"mid": "/m/" + label, "description": label, "score": score, "topicality": score}
                                     for label, score in model.first(row)]}  # fmt: skip

    return images, lambda: _json({"responses": [one(row) for row in rows]})


def _clarifai(model, value):
    images = [file_pixels(base64.b64decode(item["data"]["image"]["base64"])) for item in value["inputs"]]
    rows = 1 / (1 + np.exp(-model.scores(images)))
    status = {"code": 10000, "description": "Ok"}

    def one(row):
        concepts = [{"id": "ai_" + label, "name": label, "value": score, "app_id": "main"}
                    for label, score in model.first(row)]  # fmt: skip
        return {"status": status, "data": {"concepts": concepts}}

    return images, lambda: _json({"status": status, "outputs": [one(row) for row in rows]})


def _rekognition(model, value):
    images = [file_pixels(base64.b64decode(value["Image"]["Bytes"]))]
    row = 100 / (1 + np.exp(-model.scores(images)))[0]
    labels = [{"Name": label, "Confidence": score, "Instances": [], "Parents": []} for label, score in model.first(row)]
    return images, lambda: _json({"Labels": labels, "LabelModelVersion": "3.0"})


def settled(server, seconds=2.0):
    """Wait until the server's handlers are done counting."""
    end, before = time.monotonic() + seconds, None
    while time.monotonic() < end and before != (before := (server.requests, server.answered, server.lost)):
        time.sleep(0.02)
