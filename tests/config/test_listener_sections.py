from __future__ import annotations

import pytest
from pydantic import ValidationError

from keystile.config.listener_sections import ListenerSection, TlsSection


def test_an_address_is_all_that_a_listener_needs() -> None:
    listener = ListenerSection.model_validate({"address": "[::1]:8080"})
    assert (listener.address, listener.tls, listener.proxy_protocol) == (("::1", 8080), None, False)
    assert (listener.redirect, listener.plain_http) == (None, "allow")


def test_tls_is_1_2_and_up_and_without_old_versions_where_nothing_else_is_said() -> None:
    tls = TlsSection.model_validate({"certificate": "c.pem", "private_key": "k.pem"})
    assert (tls.minimum_version, tls.legacy, tls.client_certificates) == ("1.2", None, None)


@pytest.mark.parametrize("wrong", [{}, {"address": "8080"}, {"address": "127.0.0.1:1", "plain_http": "refuse"}])
def test_what_is_no_listener_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ListenerSection.model_validate(wrong)
