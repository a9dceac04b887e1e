"""A server with the addresses of the Hugging Face hub from which snapshot_download reads a repository."""

import hashlib
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit


@contextmanager
def serving(repositories):
    """Serve repositories, {"user/name": {revision: folder}}; gives the address and the list of requested paths."""
    requested = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = unquote(urlsplit(self.path).path).strip("/")
            requested.append(f"{self.command} {path}")
            parts = path.removeprefix("api/models/").split("/")
            states = repositories.get("/".join(parts[:2]))
            if states is None:
                return self.refuse("RepoNotFound")
            kind, revision, file = parts[2], parts[3], "/".join(parts[4:])
            folder = states.get(revision) or next((f for f in states.values() if commit_of(f) == revision), None)
            if folder is None:
                return self.refuse("RevisionNotFound")
            if kind == "resolve":
                return self.send_file(folder / file, commit_of(folder))
            files = sorted(found for found in folder.iterdir() if found.is_file())
            if kind == "tree":
                return self.send_json([entry_of(found) for found in files])
            siblings = [{"rfilename": found.name} for found in files]
            return self.send_json({"id": "/".join(parts[:2]), "sha": commit_of(folder), "siblings": siblings})

        def do_HEAD(self):
            self.do_GET()

        def refuse(self, code):
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send_file(self, file, commit):
            if not file.is_file():
                return self.refuse("EntryNotFound")
            self.send_response(200)
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{entry_of(file)["oid"]}"')
            return self.send_content(file.read_bytes())

        def send_json(self, content):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            return self.send_content(json.dumps(content).encode())

        def send_content(self, content):
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requested
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def commit_of(folder):
    return hashlib.sha1(str(folder).encode()).hexdigest()


def entry_of(file):
    content = file.read_bytes()
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return {"type": "file", "path": file.name, "size": len(content), "oid": oid}
