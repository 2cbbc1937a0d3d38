"""Against a real server on the loopback; nothing here reaches another one."""

import errno
import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from mets_ecg import __version__
from mets_ecg.data.building import download as module
from mets_ecg.data.building.download import DownloadSummary, download

SOURCE = Path(module.__file__).parents[2]
LARGE = bytes(range(256)) * 2000  # 512,000 bytes, several chunks
FILES = {
    "LICENSE.txt": b"CC BY 4.0",
    "table.csv": b"ecg_id,report\n1,sinus\n",
    "empty.txt": b"",
    "records100/00000/1_lr.dat": LARGE,
    "records100/00000/1_lr.hea": b"1_lr 12 100 1000\n",
    "records500/a name #1.dat": b"500 Hz",
}
DAT = "records100/00000/1_lr.dat"


class Server(ThreadingHTTPServer):
    """Serves `files`; `plans[path]` holds what goes wrong, an entry a request, the first for ever if `...` follows."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(files)
        self.plans, self.log, self.num_connections, self.released = {}, [], 0, threading.Event()
        self.listing = "".join(f"{hashlib.sha256(body).hexdigest()}  {path}\n" for path, body in files.items())

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/files/db/1.0/"

    def requests(self, path):
        return [entry for entry in self.log if entry["path"] == path]

    def next_step(self, path):
        plan = self.plans.get(path, [])
        if plan[1:] == [...]:
            return plan[0]
        return plan.pop(0) if plan else {}

    def process_request(self, request, client_address):
        self.num_connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):
        pass  # clients that hang up are what is tested


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        path = unquote(self.path).removeprefix("/files/db/1.0/")
        step = server.next_step(path)
        entry = {"path": path, "headers": dict(self.headers)}
        server.log.append(entry)
        body = server.listing.encode() if path == "SHA256SUMS.txt" else server.files.get(path)
        status, extra = 200, {}
        if "status" in step:
            status, body, extra = step["status"], b"", step.get("headers", {})
        elif body is None:
            status, body = 404, b"no"
        if step.get("corrupt"):
            body = bytes(byte ^ 1 for byte in body)
        entry["status"] = status
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **extra}.items():
            self.send_header(name, value)
        self.end_headers()
        end = step.get("cut", len(body))
        for at in range(0, end, 50_000):
            piece = body[at : min(end, at + 50_000)]
            self.wfile.write(piece)
            time.sleep(step.get("delay", 0))
        if step.get("stall"):
            self.wfile.flush()
            server.released.wait(30)
        if end < len(body):
            if step.get("reset"):
                time.sleep(0.1)  # what was sent should arrive before the reset
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())
            self.close_connection = True


@pytest.fixture
def make_server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module, "_BACKOFF", 0.01)
    servers = []

    def make(files=FILES):
        server = Server(files)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.released.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(make_server):
    return make_server()


def get(server, folder, **options):
    return download(server.url, folder, **{"num_workers": 3, "max_retries": 2, **options})


def contents(folder):
    """Everything in the folder but what the download keeps for itself."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    own = {".download.lock", "SHA256SUMS.txt"}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.name not in own}


# What is downloaded.


def test_the_publishers_layout_is_downloaded(server, tmp_path):
    summary = get(server, tmp_path / "new" / "db")
    assert contents(tmp_path / "new" / "db") == FILES
    assert (tmp_path / "new" / "db" / "SHA256SUMS.txt").read_text() == server.listing
    assert (summary.num_files, summary.num_present) == (len(FILES), 0)
    assert summary.num_bytes == sum(map(len, FILES.values())) and 0 < summary.seconds < 10
    assert {entry["headers"]["User-Agent"] for entry in server.log} == {f"mets-ecg/{__version__}"}
    assert {entry["headers"]["Accept-Encoding"] for entry in server.log} == {"identity"}


def test_a_second_run_downloads_nothing(server, tmp_path):
    get(server, tmp_path)
    server.log.clear()
    summary = get(server, tmp_path)
    assert [entry["path"] for entry in server.log] == ["SHA256SUMS.txt"]
    assert (summary.num_files, summary.num_present, summary.num_bytes) == (len(FILES), len(FILES), 0)


