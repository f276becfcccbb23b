"""A Hugging Face Hub on this machine: as much of its HTTP interface as the real client asks for, in memory."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class FakeHub:
    """Repositories by id: a list of commits, each a dictionary of files, and branches that name commits.

    Attributes:
        repos: `{id: {"private": bool, "branches": {name: commit}, "commits": {commit: {file: bytes}}}}`.
        sizes: what the server says of a file's size, by its name, where it lies.
        requests: method and path of every request, in order.
        headers: of every request.
    """

    def __init__(self):
        self.repos, self.requests, self.headers, self.sizes, self.etags = {}, [], [], {}, {}

    def commit(self, repo, files, branch="main"):
        """Add a commit to a branch."""
        entry = self.repos.setdefault(repo, {"private": False, "branches": {}, "commits": {}})
        former = entry["commits"].get(entry["branches"].get(branch), {})
        number = hashlib.sha1(f"{repo}{len(entry['commits'])}".encode(), usedforsecurity=False).hexdigest()
        entry["commits"][number] = {**former, **files}
        entry["branches"][branch] = number
        return number

    def find(self, repo, revision):
        """The commit that a revision names, with its files; None where there is none."""
        entry = self.repos.get(repo, {"branches": {}, "commits": {}})
        number = entry["branches"].get(revision, revision)
        return (number, entry["commits"][number]) if number in entry["commits"] else None

    @contextlib.contextmanager
    def serving(self):
        """The URL of the server."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers the client."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def answer(self, status, body=b"", **headers):
        raw = json.dumps(body).encode() if not isinstance(body, bytes) else body
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):
                self.wfile.write(raw)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.note()
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/(.+)/([^/]+)", unquote(urlsplit(self.path).path))
        if match is None or match[1] not in self.hub.repos:
            return self.answer(404, b"", X_Error_Code="RepoNotFound")
        found = self.hub.find(match[1], match[2])
        if found is None:
            return self.answer(404, b"", X_Error_Code="RevisionNotFound")
        number, files = found
        if match[3] not in files:
            return self.answer(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=number)
        raw = files[match[3]]
        etag = self.hub.etags.get(match[3], hashlib.sha1(raw, usedforsecurity=False).hexdigest())
        size = {"Content-Length": str(self.hub.sizes[match[3]])} if match[3] in self.hub.sizes else {}
        return self.answer(200, raw, **{"ETag": f'"{etag}"', "X-Repo-Commit": number, **size})

    def do_POST(self):
        self.note()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            where = {"url": f"http://{self.headers['Host']}/{repo}", "name": repo}
            if repo in self.hub.repos:
                return self.answer(409, {"error": "You already created this model repo", **where})
            self.hub.commit(repo, {".gitattributes": b""})
            self.hub.repos[repo]["private"] = asked.get("private") or asked.get("visibility") == "private"
            return self.answer(200, where)
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit|branch)/(.+)", path)
        if match is None:
            return self.answer(404, {"error": f"no {path}"})
        repo, what, revision = match.groups()
        if what == "branch":
            self.hub.repos[repo]["branches"].setdefault(revision, self.hub.repos[repo]["branches"]["main"])
            return self.answer(200, {})
        if what == "preupload":
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        lines = [json.loads(line) for line in body.splitlines()]
        files = {
            one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in lines if one["key"] == "file"
        }
        number = self.hub.commit(repo, files, revision)
        url = f"http://{self.headers['Host']}/{repo}/commit/{number}"
        return self.answer(200, {"success": True, "commitOid": number, "commitUrl": url, "hookOutput": ""})

    def note(self):
        self.hub.requests.append(f"{self.command} {self.path}")
        self.hub.headers.append(dict(self.headers))
