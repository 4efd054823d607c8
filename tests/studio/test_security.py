"""Who may not ask is refused, what must not be read is not, and too much of anything changes nothing."""

from __future__ import annotations

import http.client
import io
import json
import resource
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from seewhy.errors import SeeWhyError
from seewhy.studio.app import application, openapi
from seewhy.studio.lifecycle import Running
from seewhy.studio.security import POLICY, Guard
from seewhy.studio.sources import MAX_UPLOAD, Sources, _plain
from studio_client import Client

DESCRIBED: dict[str, Any] = openapi()
ROUTES = [(method.upper(), path) for path, verbs in DESCRIBED["paths"].items() for method in verbs]
MARK = b"TOP-SECRET"


def filled(path: str, value: str = "x") -> str:
    """Return a route's path with something in place of its parameters."""
    parts = [value if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts).replace("{name}.{ending}", f"{value}.json")


def refused(client: Client, method: str, path: str, headers: dict[str, str], body: Any = None) -> int:
    """Return the status of a request that must be refused, and look whether the words are right."""
    status, content, answer = client.ask(method, path, body, headers)
    said = json.loads(content)["error"]
    assert said["found"]
    assert answer.headers["content-security-policy"] == POLICY
    return status


# -- who asks --------------------------------------------------------------------------------