def test_connections_are_kept(make_server, tmp_path):
    server = make_server({f"{i}.txt": b"x" for i in range(200)})
    get(server, tmp_path, num_workers=4)
    assert len(server.log) == 201 and server.num_connections <= 5


def test_patterns_choose(server, tmp_path):
    summary = get(server, tmp_path, patterns=("*.csv", "records100/*", "SHA256SUMS.txt"))
    assert sorted(contents(tmp_path)) == [DAT, DAT.replace(".dat", ".hea"), "table.csv"]
    assert summary.num_files == 3
    assert get(server, tmp_path, patterns=["SHA256SUMS.txt"]).num_files == 0


def test_a_pattern_without_a_match_is_named(server, tmp_path):
    with pytest.raises(ValueError, match=r"pattern 'records1000/\*'; there are LICENSE.txt, table.csv"):
        get(server, tmp_path / "db", patterns=("*.csv", "records1000/*"))
    assert not (tmp_path / "db").exists()


@pytest.mark.parametrize("form", ["{0} {1}", "{0} *{1}", "{0}  ./{1}\r", "\n{0}\t{1}"])
def test_forms_of_the_list(server, tmp_path, form):
    lines = [line.split("  ") for line in server.listing.splitlines()]
    server.listing = "\n".join(form.format(digest.upper(), path) for digest, path in lines)
    get(server, tmp_path)
    assert contents(tmp_path) == FILES


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/evil", "a/../../evil", "a//evil", "C:evil", "..\\evil", "ev\x00il", ".download.lock"]
)
def test_a_path_that_leaves_the_folder_is_refused(server, tmp_path, path):
    server.listing += f"{'0' * 64}  {path}\n"
    with pytest.raises(ValueError, match=f"line 7 of .*{re.escape(repr(path))}.*nothing was downloaded"):
        get(server, tmp_path / "db", patterns=["*.csv"])
    assert list(tmp_path.iterdir()) == [] and len(server.log) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("<html>log in</html>", "is '<html>log in</html>' where a SHA-256 and a path should be"),
        (f"{'0' * 64}  table.csv", "gives 'table.csv' a second checksum"),
    ],
)
def test_a_list_that_cannot_be_used(server, tmp_path, line, reason):
    server.listing += line + "\n"
    with pytest.raises(ValueError, match=re.escape(reason)):
        get(server, tmp_path / "db")
    assert not (tmp_path / "db").exists()


def test_an_address_without_a_list(server, tmp_path):
    server.plans["SHA256SUMS.txt"] = [{"status": 404}, ...]
    with pytest.raises(OSError, match="list of files cannot be downloaded: SHA256SUMS.txt: 404 .*such as"):
        get(server, tmp_path / "db")
    assert not (tmp_path / "db").exists() and len(server.log) == 1


def test_a_summary_reads_as_a_sentence():
    assert str(DownloadSummary(10, 0, 2_340_000, 3.2)) == "10 files, 2.34MB, in 3 s"
    assert str(DownloadSummary(10, 7, 2_340_000, 3.2)) == "3 files, 2.34MB, in 3 s; 7 were there already"


# Connections that break, and servers that answer strangely.


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("cut", [0, 300_000])
def test_a_broken_connection_is_tried_again(server, tmp_path, reset, cut):
    server.plans[DAT] = [{"cut": cut, "reset": reset}]
    get(server, tmp_path)
    assert contents(tmp_path) == FILES
    assert len(server.requests(DAT)) == 2


def test_a_file_that_always_breaks_off_is_named_and_brought_by_the_next_run(server, tmp_path):
    server.plans[DAT] = [{"cut": 130_000}] * 3
    with pytest.raises(OSError, match=rf"1 of 6 files could not be downloaded: {DAT}: .*same command again"):
        get(server, tmp_path)
    assert len(server.requests(DAT)) == 3
    assert contents(tmp_path).keys() - {f"{DAT}.part"} == FILES.keys() - {DAT}
    server.log.clear()
    summary = get(server, tmp_path)
    assert contents(tmp_path) == FILES and (summary.num_present, summary.num_bytes) == (5, len(LARGE))
    assert [entry["path"] for entry in server.log] == ["SHA256SUMS.txt", DAT]


@pytest.mark.parametrize("left", [LARGE[:1000], b"x" * len(LARGE), LARGE + b"x"])
def test_a_part_that_an_earlier_run_left_does_no_harm(server, tmp_path, left):
    part = tmp_path / f"{DAT}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    get(server, tmp_path)
    assert contents(tmp_path) == FILES


