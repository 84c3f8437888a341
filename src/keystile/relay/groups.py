"""From the settings of an upstream to its group of servers; what is there already of the last configuration stays.

Law: makes and hands over. A server that stays keeps its connections, and what is known of it; one that is new begins
as if it had just come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from keystile.config.model import MANAGEMENT_UPSTREAM, Server, Settings, Upstream
from keystile.relay.balance import class_for, needs_counts
from keystile.relay.member import Member
from keystile.relay.reaching import Reaching
from keystile.relay.upstreams import ManagementGroup, UpstreamGroup
from keystile.wire.client_context import ClientContext
from keystile.wire.pool import Pool, UnixPool
from keystile.wire.upstream_tls import TlsPool


def groups_of(
    settings: Settings, reaching: Mapping[str, Reaching], before: Mapping[str, UpstreamGroup]
) -> dict[str, UpstreamGroup]:
    """The groups of all upstreams by name; those of ``before`` where nothing has changed.

    Raises OSError for certificates that cannot be used. Whoever takes them has the others of ``before`` hand over.
    """
    timeout = settings.limits.connect_timeout
    groups = {
        each.name: group_of(each, timeout, reaching.get(each.name), before.get(each.name))
        for each in settings.upstreams
    }
    if settings.management_routes is not None:
        here = before.get(MANAGEMENT_UPSTREAM)
        groups[MANAGEMENT_UPSTREAM] = here or ManagementGroup(settings.store, timeout)
    return groups


def group_of(
    rules: Upstream, connect_timeout: float, reaching: Reaching | None = None, before: UpstreamGroup | None = None
) -> UpstreamGroup:
    """The group of one upstream: ``before`` itself where it is as wanted."""
    files = None if reaching is None else reaching.files
    made_of = rules, connect_timeout, files
    if before is not None and before.made_of == made_of:
        return before
    reached_by = (connect_timeout, rules.tls, files, rules.resolve_every, needs_counts(rules))
    make = _Pools(rules, connect_timeout, None if reaching is None else reaching.make)
    here = {} if before is None else {member.made_of: member for member in before.members}
    members = [_member(server, rules, (_place(server), reached_by), here, make) for server in rules.servers]
    if before is not None and rules.slow_start:
        now = asyncio.get_running_loop().time()
        for member in members:
            if member.made_of not in here:
                member.back_since = now
    group = class_for(rules)(rules, members)
    group.made_of = made_of
    return group


def _member(
    server: Server, rules: Upstream, made_of: object, here: Mapping[object, Member], make: Callable[[Server], Pool]
) -> Member:
    before = here.get(made_of)
    return Member(server, make(server) if before is None else before.pool, rules, made_of, before)


def _place(server: Server) -> object:
    """A server without its weight, which its connections do not depend on."""
    return server.host, server.port, server.tls, server.unix


class _Pools:
    """Makes pools. Their TLS context takes some 30 ms, so it is made only if one is wanted, and once."""

    def __init__(self, rules: Upstream, connect_timeout: float, context: Callable[[], ClientContext] | None) -> None:
        self._rules = rules
        self._timeout = connect_timeout
        self._make = context
        self._context: ClientContext | None = None
        self._counts = needs_counts(rules)

    def __call__(self, server: Server) -> Pool:
        rules, timeout, counts = self._rules, self._timeout, self._counts
        if server.unix is not None:
            return UnixPool(server.unix, timeout, counts=counts)
        if not server.tls:
            return Pool(server.host, server.port, timeout, rules.resolve_every, counts=counts)
        name = None if rules.tls is None else rules.tls.server_name
        return TlsPool(server.host, server.port, timeout, self._tls(), name, rules.resolve_every, counts=counts)

    def _tls(self) -> ClientContext:
        if self._context is None:
            assert self._make is not None
            self._context = self._make()
        return self._context
