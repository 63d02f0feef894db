"""The hub: a small one served on loopback, the offline cache, and none at all.

The client reads its environment when it is imported, so each case runs in a process of its own.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from safetensors.numpy import save

from weightbench.models import HubSource, ModelNotFoundError, open_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = save({"a": np.arange(6, dtype=np.float32)})
REPOSITORY = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"never fetched",
    "README.md": b"never fetched",
    "onnx/model.safetensors": b"never fetched",
}
SCRIPT = """
import json, sys
from weightbench.models import HubSource, ModelError, open_model
try:
    model = open_model(HubSource(*sys.argv[1:]))
except ModelError as error:
    print(json.dumps([type(error).__name__, str(error)]))
else:
    found = sorted(p.name for p in model.directory.iterdir())
    print(json.dumps([model.name, model.revision(), model.read("a").tolist(), found]))
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """The routes that the client asks for: repository, tree of a commit, and files."""

    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if path in ("/api/models/me/tiny/revision/main", f"/api/models/me/tiny/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in REPOSITORY]
            self.answer(json.dumps({"id": "me/tiny", "sha": COMMIT, "siblings": siblings}).encode())
        elif path == f"/api/models/me/tiny/tree/{COMMIT}":
            self.answer(json.dumps([entry(name, data) for name, data in REPOSITORY.items()]).encode())
        elif path.startswith(prefix := f"/me/tiny/resolve/{COMMIT}/") and path[len(prefix) :] in REPOSITORY:
            self.answer(REPOSITORY[path[len(prefix) :]])
        elif path.startswith(("/me/tiny/", "/api/models/me/tiny/")):
            self.answer(b"", 404, {"X-Error-Code": "RevisionNotFound"})
        else:
            self.answer(b"", 404, {"X-Error-Code": "RepoNotFound"})

    def answer(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        etag = hashlib.sha1(body).hexdigest()
        for key, value in ({"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'} | (headers or {})).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def entry(name: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


@pytest.fixture
def hub() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Hub.asked.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def run(home: Path, endpoint: str, *source: str, offline: bool = False) -> list[object]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "NO_PROXY": "127.0.0.1"}
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *source], env=environment, capture_output=True, text=True, check=True
    )
    found: list[object] = json.loads(done.stdout)
    return found


EXPECTED = [
    "me/tiny",
    f"hub:me/tiny@{COMMIT}",
    [0, 1, 2, 3, 4, 5],
    ["config.json", "model.safetensors", "tokenizer.json"],
]


def test_a_hub_and_then_its_cache(tmp_path: Path, hub: str) -> None:
    assert run(tmp_path, hub, "me/tiny") == EXPECTED
    assert f"/me/tiny/resolve/{COMMIT}/model.safetensors" in Hub.asked
    assert run(tmp_path, hub, "me/tiny", COMMIT) == EXPECTED
    asked = len(Hub.asked)
    assert run(tmp_path, hub, "me/tiny", offline=True) == EXPECTED
    assert len(Hub.asked) == asked
    assert run(tmp_path, "http://127.0.0.1:9", "me/tiny") == EXPECTED  # nobody answers there


def test_names_the_hub_does_not_have(tmp_path: Path, hub: str) -> None:
    kind, message = run(tmp_path, hub, "me/absent")
    assert kind == "ModelNotFoundError"
    assert "hf auth login" in str(message)
    kind, message = run(tmp_path, hub, "me/tiny", "v9")
    assert kind == "ModelNotFoundError"
    assert "no revision 'v9'" in str(message)


def cached(home: Path, files: dict[str, bytes]) -> None:
    """Lay out a cache as the client does: blobs, snapshots of links to them, refs."""
    root = home / "hub" / "models--me--tiny"
    for folder in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (root / folder).mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    for name, data in files.items():
        blob = root / "blobs" / hashlib.sha1(data).hexdigest()
        blob.write_bytes(data)
        (root / "snapshots" / COMMIT / name).symlink_to(f"../../blobs/{blob.name}")


def test_the_offline_cache_layout(tmp_path: Path) -> None:
    cached(tmp_path, {"config.json": b"{}", "model.safetensors": WEIGHTS})
    name, revision, values, files = run(tmp_path, "http://127.0.0.1:9", "me/tiny", offline=True)
    assert [name, revision, values] == EXPECTED[:3]
    assert files == ["config.json", "model.safetensors"]
    assert run(tmp_path, "http://127.0.0.1:9", "me/tiny", COMMIT, offline=True)[1] == revision


def test_a_repository_without_readable_weights(tmp_path: Path) -> None:
    cached(tmp_path, {"config.json": b"{}", "flax_model.msgpack": b"x"})
    kind, message = run(tmp_path, "http://127.0.0.1:9", "me/tiny", offline=True)
    assert kind == "ModelNotFoundError"
    assert "holds neither" in str(message)


@pytest.mark.parametrize("offline", [True, False])
def test_no_hub_names_what_works_without_one(tmp_path: Path, offline: bool) -> None:
    kind, message = run(tmp_path, "http://127.0.0.1:9", "me/tiny", offline=offline)
    assert kind == "NoHubError"
    for alternative in ("model=llama", "model=minilm", "model=smollm2", "model=synthetic", "model=/path"):
        assert alternative in str(message)


@pytest.mark.parametrize("name", ["a/b/c", "", "../x", "a b"])
def test_ids_that_are_none(name: str) -> None:
    with pytest.raises(ModelNotFoundError):
        open_model(HubSource(name))
