"""The loopback Hub itself, through the real client."""

import json
import urllib.error
import urllib.request

import pytest

PUSH = """
from huggingface_hub import HfApi
api = HfApi()
kind, name, folder = arguments
api.create_repo(name, repo_type=kind, exist_ok=True, space_sdk="gradio" if kind == "space" else None)
print(api.upload_folder(repo_id=name, repo_type=kind, folder_path=folder, commit_message="second").oid)
"""
ERRORS = """
import json
from huggingface_hub import HfApi, hf_hub_download
names = {}
for what, asked in arguments[0].items():
    try:
        method = asked.pop("method")
        (hf_hub_download if method == "download" else getattr(HfApi(), method))(**asked)
        names[what] = "fine"
    except Exception as error:
        names[what] = f"{type(error).__name__} {error.response.status_code}"
print(json.dumps(names))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    (folder / "inside").mkdir()
    (folder / "README.md").write_text("# hello\n")
    (folder / "inside" / "a.json").write_text("{}")
    (folder / "inside" / "b.bin").write_bytes(bytes(range(256)) * 300)
    return folder


@pytest.fixture(scope="module")
def pushed(loopback_hub, session, folder):
    session.run(PUSH, "dataset", "user/pushed", str(folder))
    return loopback_hub.repositories["datasets", "user/pushed"]


def fetch(hub, path: str, method: str = "GET", **headers) -> tuple[int, dict, bytes]:
    """Status, headers and body of a request without a client library."""
    request = urllib.request.Request(hub.endpoint + path, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, dict(reply.headers), reply.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_a_folder_arrives_as_it_is_and_a_second_push_changes_nothing(loopback_hub, session, folder, kind):
    name = f"clinic/folder-{kind}"
    oid = session.run(PUSH, kind, name, str(folder)).strip()
    repository = loopback_hub.repositories[f"{kind}s", name]
    files = {path: file for path, file in repository.files().items() if path != ".gitattributes"}
    assert set(files) == {"README.md", "inside/a.json", "inside/b.bin"}
    for path, file in files.items():
        assert file.content == (folder / path).read_bytes()
    assert [path for path, file in files.items() if file.lfs] == ["inside/b.bin"]
    assert repository.messages == ["initial commit", "second"]
    assert session.run(PUSH, kind, name, str(folder)).strip() == oid == repository.branches["main"]
    assert len(repository.commits) == 2


def test_ranges(loopback_hub, session, folder, pushed):
    path = "/datasets/user/pushed/resolve/main/inside/b.bin"
    content = (folder / "inside" / "b.bin").read_bytes()
    size = len(content)
    for asked, start, stop in [
        ("5-9", 5, 10),
        ("76000-", 76000, size),
        ("-7", size - 7, size),
        ("76799-99999", 76799, size),
    ]:
        status, headers, body = fetch(loopback_hub, path, Range=f"bytes={asked}")
        assert (status, headers["Content-Range"]) == (206, f"bytes {start}-{stop - 1}/{size}")
        assert body == content[start:stop]
    status, headers, _ = fetch(loopback_hub, path, Range=f"bytes={size}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{size}")
    status, headers, body = fetch(loopback_hub, path, method="HEAD")
    assert (status, headers["Content-Length"], headers["X-Linked-Size"], body) == (200, str(size), str(size), b"")
    code = """
from huggingface_hub import HfFileSystem
with HfFileSystem().open("datasets/user/pushed/inside/b.bin", block_size=1000) as file:
    file.seek(-3, 2)
    print(file.read().hex())
"""
    assert session.run(code).strip() == content[-3:].hex()


def test_what_is_not_there_is_told_apart(loopback_hub, session, pushed):
    there = {"repo_id": "user/pushed", "repo_type": "dataset"}
    cases = {
        "no repository": {"method": "dataset_info", "repo_id": "user/none"},
        "no such kind": {"method": "model_info", "repo_id": "user/pushed"},
        "no revision": {"method": "download", **there, "filename": "README.md", "revision": "v9"},
        "no file": {"method": "download", **there, "filename": "none.txt"},
        "no folder": {"method": "get_paths_info", **there, "paths": ["none"]},
        "foreign namespace": {"method": "create_repo", "repo_id": "other/mine"},
        "there already": {"method": "create_repo", **there},
    }
    assert json.loads(session.run(ERRORS, cases)) == {
        "no repository": "RepositoryNotFoundError 404",
        "no such kind": "RepositoryNotFoundError 404",
        "no revision": "RevisionNotFoundError 404",
        "no file": "RemoteEntryNotFoundError 404",
        "no folder": "fine",
        "foreign namespace": "HfHubHTTPError 403",
        "there already": "HfHubHTTPError 409",
    }
    assert fetch(loopback_hub, "/api/datasets/user/pushed/tree/main/none")[1]["X-Error-Code"] == "EntryNotFound"
    assert fetch(loopback_hub, "/api/unheard-of")[0] == 404


def test_branches_tags_and_the_operations_of_a_commit(loopback_hub, session, folder):
    session.run(PUSH, "model", "user/operations", str(folder))
    repository = loopback_hub.repositories["models", "user/operations"]
    first = repository.branches["main"]
    code = """
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, snapshot_download
api, name = HfApi(), "user/operations"
api.create_tag(name, tag="v1")
api.create_branch(name, branch="next")
api.create_branch(name, branch="next", exist_ok=True)
operations = [
    CommitOperationAdd("new.txt", b"new"),
    CommitOperationCopy("inside/b.bin", "copied.bin"),
    CommitOperationDelete("inside/"),
    CommitOperationDelete("README.md"),
]
api.create_commit(name, operations, commit_message="all", revision="next", parent_commit=arguments[0])
try:
    stale = [CommitOperationAdd("late.txt", b"late")]
    api.create_commit(name, stale, commit_message="late", revision="next", parent_commit=arguments[0])
except Exception as error:
    print(type(error).__name__, error.response.status_code)
refs = api.list_repo_refs(name)
print(*[ref.name for ref in refs.branches + refs.tags])
print(*api.list_repo_files(name, revision="next"))
print(*[entry.path for entry in api.list_repo_tree(name, revision="v1")])
print(*[entry.path for entry in api.list_repo_tree(name, "inside", revision="v1")])
print(*[entry.path for entry in api.get_paths_info(name, ["inside", "new.txt"], revision="v1")])
api.delete_repo(name)
print(api.repo_exists(name))
"""
    late, refs, files, top, inside, info, exists = session.run(code, first).splitlines()
    assert late == "HfHubHTTPError 412"
    assert refs.split() == ["main", "next", "v1"]
    assert files.split() == [".gitattributes", "copied.bin", "new.txt"]
    assert top.split() == [".gitattributes", "README.md", "inside"]
    assert inside.split() == ["inside/a.json", "inside/b.bin"]
    assert info == "inside"
    assert exists == "False"
    assert repository.files("next")["copied.bin"].content == (folder / "inside" / "b.bin").read_bytes()
    assert repository.branches["main"] == first
