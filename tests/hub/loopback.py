"""A small Hub on this machine's loopback address, for tests that go through the real client libraries.

It knows repositories (models, datasets, spaces) with commits, branches and tags, regular and LFS files, users with
tokens, private and gated repositories, and answers with the statuses and headers that the clients read. Everything is
held in memory. What it does not know it answers with 404, which the clients take for "there is no such file".

    python tests/hub/loopback.py

serves one until it is stopped, for whoever wants to try pushing without an account. It prints its client's settings.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

LFS_SUFFIXES = (".parquet", ".arrow", ".safetensors", ".bin", ".zip", ".onnx")
NOT_FOUND = {"RepoNotFound": "Repository not found", "RevisionNotFound": "Invalid rev id", "EntryNotFound": "No entry"}


class Request(NamedTuple):
    """What a client asked; `path` is without the query."""

    method: str
    path: str
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: bytes = b""

    def json(self) -> dict:
        if "form-urlencoded" in self.headers.get("content-type", ""):
            return parse_qs(self.body.decode())
        return json.loads(self.body or b"{}")


class Reply(NamedTuple):
    body: bytes | dict | list = b""
    status: int = 200
    headers: dict[str, str] = {}


class Refusal(Exception):
    """An answer other than success, with the code by which the client tells the reasons apart."""

    def __init__(self, status: int, code: str = "", message: str = "", commit: str = ""):
        message = message or NOT_FOUND.get(code, "refused")
        headers = {"X-Error-Code": code, "X-Error-Message": message, "X-Repo-Commit": commit}
        self.reply = Reply({"error": message}, status, {name: value for name, value in headers.items() if value})


@dataclass(frozen=True)
class File:
    """A file's bytes; `lfs` says how it came."""

    content: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def blob_id(self) -> str:
        """Git's name for what it stores: the content, or the pointer to it."""
        stored = self.content
        if self.lfs:
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(stored)}\n"
            stored = pointer.encode()
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    def entry(self, path: str) -> dict:
        entry = {"type": "file", "path": path, "oid": self.blob_id, "size": len(self.content)}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": 134}
        return entry


@dataclass
class Repository:
    """Commits are whole trees: commit id -> path -> file."""

    kind: str
    name: str
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, File], message: str) -> str:
        oid = hashlib.sha1(f"{self.kind}/{self.name} {len(self.commits)} {message}".encode()).hexdigest()
        self.commits[oid], self.branches[branch] = files, oid
        self.messages.append(message)
        return oid

    def resolve(self, revision: str) -> str:
        """The commit of a branch, a tag, a full reference or a commit id."""
        revision = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        if oid not in self.commits:
            raise Refusal(404, "RevisionNotFound")
        return oid

    def files(self, revision: str = "main") -> dict[str, File]:
        return self.commits[self.resolve(revision)]


