"""One file a gateway: how it is set up to do the work that all of them do, and how it is started.

The work is written down in ``gateway.py``; whoever adds a gateway makes it do all of that.
"""

from bench.gateways.aiohttp import NaiveAiohttp
from bench.gateways.gateway import Gateway
from bench.gateways.haproxy import HAProxy
from bench.gateways.keystile import Keystile

GATEWAYS: dict[str, Gateway] = {gateway.name: gateway for gateway in (Keystile(), HAProxy(), NaiveAiohttp())}
