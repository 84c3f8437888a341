"""nginx and HAProxy as plain reverse proxies: minimal configurations on free ports, one lane for each row at a time.

Law: starts and stops processes; knows nothing of attacks. A lane is a port of the proxy that leads to one upstream of
its own, so that what arrives there belongs to the row that was sent.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

NGINX = """
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log crit;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
{lanes}
}}
"""
NGINX_LANE = """  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_request_buffering off; proxy_next_upstream off; }} }}"""
HAPROXY = """
global
  maxconn 512
defaults
  mode http
  timeout connect 2s
  timeout client 20s
  timeout server 20s
  timeout http-request 20s
  retries 0
{lanes}
"""
HAPROXY_LANE = """listen lane{port}
  bind 127.0.0.1:{port}
  server one 127.0.0.1:{upstream}"""


def found(name: str) -> str | None:
    """Where the program is, or None."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def version(name: str) -> str:
    """What the program says of its own version, in a word or two."""
    program = found(name)
    assert program is not None
    done = subprocess.run([program, "-v"], capture_output=True, text=True, check=True)
    text = (done.stdout or done.stderr).splitlines()[0]
    return text.removeprefix("nginx version: ").replace("HAProxy version ", "HAProxy ").split(" 20")[0]


@asynccontextmanager
async def proxy(name: str, upstreams: Sequence[int], directory: Path) -> AsyncIterator[list[int]]:
    """``name`` (nginx or haproxy) in front of each of ``upstreams``; its ports in the same order."""
    program = found(name)
    assert program is not None, f"{name} is not installed"
    ports = free_ports(len(upstreams))
    whole, lane = (NGINX, NGINX_LANE) if name == "nginx" else (HAPROXY, HAPROXY_LANE)
    lanes = "\n".join(lane.format(port=port, upstream=to) for port, to in zip(ports, upstreams, strict=True))
    config = directory / f"{name}.conf"
    config.write_text(whole.format(lanes=lanes, directory=directory), encoding="utf-8")
    command = [program, "-c", str(config), "-p", str(directory)] if name == "nginx" else [program, "-f", str(config)]
    with (directory / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            await _listening(process, ports[-1])
            yield ports
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), 10)


async def _listening(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            if process.returncode is not None:
                raise RuntimeError("the proxy ended at once")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return