def test_a_wrong_checksum_is_tried_again(server, tmp_path):
    server.plans[DAT] = [{"corrupt": True}]
    get(server, tmp_path)
    assert contents(tmp_path) == FILES
    assert len(server.requests(DAT)) == 2


def test_a_checksum_that_stays_wrong_is_an_error(server, tmp_path):
    server.plans["table.csv"] = [{"corrupt": True}, ...]
    right = hashlib.sha256(FILES["table.csv"]).hexdigest()
    wrong = hashlib.sha256(bytes(byte ^ 1 for byte in FILES["table.csv"])).hexdigest()
    with pytest.raises(OSError, match=f"table.csv: wrong checksum {wrong}, SHA256SUMS.txt says {right}"):
        get(server, tmp_path, num_workers=1)
    assert contents(tmp_path) == {path: body for path, body in FILES.items() if path != "table.csv"}
    assert len(server.requests("table.csv")) == 3


def test_a_busy_server_is_waited_for_as_it_asks(server, tmp_path):
    server.plans["table.csv"] = [{"status": 503}, {"status": 429, "headers": {"Retry-After": "1"}}]
    started = time.monotonic()
    get(server, tmp_path)
    assert contents(tmp_path) == FILES
    assert time.monotonic() - started >= 1
    assert [entry["status"] for entry in server.requests("table.csv")] == [503, 429, 200]


def test_a_file_that_needs_a_login_says_where_it_goes(server, tmp_path):
    server.plans["table.csv"] = [{"status": 403}]
    with pytest.raises(OSError, match="table.csv: 403 .*login in ~/.netrc"):
        get(server, tmp_path)


@pytest.mark.parametrize("asked", ["100000", "Fri, 01 Jan 2100 00:00:00 GMT", "?"])
def test_a_wait_has_a_limit(server, tmp_path, monkeypatch, asked):
    monkeypatch.setattr(module, "_LONGEST_BACKOFF", 0.2)
    server.plans["table.csv"] = [{"status": 503, "headers": {"Retry-After": asked}}, ...]
    started = time.monotonic()
    with pytest.raises(OSError, match="table.csv: 503 "):
        get(server, tmp_path)
    assert len(server.requests("table.csv")) == 3 and time.monotonic() - started < 5


def test_the_list_is_asked_for_again(server, tmp_path):
    server.plans["SHA256SUMS.txt"] = [{"status": 500}, {"cut": 100}]
    get(server, tmp_path)
    assert contents(tmp_path) == FILES


def test_missing_files_are_counted_after_the_others_went_on(make_server, tmp_path):
    files = {f"{i}.txt": b"%d" % i for i in range(40)}
    server = make_server(files)
    gone = [f"{i}.txt" for i in range(30)]
    for path in gone:
        del server.files[path]
    with pytest.raises(OSError) as caught:
        get(server, tmp_path)
    message = str(caught.value)
    assert "30 of 40 files could not be downloaded" in message and message.count(": 404 ") == 3
    assert f"{server.url}" in message
    assert contents(tmp_path) == {path: body for path, body in files.items() if path not in gone}
    assert len(server.log) == 41, "a missing file is not asked for again"


# What the folder holds.


def test_a_file_brought_by_another_tool_is_verified_not_downloaded(server, tmp_path):
    (tmp_path / "table.csv").write_bytes(FILES["table.csv"])
    summary = get(server, tmp_path)
    assert server.requests("table.csv") == [] and summary.num_present == 1


