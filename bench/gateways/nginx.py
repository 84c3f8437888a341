"""nginx with its Lua module: all of the work, decided in Lua before the request goes on.

Law: writes one configuration and its tables. Choices that a reader may doubt, each in nginx's favour:

* SHA-256 is OpenSSL's, called by LuaJIT without copying; keys are looked up by the digest's bytes.
* What nginx can do without Lua (fields set, request id, Via) it does without Lua.
* Large bodies are collected before they go on: unbuffered, an answer that comes before the body has ended, as the
  backend's does, makes nginx close the client's connection.
* Requests in flight are counted in a shared dictionary, which all workers would see.
* Not done at all: the refusal of ambiguous paths, of a second key, and of wrong methods (404 here, not 405).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.cases import KIB, Case
from bench.gateways import tables
from bench.gateways.gateway import SPOOFABLE, Scene
from bench.keyset import BenchKey

MODULES = Path("/usr/lib/nginx/modules")
NEEDED = ("ndk_http_module.so", "ngx_http_lua_module.so")

CONFIGURATION = """\
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
daemon off;
user root;
worker_processes {relays};
pid {directory}/nginx-lua.pid;
error_log {directory}/nginx-lua.log warn;
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path {directory}/lua-body;
    proxy_temp_path {directory}/lua-proxy;
    fastcgi_temp_path {directory}/lua-fastcgi;
    uwsgi_temp_path {directory}/lua-uwsgi;
    scgi_temp_path {directory}/lua-scgi;
    log_format line escape=json '{log_format}';
    access_log {access_log};
    keepalive_requests 1000000000;
    keepalive_timeout 75s;
    client_header_timeout 10s;
    client_max_body_size 0;
    lua_shared_dict in_flight 10m;
    init_by_lua_block {{
        local ffi = require "ffi"
        ffi.cdef "unsigned char *SHA256(const unsigned char *d, size_t n, unsigned char *md);"
        local digest = ffi.new("unsigned char[32]")
        local decide = dofile("{policy}")(dofile("{tables}"))
        local in_flight = ngx.shared.in_flight
        local spoofable = {{ {spoofable} }}
        function guard()
            local fields = ngx.req.get_headers(0, true)
            local secret = ngx.var.http_x_api_key
            local name = secret and ffi.string(ffi.C.SHA256(secret, #secret, digest), 32)
            local target = ngx.var.request_uri
            local cut = string.find(target, "?", 1, true)
            local path = cut and string.sub(target, 1, cut - 1) or target
            local address = ngx.var.remote_addr
            local status, key = decide(ngx.req.get_method(), path, address, name)
            if status then return ngx.exit(status) end
            if in_flight:incr(address, 1, 0) > {cap} then
                in_flight:incr(address, -1)
                return ngx.exit(429)
            end
            ngx.ctx.counted = address
            for field in pairs(fields) do
                local low = string.lower(field)
                if spoofable[low] or string.find(low, "^x%-forwarded%-") or string.find(low, "^x%-keystile%-") then
                    ngx.req.clear_header(field)
                end
            end
            local var = ngx.var
            var.account, var.key_id, var.scopes = key.account, key.id, key.scopes
        end
        function finished()
            local counted = ngx.ctx.counted
            if counted then in_flight:incr(counted, -1) end
        end
    }}
    upstream api {{
        server 127.0.0.1:{backend_port};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port}{tls} backlog=4096;
{tls_lines}
        {told}
        set $account "";
        set $key_id "";
        set $scopes "";
        location / {{
            access_by_lua_block {{ guard() }}
            log_by_lua_block {{ finished() }}
            proxy_pass http://api;
            proxy_http_version 1.1;
            proxy_request_buffering {collect};
            client_body_buffer_size 2m;
            proxy_buffering off;
            proxy_connect_timeout 5s;
            proxy_read_timeout 600s;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Api-Key "";
            proxy_set_header X-Request-Id $request_id;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Keystile-Account $account;
            proxy_set_header X-Keystile-Key $key_id;
            proxy_set_header X-Keystile-Scopes $scopes;
            proxy_set_header Via "1.1 nginx";
            add_header X-Request-Id $request_id always;
            add_header Via "1.1 nginx" always;
        }}
    }}
}}
"""

# The same versions, groups and order as Keystile's profile.
TLS = """\
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ecdh_curve X25519:prime256v1:secp384r1;
        ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;"""

LOG_FORMAT = (
    '{"time":$msec,"request_id":"$request_id","address":"$remote_addr","account":"$account","key":"$key_id",'
    '"method":"$request_method","path":"$uri","status":$status,"bytes_in":$request_length,'
    '"bytes_out":$body_bytes_sent,"total":$request_time}'
)


class Nginx:
    """nginx with one worker and Lua."""

    name = "nginx-lua"
    leaves_out: tuple[str, ...] = ("ambiguous paths",)

    def missing(self) -> str | None:
        """Debian's packages bring both."""
        if shutil.which("nginx") is None:
            return "nginx is not installed: apt-get install nginx-light libnginx-mod-http-lua"
        if not all((MODULES / name).exists() for name in NEEDED):
            return "nginx has no Lua: apt-get install libnginx-mod-http-lua"
        return None

    def prepare(self, scene: Scene, directory: Path) -> None:
        """Keys by the 32 bytes of their digest."""
        tables.write(scene, directory / "nginx-tables.lua", _digest)

    def command(self, scene: Scene, case: Case, port: int, directory: Path) -> list[str]:
        """Its configuration for ``case``, in the foreground."""
        file = directory / f"nginx-lua-{case.name}.conf"
        file.write_text(_configuration(scene, case, port, directory))
        return ["nginx", "-p", str(directory), "-e", str(directory / "nginx-lua.log"), "-c", str(file)]

    def version(self) -> str:
        """Its release, such as "nginx 1.22.1 with Lua"."""
        said = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
        return f"nginx {said.split('/')[-1].split()[0]} with Lua"


def _digest(key: BenchKey) -> bytes:
    return key.digest


def _configuration(scene: Scene, case: Case, port: int, directory: Path) -> str:
    return CONFIGURATION.format(
        modules=MODULES,
        directory=directory,
        policy=tables.POLICY,
        tables=directory / "nginx-tables.lua",
        spoofable=", ".join(f'["{name.lower()}"] = true' for name in SPOOFABLE),
        cap=case.cap,
        collect="on" if case.body > KIB else "off",
        relays=case.relays,
        told="set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;" if case.addresses else "",
        port=port,
        tls=" ssl" if case.tls else "",
        tls_lines=TLS.format(certificate=scene.certificate) if case.tls else "",
        log_format=LOG_FORMAT,
        access_log="/dev/stdout line" if case.log else "off",
        backend_port=scene.backend_port,
    )
