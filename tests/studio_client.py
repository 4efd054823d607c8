"""A client of a running studio, for tests: plain HTTP, and streams as lists of events."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

MODEL = """
import torch
from torch import nn
from seewhy import Model
from seewhy.models.preprocessing import Preprocessing


def make():
    generator = torch.Generator().manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 7),
    )
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.4)
    names = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]
    return Model(net.eval(), preprocess=Preprocessing(size=(48, 64)), labels=names)
"""
"""A file with a small network."""


class Client:
    """Asks one studio."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.port = int(parts.port or 0)
        self.token = parse_qs(parts.query)["token"][0]

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, http.client.HTTPResponse]:
        """Return status, content and response; a dict goes as JSON; `headers` replace the usual ones."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = {"Authorization": f"Bearer {self.token}"} if headers is None else headers
            if isinstance(body, dict):
                body, sent = json.dumps(body), {"Content-Type": "application/json", **sent}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Return a JSON answer."""
        status, content, _ = self.ask("GET", path)
        assert status == 200, content
        return json.loads(content)

    def post(self, path: str, body: Any) -> Any:
        """Return the JSON answer to a body."""
        status, content, _ = self.ask("POST", path, body)
        assert status == 200, content
        return json.loads(content) if content else None

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events of a stream; leaving it closes the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(body), sent)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            for line in answer:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])
        finally:
            connection.close()

    def explain(
        self, image: str, method: str, seen: Callable[[dict[str, Any]], object] = lambda _: None, **asked: Any
    ) -> list[dict[str, Any]]:
        """Return the events of one explanation; `seen` is told each as it comes."""
        body = {"panel": "test", "model": "0", "image": image, "method": method, **asked}
        events = []
        for event in self.stream("/api/explain", body):
            events.append(event)
            seen(event)
        return events


def unpacked(packed: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return the values of a packed array, float64."""
    numbers = np.frombuffer(base64.b64decode(packed["data"]), "<f2").astype(np.float64)
    return numbers.reshape(packed["shape"]) * packed["factor"]
