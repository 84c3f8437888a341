"""One file a gateway: how it is set up to do the work that all of them do, and how it is started.

The work is written down in ``gateway.py``; whoever adds a gateway makes it do all of that, or says in ``leaves_out``
what it does not do.
"""

from bench.gateways.aiohttp import NaiveAiohttp
from bench.gateways.caddy import Caddy
from bench.gateways.envoy import Envoy
from bench.gateways.gateway import Gateway
from bench.gateways.haproxy import HAProxy
from bench.gateways.keystile import Compiled, Keystile
from bench.gateways.nginx import Nginx
from bench.gateways.traefik import Traefik

_EVERY: tuple[Gateway, ...] = (
    *(Keystile(), Compiled()),
    *(HAProxy(), Nginx(), Envoy(), Caddy(), Traefik(), NaiveAiohttp()),
)
GATEWAYS: dict[str, Gateway] = {gateway.name: gateway for gateway in _EVERY}
