"""A server of few words for turns without a gateway: 401 for /, 200 for all else, connections kept; /die ends it.

    python little.py PORT [LINE]

LINE: what it writes to standard output for each request.
"""

from __future__ import annotations

import http.server
import os
import socketserver
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/die":
            os._exit(3)
        self.send_response(401 if self.path == "/" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        if len(sys.argv) > 2:
            print(sys.argv[2], flush=True)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 512


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
