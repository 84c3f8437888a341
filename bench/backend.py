"""The API behind the gateways: nginx with one worker, answering from memory.

Law: knows no gateway. Answers depend on the request target alone: most are about 200 bytes, those to the
varied load differ in length, and ``ECHO`` says which fields arrived, for the check before a run.
"""

from __future__ import annotations

import json
from pathlib import Path

from bench.cases import KIB, MIB

ECHO = "/v4/domains"  # GET, needs ViewSettings, which every key of the load holds

HELD = "/v4/contacts/held"
"""Its answer takes days: who asks for it has a request in flight."""
FILES = {"64KiB": 64 * KIB, "1MiB": MIB}
"""Answers of a size, below /v4/contacts/."""

# What ECHO tells: name in the answer -> nginx variable.
ECHOED = {
    "uri": "request_uri",
    "host": "http_host",
    "request_id": "http_x_request_id",
    "via": "http_via",
    "forwarded_for": "http_x_forwarded_for",
    "forwarded_proto": "http_x_forwarded_proto",
    "forwarded_host": "http_x_forwarded_host",
    "account": "http_x_keystile_account",
    "key": "http_x_keystile_key",
    "scopes": "http_x_keystile_scopes",
    "secret": "http_x_api_key",
    "real_ip": "http_x_real_ip",
    "forwarded": "http_forwarded",
    "client_ip": "http_x_client_ip",
    "invented": "http_x_keystile_invented",
    "user_agent": "http_user_agent",
}

CONTACT = {
    "Email": "someone@example.com",
    "Status": "Active",
    "FirstName": "Some",
    "LastName": "One",
    "DateAdded": "2024-05-02T10:11:12",
    "DateUpdated": "2024-06-02T10:11:12",
    "StatusChangeDate": None,
    "Activity": {"TotalSent": 12},
}

CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_max_body_size 0;
    default_type application/json;
    split_clients $request_uri $varied {{
{varied}
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        add_header Cache-Control no-store;
        location / {{ return 200 $varied; }}
        location = /v4/contacts {{ return 200 '{steady}'; }}
{files}
        location = {held} {{ limit_rate_after 1k; limit_rate 1; alias {directory}/1MiB; }}
        location = {echo_path} {{ return 200 '{echo}'; }}
    }}
}}
"""


def write_configuration(directory: Path, port: int) -> Path:
    """nginx's file for a backend on 127.0.0.1:``port``; everything it writes goes below ``directory``."""
    for name, size in FILES.items():
        (directory / name).write_bytes(bytes(size))
    text = CONFIGURATION.format(
        directory=directory,
        port=port,
        varied="\n".join(_varied_lines()),
        steady=json.dumps(CONTACT, separators=(",", ":")),
        echo_path=ECHO,
        held=HELD,
        files="\n".join(f"        location = /v4/contacts/{name} {{ alias {directory}/{name}; }}" for name in FILES),
        echo=json.dumps({name: f"${variable}" for name, variable in ECHOED.items()}),
    )
    file = directory / "backend.conf"
    file.write_text(text)
    return file


def command(file: Path) -> list[str]:
    """How nginx is started with ``file``."""
    return ["nginx", "-p", str(file.parent), "-e", str(file.parent / "nginx-error.log"), "-c", str(file)]


def _varied_lines() -> list[str]:
    """Eight answers from about 80 to 1,200 bytes, each for an eighth of the targets."""
    bodies = [json.dumps({"Items": "x" * size, "Count": size}) for size in (50, 90, 140, 180, 240, 400, 700, 1170)]
    shares = ["12.5%"] * 7 + ["*"]
    return [f"        {share} '{body}';" for share, body in zip(shares, bodies, strict=True)]
