#!/usr/bin/env python3
"""Serve one release folder over HTTP on the loopback, with a health check.

Started by site.py, never by hand: `serve.py SERVICE FOLDER PORT LOCKED_FD`.

The release is resolved once, at the start: a server goes on serving the release it was
started with, whatever `current` points at meanwhile. `/healthz` looks again at every
question, so a release that loses a file turns unhealthy while it is served.
"""

import http.server
import json
import os
import sys


def main() -> None:
    service, folder, port, locked = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    # The lock on this file is the proof that this process lives; it ends with the process.
    state = os.fdopen(locked, "w")
    state.write(f"{os.getpid()}\n")
    state.flush()

    release = os.path.realpath(folder)
    with open(os.path.join(release, "release.json"), encoding="utf-8") as file:
        about = json.load(file)
    version = about["version"]
    needs = [name.replace("{service}", service) for name in about["needs"]]

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, directory=release, **keywords)

        def do_GET(self):
            if self.path == "/healthz":
                missing = [name for name in needs if not os.path.exists(f"{release}/{name}")]
                if missing:
                    self.answer(503, f"{service} {version} is missing {', '.join(missing)}")
                else:
                    self.answer(200, f"{service} {version} is well")
            elif self.path == "/version":
                self.answer(200, version)
            else:
                super().do_GET()

        def answer(self, status: int, text: str) -> None:
            body = f"{text}\n".encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    # The second line says that questions are answered from now on, and where.
    state.write(f"{server.server_address[1]}\n")
    state.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
