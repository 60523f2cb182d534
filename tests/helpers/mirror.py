"""A download host on this machine, with the faults that the tests of downloads ask for."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAYLOAD = b"PK\x03\x04" + (bytes(range(256)) * 4096)[4:]  # 1 MiB that begin like a checkpoint


class Mirror(ThreadingHTTPServer):
    """A server of one file under every path, or of several, with the faults that a test asks for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.payload = PAYLOAD
        self.files = {}  # what to send for some paths instead
        self.headers = {"ETag": '"first"'}
        self.status = 200
        self.heeds_range = True
        self.heeds_if_range = True
        self.range_slips_by = 0  # bytes between the start asked for and the one answered
        self.break_after = []  # bytes sent before the connection breaks, one per request
        self.pause = 0.0  # seconds between pieces of 32 KiB
        self.gate = threading.Event()  # bodies wait for it
        self.gate.set()
        self.requests = []  # (path, Range, If-Range)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def ranges(self):
        return [asked for _, asked, _ in self.requests]


@contextmanager
def running_mirror():
    """A server that answers, for as long as the block lasts."""
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        mirror, asked = self.server, self.headers["Range"]
        if_range = self.headers["If-Range"]
        mirror.requests.append((self.path, asked, if_range))
        if mirror.status != 200:
            self.send_error(mirror.status)
            return
        payload = mirror.files.get(self.path, mirror.payload)
        start, total = 0, len(payload)
        same = if_range in mirror.headers.values() or not mirror.heeds_if_range
        if asked and mirror.heeds_range and same:
            start = int(asked.removeprefix("bytes=").removesuffix("-")) + mirror.range_slips_by
            if start >= total:
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        for header, value in {"Content-Length": total - start, **mirror.headers}.items():
            if value is not None:
                self.send_header(header, str(value))
        self.end_headers()
        mirror.gate.wait(60)
        body = payload[start:]
        if mirror.break_after:
            body = body[: mirror.break_after.pop(0)]
        try:
            for at in range(0, len(body), 32768):
                self.wfile.write(body[at : at + 32768])
                time.sleep(mirror.pause)
        except ConnectionError:
            pass  # the client was killed