def test_there_are_routes() -> None:
    assert len(ROUTES) > 20
    assert ("POST", "/api/explain") in ROUTES


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_wants_the_token(client: Client, method: str, path: str) -> None:
    wrong = client.token[:-1] + ("a" if client.token[-1] != "a" else "b")
    for headers in ({}, {"Authorization": f"Bearer {wrong}"}, {"Authorization": client.token}):
        assert refused(client, method, filled(path), headers) == 401
    assert refused(client, method, f"{filled(path)}?token={client.token}", {}) == 401


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_another_site(client: Client, method: str, path: str) -> None:
    own = {"Authorization": f"Bearer {client.token}"}
    for headers in (
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{client.port + 1}"},
        {"Origin": f"https://127.0.0.1:{client.port}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "example.org"},
        {"Host": f"example.org:{client.port}"},
        {"Host": f"127.0.0.1.example.org:{client.port}"},
        {"Host": ""},
    ):
        assert refused(client, method, filled(path), {**own, **headers}) == 403


def test_its_own_page_is_answered(client: Client) -> None:
    for host in (f"127.0.0.1:{client.port}", f"localhost:{client.port}", "localhost:9999"):
        headers = {
            "Authorization": f"Bearer {client.token}",
            "Host": host,
            "Origin": f"http://{host}",
            "Sec-Fetch-Site": "same-origin",
        }
        assert client.ask("GET", "/api/images", headers=headers)[0] == 200


@pytest.fixture
def page(running: Running, tmp_path: Path) -> Iterator[Client]:
    """A client of a studio with a built page."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>")
    (tmp_path / "assets" / "a.js").write_text("1")
    (tmp_path / "private.txt").write_bytes(MARK)
    before = running._server.config.loaded_app
    running._server.config.loaded_app = application(running.session, running._token, tmp_path)
    yield Client(running.url)
    running._server.config.loaded_app = before


def test_the_page_opens_with_the_token_alone(page: Client) -> None:
    status, content, answer = page.ask("GET", f"/?token={page.token}", headers={})
    assert (status, b"page" in content) == (200, True)
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    for address in ("/", "/?token=", "/?token=wrong", f"/?token={page.token}x"):
        status, content, answer = page.ask("GET", address, headers={})
        assert status == 403
        assert b"seewhy studio" in content
        assert page.token.encode() not in content
    status, _, answer = page.ask("GET", "/assets/a.js", headers={})
    assert (status, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    assert "javascript" in str(answer.headers["content-type"])
    for outside in (
        "..%2Fprivate.txt",
        "%2e%2e/private.txt",
        "../private.txt",
        "..%5Cprivate.txt",
        "%2Fetc%2Fpasswd",
    ):
        status, content, _ = page.ask("GET", f"/assets/{outside}", headers={})
        assert status in (401, 403, 404)
        assert MARK not in content


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_pages_are_only_read(client: Client, method: str) -> None:
    assert refused(client, method, "/", {}) == 405


def test_no_other_site_is_let_in(client: Client) -> None:
    preflight = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    status, _, answer = client.ask("OPTIONS", "/api/explain", headers=preflight)
    assert status == 403
    assert not [k for k in answer.headers if k.casefold().startswith("access-control")]


def test_the_machinery_of_descriptions_is_shut(client: Client) -> None:
    for path in ("/docs", "/redoc", "/openapi.json", "/api/docs"):
        assert client.ask("GET", path)[0] == 404


# -- what is read --------------------------------------------------------------------------------


def texts(place: Path) -> list[str]:
    """Return ways to say what nobody may read."""
    secret = place / "outside" / "secret.txt"
    return [
        str(secret),
        str(place / "outside"),
        str(place / "outside" / "secret.png"),
        "../outside/secret.txt",
        "../outside",
        "link.png",
        "way-out/secret.txt",
        str(place / "photos" / "way-out" / "secret.png"),
        str(place / "photos" / ".." / "outside" / "secret.txt"),
        f"{place / 'photos'}-other",
        "/etc/passwd",
        "/",
        "~",
        "~root",
        "a\0b",
        "x" * 4000,
        "file:///etc/passwd",
    ]


def bodies(schema: dict[str, Any], text: str) -> dict[str, Any]:
    """Return a body for a route, the text in every place where one can be."""
    body = {}
    for name, of in schema["properties"].items():
        kinds = [of, *of.get("anyOf", ())]
        if any(k.get("type") == "string" and "enum" not in k for k in kinds):
            body[name] = text[:256]
        elif of.get("type") == "array":
            body[name] = [text[:256]]
        elif of.get("type") == "object":
            body[name] = {"explainer": text, "operator": text}
    return body


def reading() -> list[Any]:
    """Return every parameter of every route that takes a text: in the path, the query or the body."""
    found: list[Any] = []
    for path, verbs in DESCRIBED["paths"].items():
        for method, route in verbs.items():
            given = route.get("parameters", ())
            found += [(method.upper(), path, parameter["in"], parameter["name"]) for parameter in given]
            if (body := route.get("requestBody")) is not None:
                (content,) = body["content"].values()
                name = content["schema"]["$ref"].rpartition("/")[2]
                found.append((method.upper(), path, "body", name))
    return found


@pytest.mark.parametrize(("method", "path", "where", "name"), reading())
def test_nothing_outside_the_roots_is_read(
    client: Client, place: Path, photo: str, method: str, path: str, where: str, name: str
) -> None:
    for text in texts(place):
        address, body = filled(path, photo), None
        if where == "path":
            address = "/".join(
                quote(text, safe="") if part.startswith(f"{{{name}}}") else filled(part, photo)
                for part in path.split("/")
            )
            if "{name}.{ending}" in path:
                address = f"/api/maps/{quote(text, safe='')}.json"
        elif where == "query":
            others = [p for m, at, kind, p in reading() if (m, at, kind) == (method, path, "query")]
            address += "?" + "&".join(f"{p}={quote(text if p == name else '0', safe='')}" for p in others)
        else:
            body = bodies(DESCRIBED["components"]["schemas"][name], text)
            if path == "/api/explain":  # all else right, so that the file is what is asked for
                body |= {"model": "0", "image": photo, "method": "ptame"}
                body["parameters"] = {"explainer": text}
        status, content, _ = client.ask(method, address, body)
        assert MARK not in content
        assert b"root:" not in content
        harmless = method == "POST" and path == "/api/images"  # a name, and an empty body
        if where != "query" or not path.startswith(("/api/runs", "/api/concepts")) or harmless:
            assert status >= 400, (address, body, content[:200])
        else:
            assert status >= 400 or content in (b"[]", b"{}"), (address, content[:200])


def test_what_lies_below_the_roots_is_read(client: Client, place: Path) -> None:
    listed = client.get(f"/api/folders?path={quote(str(place / 'photos'))}")
    assert [p["name"] for p in listed["photos"]] == ["a.png", "b.png"], "no links that lead out"
    assert listed["folders"] == ["more"]
    assert listed["parent"] is None
    inner = client.get("/api/folders?path=more")
    assert inner["parent"] == str(place / "photos")
    (entry,) = client.post("/api/images/open", {"path": "more/c.jpg"})
    assert (entry["width"], entry["height"]) == (160, 120)
    status, content, _ = client.ask("GET", f"/api/images/{entry['id']}/full")
    assert status == 200
    assert Image.open(io.BytesIO(content)).size == (160, 120)


def test_refusals_do_not_tell_what_exists(client: Client, place: Path) -> None:
    answers = []
    for name in ("secret.txt", "no-such.txt"):
        status, content, _ = client.ask("POST", "/api/images/open", {"path": str(place / "outside" / name)})
        answers.append((status, json.loads(content)["error"]["found"]))
    assert answers[0] == answers[1]
    assert answers[0][0] == 403


def test_a_folder_that_becomes_a_link_is_not_followed(place: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    content = (place / "photos" / "a.png").read_bytes()
    (root / "inner" / "a.png").write_bytes(content)
    sources = Sources([root], tmp_path)
    (entry,) = sources.open("inner/a.png")
    (root / "inner" / "a.png").unlink()
    (root / "inner").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_bytes(content)
    (root / "inner").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="not below a folder"):
        sources.path(entry.id)


def test_a_photo_that_has_changed_is_not_taken_for_the_old_one(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes((place / "photos" / "a.png").read_bytes())
    sources = Sources([tmp_path], tmp_path)
    (entry,) = sources.open("a.png")
    file.write_bytes((place / "photos" / "b.png").read_bytes())
    with pytest.raises(Exception, match="has changed"):
        sources.path(entry.id)


# -- uploads --------------------------------------------------------------------------------


def upload(client: Client, content: bytes, name: str = "photo.png") -> tuple[int, dict[str, Any]]:
    status, answer, _ = client.ask("POST", f"/api/images?name={quote(name)}", content)
    return status, json.loads(answer)


def bomb(width: int, height: int) -> bytes:
    """Return a PNG that says it has so many pixels and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def photo_bytes(kind: str = "PNG", colour: str = "teal") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (50, 30), colour).save(buffer, kind)
    return buffer.getvalue()