@pytest.mark.parametrize("change", [lambda body: body.replace(b"sinus", b"SINUS"), lambda body: body[:-1]])
def test_a_damaged_file_is_downloaded_again(server, tmp_path, change):
    get(server, tmp_path)
    stat = (tmp_path / "table.csv").stat()
    (tmp_path / "table.csv").write_bytes(change(FILES["table.csv"]))
    os.utime(tmp_path / "table.csv", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert get(server, tmp_path).num_present == len(FILES) - 1
    assert contents(tmp_path) == FILES


def test_a_changed_file_stays_until_the_right_one_is_there(server, tmp_path):
    (tmp_path / "table.csv").write_bytes(b"mine")
    server.plans["table.csv"] = [{"status": 404}]
    with pytest.raises(OSError, match="404"):
        get(server, tmp_path)
    assert (tmp_path / "table.csv").read_bytes() == b"mine"


def test_another_version_is_not_mixed_in(server, make_server, tmp_path):
    get(server, tmp_path)
    before = contents(tmp_path)
    other = make_server({**FILES, "table.csv": b"another version"})
    with pytest.raises(FileExistsError, match="another version or database. Name another folder, or remove"):
        get(other, tmp_path)
    assert contents(tmp_path) == before and len(other.log) == 1


def test_a_disk_that_fills_up_is_told_and_the_command_goes_on(server, tmp_path, monkeypatch):
    class Full:
        """A file on a disk with room for two more chunks."""

        def __init__(self, file):
            self.file, self.room = file, 2

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, chunk):
            if self.room == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room -= 1
            return self.file.write(chunk)

    real = Path.open

    def open_on_it(path, mode="r", **options):
        file = real(path, mode, **options)
        return Full(file) if mode in ("wb", "ab") else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_on_it)
        with pytest.raises(OSError, match=f"{DAT} cannot be written: No space left.*Make room.*goes on") as caught:
            get(server, tmp_path, num_workers=1)
    assert caught.value.errno == errno.ENOSPC
    assert sorted(contents(tmp_path).keys() - {f"{DAT}.part"}) == ["LICENSE.txt", "empty.txt", "table.csv"], (
        "and no other file was begun"
    )
    get(server, tmp_path)
    assert contents(tmp_path) == FILES


# Ends from outside.


def test_ctrl_c_stops_at_once_though_the_server_is_silent(server, tmp_path):
    server.plans = {path: [{"cut": 0 if path != DAT else 200_000, "stall": True}] for path in FILES}
    # Whole for the client though it has no body: its connection would take the next file, and never answer.
    server.plans["empty.txt"] = server.plans["LICENSE.txt"] = []
    pressed = []

    def press():
        deadline = time.monotonic() + 30
        part = tmp_path / f"{DAT}.part"
        while not (part.is_file() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path)
    assert time.monotonic() - pressed[0] < 5  # the server would be silent for much longer
    thread.join()
    assert {path for path in contents(tmp_path) if not path.endswith(".part")} <= {"LICENSE.txt", "empty.txt"}
    server.plans.clear()
    get(server, tmp_path)
    assert contents(tmp_path) == FILES


def test_after_a_kill_the_next_run_goes_on_and_others_are_kept_out_until_then(make_server, tmp_path):
    large = os.urandom(3_000_000)
    server = make_server({"a.txt": b"a", "b.txt": b"b", "large.dat": large, "z.txt": b"z"})
    server.plans["large.dat"] = [{"delay": 0.05}]
    # The package itself would import torch, which takes longer than all of this test.
    code = f"""
        import sys, types
        package = types.ModuleType("mets_ecg")
        package.__path__, package.__version__ = [{str(SOURCE)!r}], "0"
        sys.modules["mets_ecg"] = package
        from mets_ecg.data.building.download import download
        download({server.url!r}, {str(tmp_path)!r}, num_workers=1)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.PIPE)
    try:
        part = tmp_path / "large.dat.part"
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size > 500_000):
            assert process.poll() is None and time.monotonic() < deadline, process.stderr.read().decode()
            time.sleep(0.01)
        with pytest.raises(RuntimeError, match="another process downloads into"):
            get(server, tmp_path)
        assert len(server.requests("large.dat")) == 1
    finally:
        process.kill()
        process.communicate()
    assert contents(tmp_path).keys() == {"a.txt", "b.txt", "large.dat.part"}
    server.log.clear()
    summary = get(server, tmp_path)
    assert contents(tmp_path) == server.files
    assert sorted(entry["path"] for entry in server.log) == ["SHA256SUMS.txt", "large.dat", "z.txt"]
    assert (summary.num_present, summary.num_bytes) == (2, len(large) + 1)


def test_progress_is_shown_where_there_is_a_terminal(server, tmp_path, monkeypatch, capsys):
    get(server, tmp_path / "a")
    assert capsys.readouterr().err == "", "not a terminal"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    get(server, tmp_path / "b")
    assert "6/6" in capsys.readouterr().err
