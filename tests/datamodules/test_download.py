"""Downloads resume, are checked, and are whole or absent."""

import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from basics.errors import UserError
from datamodules import download as module
from datamodules.download import download

CONTENTS = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENTS).hexdigest()


class Publisher(ThreadingHTTPServer):
    """A server on 127.0.0.1 that can be told to misbehave, and keeps the Range header of every request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/file"
        self.knows_ranges = True
        self.status = 200
        self.cut = None
        self.chunked = False
        self.raw = None
        self.size_when_416 = len(CONTENTS)
        self.ranges = []
        self.halfway = lambda: None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # which has chunks; urllib asks to close after each answer

    def do_GET(self):
        server = self.server
        asked = self.headers["Range"]
        server.ranges.append(asked)
        if server.raw is not None:
            self.wfile.write(server.raw)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.knows_ranges else 0
        if server.status != 200 or start >= len(CONTENTS):
            self.send_response(416 if server.status == 200 else server.status)
            if server.status == 200 and server.size_when_416 is not None:
                self.send_header("Content-Range", f"bytes */{server.size_when_416}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(CONTENTS) - start))
        self.end_headers()
        if server.chunked:  # one chunk of everything
            self.wfile.write(b"%x\r\n" % (len(CONTENTS) - start))
        body = CONTENTS[start : server.cut]
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        server.halfway()
        self.wfile.write(body[len(body) // 2 :])
        if server.chunked and server.cut is None:
            self.wfile.write(b"\r\n0\r\n\r\n")

    def log_message(self, *_):
        pass


@pytest.fixture
def publisher(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "folder" / "file"


@pytest.fixture
def part(target):
    """Path of an interrupted download, whose folder exists."""
    target.parent.mkdir()
    return target.with_name("file.part")


def test_a_whole_file_is_fetched_into_a_new_folder(publisher, target):
    assert download(publisher.url, target, SHA256) == target
    assert target.read_bytes() == CONTENTS
    assert [path.name for path in target.parent.iterdir()] == ["file"]
    assert publisher.ranges == [None]


def test_a_file_without_a_checksum_is_fetched(publisher, target):
    assert download(publisher.url, target).read_bytes() == CONTENTS


def test_a_file_that_is_there_is_not_fetched_again(publisher, target):
    target.parent.mkdir()
    target.write_text("there")
    assert download(publisher.url, target, SHA256).read_text() == "there"
    assert publisher.ranges == []


def test_the_target_is_never_half_written(publisher, target):
    seen = []
    publisher.halfway = lambda: seen.append(target.exists())
    download(publisher.url, target, SHA256)
    assert seen == [False]


def test_a_download_resumes_where_it_stopped(publisher, target, part):
    part.write_bytes(CONTENTS[:30_000])
    assert download(publisher.url, target, SHA256).read_bytes() == CONTENTS
    assert publisher.ranges == ["bytes=30000-"]
    assert not part.exists()


def test_a_server_that_cannot_resume_sends_everything_and_nothing_is_doubled(publisher, target, part):
    publisher.knows_ranges = False
    part.write_bytes(CONTENTS[:30_000])
    assert download(publisher.url, target).read_bytes() == CONTENTS
    assert publisher.ranges == ["bytes=30000-"]


def test_a_part_that_is_already_complete_becomes_the_target(publisher, target, part):
    part.write_bytes(CONTENTS)
    assert download(publisher.url, target, SHA256).read_bytes() == CONTENTS
    assert publisher.ranges == [f"bytes={len(CONTENTS)}-"]


@pytest.mark.parametrize("sha256", [None, SHA256])
@pytest.mark.parametrize("size", [len(CONTENTS), None])
def test_a_part_longer_than_the_file_is_dropped_and_the_whole_file_fetched(publisher, target, part, sha256, size):
    publisher.size_when_416 = size
    part.write_bytes(b"x" * (len(CONTENTS) + 5))
    assert download(publisher.url, target, sha256).read_bytes() == CONTENTS
    assert publisher.ranges == [f"bytes={len(CONTENTS) + 5}-", None]
    assert not part.exists()


def test_a_wrong_checksum_removes_the_part(publisher, target):
    with pytest.raises(UserError, match=f"SHA-256 {SHA256}, expected 1234: run again"):
        download(publisher.url, target, "1234")
    assert not list(target.parent.iterdir())


def test_after_a_spoilt_part_a_second_run_fetches_the_whole_file(publisher, target, part):
    part.write_bytes(b"x" * 30_000)
    with pytest.raises(UserError, match="run again"):
        download(publisher.url, target, SHA256)
    assert not list(target.parent.iterdir())
    assert download(publisher.url, target, SHA256).read_bytes() == CONTENTS
    assert publisher.ranges == ["bytes=30000-", None]


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_a_connection_that_ends_early_keeps_the_part_and_the_next_run_goes_on(publisher, target, sha256):
    publisher.cut = 50_000
    with pytest.raises(UserError, match=r"the connection ended early.*run again to go on"):
        download(publisher.url, target, sha256)
    assert not target.exists()
    assert target.with_name("file.part").read_bytes() == CONTENTS[:50_000]
    publisher.cut = 80_000
    with pytest.raises(UserError, match="the connection ended early"):
        download(publisher.url, target, sha256)
    assert target.with_name("file.part").read_bytes() == CONTENTS[:80_000]
    publisher.cut = None
    assert download(publisher.url, target, sha256).read_bytes() == CONTENTS
    assert publisher.ranges == [None, "bytes=50000-", "bytes=80000-"]


def test_a_reply_in_chunks_that_ends_early_keeps_the_part_and_the_next_run_goes_on(publisher, target, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 10_000)
    publisher.chunked = True
    publisher.cut = 50_000
    with pytest.raises(UserError, match=rf"cannot download .*run again to go on, or put the file at {target}"):
        download(publisher.url, target)
    assert not target.exists()
    assert target.with_name("file.part").read_bytes() == CONTENTS[:50_000]
    publisher.cut = None
    assert download(publisher.url, target).read_bytes() == CONTENTS
    assert publisher.ranges == [None, "bytes=50000-"]


def test_an_answer_that_is_not_http_keeps_the_part(publisher, target, part):
    part.write_bytes(CONTENTS[:30_000])
    publisher.raw = b"220 mail.example.org ESMTP"
    with pytest.raises(UserError, match=rf"cannot download .*220 mail.*run again .*put the file at {target}"):
        download(publisher.url, target)
    assert not target.exists()
    assert part.read_bytes() == CONTENTS[:30_000]
    publisher.raw = None
    assert download(publisher.url, target, SHA256).read_bytes() == CONTENTS


def test_a_refusal_of_the_server_says_where_to_put_the_file(publisher, target):
    publisher.status = 404
    with pytest.raises(UserError, match=rf"cannot download .* \(HTTP 404\): put the file at {target}"):
        download(publisher.url, target)
    assert not list(target.parent.iterdir())


def test_a_server_that_is_not_there_says_where_to_put_the_file(target, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=rf"cannot download .*refused.*put the file at {target}"):
            download(f"http://127.0.0.1:{taken.getsockname()[1]}/file", target)
