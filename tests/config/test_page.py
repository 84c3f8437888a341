from __future__ import annotations

from pathlib import Path

import pytest

from keystile.config.model import Certificate, Management, Tls
from keystile.config.page import link_path, page_url

TLS = Tls((Certificate(Path("cert.pem"), Path("key.pem")),))


@pytest.mark.parametrize(
    ("management", "url"),
    [
        (Management(), "http://127.0.0.1:8081"),
        (Management(port=80), "http://127.0.0.1"),
        (Management("::1"), "http://[::1]:8081"),
        (Management("0.0.0.0", tls=TLS), "https://127.0.0.1:8081"),
        (Management("::", 443, TLS), "https://[::1]"),
        (Management("192.0.2.1", 443, TLS, ("keys.example.com", "other")), "https://keys.example.com"),
        (Management("192.0.2.1", 8443, TLS, ("[2001:db8::1]",)), "https://[2001:db8::1]:8443"),
    ],
)
def test_the_page_is_where_a_browser_finds_it(management: Management, url: str) -> None:
    assert page_url(management) == url


def test_a_port_that_the_settings_leave_open_is_the_one_that_is_listened_on() -> None:
    assert page_url(Management(port=0), 40123) == "http://127.0.0.1:40123"


def test_the_token_of_a_link_stands_in_the_query() -> None:
    assert link_path("abc") == "/link?token=abc"
