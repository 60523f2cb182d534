"""A Hugging Face Hub on this machine, with the answers and faults that a test asks for."""

import json
import re
import threading
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PATH = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class Hub(ThreadingHTTPServer):
    """Repositories of files, by commit; ``requests`` grows with what clients ask for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {}  # by (repository, commit), each by name
        self.branches = {}  # a commit by (repository, branch)
        self.answers = {}  # (status, headers) by repository, instead of files
        self.break_after = []  # bytes sent before the connection breaks, one for each GET of weights
        self.gate = threading.Event()  # weights wait for it
        self.gate.set()
        self.requests = []  # (method, file, Range)
        self.tokens = set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def downloads(self):
        """The files that were asked for with GET, in their order."""
        return [file for method, file, _ in self.requests if method == "GET"]

    def publish(self, name, files, branch="main"):
        """Commit files, given as bytes or as a folder, and give the commit."""
        if not isinstance(files, dict):
            files = {path.name: path.read_bytes() for path in files.iterdir() if path.is_file()}
        content = json.dumps({key: sha256(value).hexdigest() for key, value in files.items()})
        commit = sha256(f"{name}{content}".encode()).hexdigest()[:40]
        self.files[name, commit] = files
        self.branches[name, branch] = commit
        return commit


@contextmanager
def running_hub():
    """A server that answers, for as long as the block lasts."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield hub
        hub.gate.set()
        hub.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        content = self._answer()
        if content is None:
            return
        breaks = self.server.break_after
        if not self.path.endswith(".json"):
            self.server.gate.wait(60)
            content = content[: breaks.pop(0)] if breaks else content
        self.wfile.write(content)

    def _answer(self):
        hub, found = self.server, _PATH.fullmatch(self.path)
        if not found:  # the client's own questions, such as which programs may call it
            return self._refuse(404)
        name, revision, file = found.group("name", "revision", "file")
        asked = self.headers["Range"]
        hub.requests.append((self.command, file, asked))
        hub.tokens.add(self.headers["Authorization"])
        if name in hub.answers:
            return self._refuse(*hub.answers[name])
        commit = hub.branches.get((name, revision), revision)
        files = hub.files.get((name, commit))
        if files is None:
            known = any(repository == name for repository, _ in hub.files)
            return self._refuse(404, "RevisionNotFound" if known else "RepoNotFound")
        if file not in files:
            return self._refuse(404, "EntryNotFound", commit)
        content = files[file]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        return content[start:]

    def _refuse(self, status, code=None, commit=None):
        self.send_response(status)
        for header, value in {
            "X-Error-Code": code,
            "X-Repo-Commit": commit,
            "Content-Length": 0,
        }.items():
            if value is not None:
                self.send_header(header, str(value))
        self.end_headers()