def test_a_photo_is_taken_whatever_it_is_called(client: Client, running: Running) -> None:
    status, entry = upload(client, photo_bytes(), "../../etc/cron.d/evil name;$(touch x).png")
    assert status == 200
    assert Path(entry["path"]).parent == running.session.folder
    assert "/" not in entry["name"]
    assert "$" not in entry["name"]
    assert (entry["source"], entry["width"], entry["height"]) == ("upload", 50, 30)
    assert upload(client, photo_bytes(), "again.png")[1]["id"] == entry["id"]
    events = client.explain(entry["id"], "gradient")
    assert events[-1]["event"] == "done"
    assert entry["path"] in events[-1]["command"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<!doctype html><script>alert(1)</script>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"GIF89a<script>alert(1)</script>",
        photo_bytes()[:60],
        bomb(60_000, 60_000),
        bomb(2**31 - 1, 2**31 - 1),
    ],
    ids=["empty", "svg", "html", "postscript", "polyglot", "cut", "bomb", "largest"],
)
def test_what_is_no_photo_is_refused_by_its_content(client: Client, running: Running, content: bytes) -> None:
    before = set(running.session.folder.iterdir())
    status, answer = upload(client, content, "innocent.png")
    assert status == 400
    assert answer["error"]["kind"] == "UnreadableInput"
    assert "innocent.png" in answer["error"]["asked"]
    assert str(running.session.folder) not in json.dumps(answer)
    assert set(running.session.folder.iterdir()) == before


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_body_is_refused_early_and_memory_stays_flat(
    client: Client, running: Running, chunked: bool
) -> None:
    size, piece, sent = 200_000_000, b"\0" * 1_000_000, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    connection.putrequest("POST", "/api/images?name=large.png")
    connection.putheader("Authorization", f"Bearer {client.token}")
    connection.putheader(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(size))))
    connection.endheaders()
    try:
        while sent < size:
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            sent += len(piece)
    except OSError:
        pass  # the door was shut before all was sent
    else:
        if chunked:
            connection.send(b"0\r\n\r\n")
    answer = connection.getresponse()
    assert answer.status == 413
    assert "40 MB" in json.loads(answer.read())["error"]["found"]
    connection.close()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) * 1024 < 1.5 * MAX_UPLOAD
    assert not [p for p in running.session.folder.iterdir() if p.stat().st_size > MAX_UPLOAD]
    assert not [p for p in running.session.folder.iterdir() if p.name.startswith("upload-")]
    assert client.ask("GET", "/api/about")[0] == 200