class LoopbackHub:
    """The server; use it as a context manager.

    Attributes:
        endpoint: its address, the clients' `HF_ENDPOINT`.
        requests: `(method, path)` of all requests so far.
        repositories: by `(kind, "user/name")`, `kind` being `models`, `datasets` or `spaces`.
    """

    def __init__(self):
        self.users: dict[str, tuple[str, ...]] = {}  # name -> organisations
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self._failures: list[list] = []
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.hub = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()

    def add_user(self, name: str, *organisations: str) -> str:
        """Return the token of a new user."""
        self.users[name] = organisations
        return f"hf_{name}"

    def fail_next(self, method: str, path: str, *, status: int | None = None, after: int = 0, times: int = 1) -> None:
        """Let requests fail whose path holds `path`: with a status, or by a connection that drops half-way.

        Args:
            method: HTTP method.
            path: a part of the path.
            status: None drops the connection.
            after: so many matching requests are served before.
            times: so many fail, then all is well again.
        """
        self._failures.append([method, path, status, after, times])

    def failure(self, request: Request) -> tuple[int | None] | None:
        """The failure that waits for this request: None, or its status in a tuple."""
        with self._lock:
            for entry in self._failures:
                method, part, status, after, times = entry
                if request.method == method and part in request.path and times > 0:
                    entry[3 if after else 4] -= 1
                    return None if after else (status,)
        return None

    def answer(self, request: Request) -> Reply:
        """Find the route and let it answer."""
        with self._lock:
            try:
                for methods, pattern, route in ROUTES:
                    match = re.fullmatch(pattern, request.path)
                    if match and request.method in methods.split():
                        groups = {name: unquote(value or "") for name, value in match.groupdict().items()}
                        return route(self, request, **groups)
                return Reply({"error": "there is no such route"}, 404)
            except Refusal as refusal:
                return refusal.reply

    # Who asks, and for what.

    def user(self, request: Request) -> str | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not token:
            return None
        if token.removeprefix("hf_") not in self.users or not token.startswith("hf_"):
            raise Refusal(401, message="Invalid credentials in Authorization header")
        return token.removeprefix("hf_")

    def may_write(self, user: str | None, name: str) -> bool:
        return user is not None and name.split("/")[0] in (user, *self.users[user])

    def repository(self, request: Request, kind: str, name: str, *, write: bool = False) -> Repository:
        """The repository, if the asking user may see it; a private one is not there for others."""
        user = self.user(request)
        found = self.repositories.get((kind or "models", name))
        if found is None or (found.private and not self.may_write(user, name)):
            raise Refusal(404 if user else 401, "RepoNotFound")
        if write and not self.may_write(user, name):
            raise Refusal(403 if user else 401, message="You don't have the rights to write here")
        return found

    # The routes. `kind` is empty for models where the clients leave it out.

    def whoami(self, request: Request) -> Reply:
        user = self.user(request)
        if user is None:
            raise Refusal(401, message="Invalid username or password.")
        organisations = [{"name": name} for name in self.users[user]]
        token = {"displayName": "test", "role": "write"}
        return Reply({"type": "user", "name": user, "orgs": organisations, "auth": {"accessToken": token}})

    def create(self, request: Request) -> Reply:
        asked, user = request.json(), self.user(request)
        if user is None:
            raise Refusal(401, message="Invalid username or password.")
        kind, name = asked.get("type", "model") + "s", f"{asked.get('organization') or user}/{asked['name']}"
        if not self.may_write(user, name):
            raise Refusal(403, message=f"You don't have the rights to create {kind} under this namespace")
        url = {"url": f"{self.endpoint}/{_prefix(kind)}{name}", "name": name}
        if (kind, name) in self.repositories:
            return Reply({**url, "error": "You already created this repo"}, 409)
        private = asked.get("private", False) or asked.get("visibility") == "private"
        created = self.repositories[kind, name] = Repository(kind, name, private)
        created.commit("main", {".gitattributes": File(b"*.parquet filter=lfs\n")}, "initial commit")
        return Reply(url)

    def delete(self, request: Request) -> Reply:
        asked, user = request.json(), self.user(request)
        kind, name = asked.get("type", "model") + "s", f"{asked.get('organization') or user}/{asked['name']}"
        self.repository(request, kind, name, write=True)
        del self.repositories[kind, name]
        return Reply()

    def settings(self, request: Request, kind: str, name: str) -> Reply:
        repository, asked = self.repository(request, kind, name, write=True), request.json()
        if "visibility" in asked or "private" in asked:
            repository.private = asked.get("private", False) or asked.get("visibility") == "private"
        repository.gated = bool(asked.get("gated", repository.gated))
        return Reply({})

    def info(self, request: Request, kind: str, name: str, revision: str = "") -> Reply:
        repository = self.repository(request, kind, name)
        oid = repository.resolve(revision or "main")
        siblings = [
            {"rfilename": path, "size": len(file.content), "blobId": file.blob_id}
            for path, file in sorted(repository.commits[oid].items())
        ]
        dates = dict.fromkeys(("lastModified", "createdAt"), "2026-01-01T00:00:00.000Z")
        flags = {"private": repository.private, "gated": "auto" if repository.gated else False, "disabled": False}
        counts = {"tags": [], "downloads": 0, "likes": 0}
        return Reply({"id": name, "sha": oid, "siblings": siblings, **dates, **flags, **counts})

    def refs(self, request: Request, kind: str, name: str) -> Reply:
        repository = self.repository(request, kind, name)

        def entries(heads: dict[str, str], space: str) -> list[dict]:
            return [{"name": n, "ref": f"refs/{space}/{n}", "targetCommit": oid} for n, oid in heads.items()]

        branches, tags = entries(repository.branches, "heads"), entries(repository.tags, "tags")
        return Reply({"branches": branches, "tags": tags, "converts": []})

    def branch(self, request: Request, kind: str, name: str, branch: str) -> Reply:
        repository = self.repository(request, kind, name, write=True)
        if branch in repository.branches:
            raise Refusal(409, message="Reference already exists")
        repository.branches[branch] = repository.resolve(request.json().get("startingPoint", "main"))
        return Reply({})

    def tag(self, request: Request, kind: str, name: str, revision: str) -> Reply:
        repository, tag = self.repository(request, kind, name, write=True), request.json()["tag"]
        if tag in repository.tags:
            raise Refusal(409, message="Tag already exists")
        repository.tags[tag] = repository.resolve(revision)
        return Reply({})

    def tree(self, request: Request, kind: str, name: str, revision: str, path: str) -> Reply:
        repository = self.repository(request, kind, name)
        oid = repository.resolve(revision)
        inside = f"{path}/" if path else ""
        files = {p: f for p, f in sorted(repository.commits[oid].items()) if p.startswith(inside)}
        if path and not files:
            raise Refusal(404, "EntryNotFound", commit=oid)
        deep = request.query.get("recursive", "").lower() in ("true", "1")
        folders = {p[:i] for p in files for i in range(len(inside), len(p)) if p[i] == "/"}
        paths = [p for p in sorted({*files, *folders}) if deep or "/" not in p[len(inside) :]]
        return Reply([_entry(p, files.get(p)) for p in paths])

    def paths_info(self, request: Request, kind: str, name: str, revision: str) -> Reply:
        files = self.repository(request, kind, name).files(revision)
        asked = [path for path in request.json()["paths"] if any(p == path or p.startswith(f"{path}/") for p in files)]
        return Reply([_entry(path, files.get(path)) for path in asked])

    def preupload(self, request: Request, kind: str, name: str, revision: str) -> Reply:
        files = self.repository(request, kind, name, write=True).files(revision)
        modes = []
        for asked in request.json()["files"]:
            mode = {"path": asked["path"], "shouldIgnore": False, "uploadMode": "regular"}
            if asked["path"].endswith(LFS_SUFFIXES):
                mode["uploadMode"] = "lfs"
            if (there := files.get(asked["path"])) is not None:  # by this the client sees what has not changed
                mode["oid"] = there.sha256 if there.lfs else there.blob_id
            modes.append(mode)
        return Reply({"files": modes})

    def lfs_batch(self, request: Request, kind: str, name: str) -> Reply:
        blobs = self.repository(request, kind, name, write=True).blobs
        objects = []
        for asked in request.json()["objects"]:
            answer = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in blobs:  # without actions the client takes it as uploaded
                store = f"{self.endpoint}/lfs/{kind or 'models'}/{name}/{asked['oid']}"
                answer["actions"] = {"upload": {"href": store}, "verify": {"href": f"{store}/verify"}}
            objects.append(answer)
        return Reply({"transfer": "basic", "objects": objects})

    def lfs_put(self, request: Request, kind: str, name: str, oid: str) -> Reply:
        if hashlib.sha256(request.body).hexdigest() != oid:
            raise Refusal(400, message="the content is not that of its name")
        self.repositories[kind, name].blobs[oid] = request.body
        return Reply()

    def lfs_verify(self, request: Request, kind: str, name: str, oid: str) -> Reply:
        return Reply({}, 200 if oid in self.repositories[kind, name].blobs else 404)

    def commit(self, request: Request, kind: str, name: str, revision: str) -> Reply:
        repository = self.repository(request, kind, name, write=True)
        if revision not in repository.branches:
            raise Refusal(404, "RevisionNotFound")
        files, message = dict(repository.files(revision)), ""
        for line in request.body.splitlines():
            operation = json.loads(line)
            key, value = operation["key"], operation["value"]
            path = value.get("path", "").rstrip("/")
            if key == "header":
                message = value["summary"]
                if value.get("parentCommit") not in (None, repository.branches[revision]):
                    raise Refusal(412, message="A commit has happened since. Please refresh and try again.")
            elif key == "file":
                files[path] = File(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                if value["oid"] not in repository.blobs:
                    raise Refusal(400, message=f"the content of {path} was not uploaded")
                files[path] = File(repository.blobs[value["oid"]], lfs=True)
            elif key == "copyFile":
                files[path] = repository.files(value.get("srcRevision", revision))[value["srcPath"]]
            elif key == "deletedFile":
                if files.pop(path, None) is None:
                    raise Refusal(404, "EntryNotFound", message="A file with this name doesn't exist")
            elif key == "deletedFolder":
                files = {p: file for p, file in files.items() if not p.startswith(f"{path}/")}
        oid = repository.commit(revision, files, message)
        url = f"{self.endpoint}/{_prefix(repository.kind)}{name}/commit/{oid}"
        return Reply({"success": True, "commitOid": oid, "commitUrl": url})

    def validate_yaml(self, request: Request) -> Reply:
        return Reply({"errors": [], "warnings": []})

    def resolve(self, request: Request, kind: str, name: str, revision: str, path: str) -> Reply:
        repository = self.repository(request, kind, name)
        if repository.gated and not self.may_write(self.user(request), name):
            raise Refusal(403 if self.user(request) else 401, "GatedRepo", "Access to this repository is restricted")
        oid = repository.resolve(revision)
        file = repository.commits[oid].get(path)
        if file is None:
            raise Refusal(404, "EntryNotFound", commit=oid)  # the client remembers that it is missing at this commit
        headers = {"X-Repo-Commit": oid, "ETag": f'"{file.blob_id}"', "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
        size = len(file.content)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
        if asked is None:
            return Reply(file.content, 200, headers)
        first, last = asked.groups()
        start = int(first) if first else max(size - int(last), 0)
        stop = min(int(last) + 1, size) if first and last else size
        if start >= size:
            return Reply(b"", 416, {**headers, "Content-Range": f"bytes */{size}"})
        return Reply(file.content[start:stop], 206, {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"})


def _prefix(kind: str) -> str:
    return "" if kind == "models" else f"{kind}/"


def _entry(path: str, file: File | None) -> dict:
    if file is None:
        return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}
    return file.entry(path)


_NAME = r"(?P<name>[^/]+/[^/]+)"
_API = rf"/api/(?P<kind>models|datasets|spaces)/{_NAME}"
_WEB = rf"/(?:(?P<kind>datasets|spaces)/)?{_NAME}"
_LFS = rf"/lfs/(?P<kind>models|datasets|spaces)/{_NAME}/(?P<oid>\w+)"
_REVISION = r"(?P<revision>[^/]+)"
ROUTES = [
    ("GET", r"/api/whoami-v2", LoopbackHub.whoami),
    ("POST", r"/api/repos/create", LoopbackHub.create),
    ("DELETE", r"/api/repos/delete", LoopbackHub.delete),
    ("POST", r"/api/validate-yaml", LoopbackHub.validate_yaml),
    ("PUT", rf"{_API}/settings", LoopbackHub.settings),
    ("GET", rf"{_API}(?:/revision/{_REVISION})?", LoopbackHub.info),
    ("GET", rf"{_API}/refs", LoopbackHub.refs),
    ("POST", rf"{_API}/branch/(?P<branch>[^/]+)", LoopbackHub.branch),
    ("POST", rf"{_API}/tag/{_REVISION}", LoopbackHub.tag),
    ("GET", rf"{_API}/tree/{_REVISION}(?:/(?P<path>.+?))?/?", LoopbackHub.tree),
    ("POST", rf"{_API}/paths-info/{_REVISION}", LoopbackHub.paths_info),
    ("POST", rf"{_API}/preupload/{_REVISION}", LoopbackHub.preupload),
    ("POST", rf"{_API}/commit/{_REVISION}", LoopbackHub.commit),
    ("POST", rf"{_WEB}\.git/info/lfs/objects/batch", LoopbackHub.lfs_batch),
    ("PUT", _LFS, LoopbackHub.lfs_put),
    ("POST", rf"{_LFS}/verify", LoopbackHub.lfs_verify),
    ("GET HEAD", rf"{_WEB}/resolve/{_REVISION}/(?P<path>.+)", LoopbackHub.resolve),
]


class _Handler(BaseHTTPRequestHandler):
    """Between HTTP and the hub: reads a request, writes its reply."""

    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        hub: LoopbackHub = self.server.hub
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        request = Request(self.command, url.path, query, headers)
        hub.requests.append((self.command, unquote(url.path)))
        failure = hub.failure(request)
        if failure == (None,) and self.command in ("PUT", "POST"):
            self.rfile.read(int(headers.get("content-length", 0)) // 2)
            self.close_connection = True
            return
        request = request._replace(body=b"".join(self._body(headers)))
        reply = hub.answer(request) if failure in (None, (None,)) else Reply({"error": "as the test wants"}, failure[0])
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if failure == (None,):
            body, self.close_connection = body[: len(body) // 2], True
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):  # a client may leave when it has read enough
                self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def _body(self, headers: dict[str, str]) -> Iterator[bytes]:
        if headers.get("transfer-encoding", "") != "chunked":
            yield self.rfile.read(int(headers.get("content-length", 0)))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, *args) -> None:
        """Say nothing."""


def main() -> None:
    """Serve a hub with the user `user`, who is in the organisation `org`, until it is stopped."""
    with LoopbackHub() as hub:
        token = hub.add_user("user", "org")
        print(f"export HF_ENDPOINT={hub.endpoint} HF_TOKEN={token} HF_HUB_DISABLE_XET=1 HF_HUB_OFFLINE=0", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