def test_other_bodies_may_be_a_megabyte(client: Client) -> None:
    assert client.ask("POST", "/api/explain", b"[" * 1_100_000)[0] == 413
    assert client.ask("POST", "/api/explain", b"[" * 900_000)[0] in (400, 422)


@pytest.mark.parametrize("length", ["-1", "1e9", "abc", "99999999999999999999"])
def test_a_length_that_is_none_is_refused(client: Client, length: str) -> None:
    headers = {"Authorization": f"Bearer {client.token}", "Content-Length": length}
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    connection.request("POST", "/api/images", b"", headers)
    assert connection.getresponse().status in (400, 413)
    connection.close()


def test_a_client_that_leaves_while_it_uploads_leaves_nothing(client: Client, running: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    connection.putrequest("POST", "/api/images?name=half.png")
    connection.putheader("Authorization", f"Bearer {client.token}")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()
    connection.send(b"\0" * 1000)
    connection.close()
    gone = threading.Event()
    for _ in range(200):
        if not [p for p in running.session.folder.iterdir() if p.name.startswith("upload-")]:
            gone.set()
            break
        gone.wait(0.05)
    assert gone.is_set()
    assert client.ask("GET", "/api/about")[0] == 200


@pytest.mark.parametrize(
    "name", ["..", "", "/", "a/b", "\\\\server\\x", "-rf", ".bashrc", "a\nb", "é" * 300, "con\0"]
)
def test_names_become_plain(name: str) -> None:
    plain = _plain(name)
    assert 0 < len(plain) <= 100
    assert not set(plain) & set("/\\\n\0")
    assert plain[0] != "."


def test_unknown_fields_and_models_are_refused(client: Client, photo: str) -> None:
    body = {"panel": "p", "model": "0", "image": photo, "method": "gradient"}
    assert client.ask("POST", "/api/explain", {**body, "spec": "mine.py:make"})[0] == 422
    assert client.ask("POST", "/api/explain", {**body, "model": "mine.py:make"})[0] == 404
    compare = {"panel": "p", "model": "0", "images": [photo], "methods": ["gradient"]}
    status, content, _ = client.ask(
        "POST", "/api/compare", {**compare, "metrics": ["label_randomisation?other=mine.py:make"]}
    )
    assert status == 404
    assert b"no such metric" in content


def test_a_guard_that_let_everybody_in_would_be_seen(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guard, "refused", lambda *_: None)
    assert client.ask("GET", "/api/about", headers={})[0] == 200


def test_a_port_that_is_taken_is_said(running: Running, place: Path) -> None:
    from seewhy.studio.session import Session

    session = Session.open([f"{place / 'model.py'}:make"])
    with pytest.raises(SeeWhyError, match="cannot be used"):
        Running(session, running.port)
    session.close()
