"""schemathesis against a running application: requests made from the API's own document, good ones and bad ones.

Law: it finds server errors, undocumented answers, bad requests that are taken and good ones that are not. Seeded
and bounded in the tests; longer by hand: ``python -m tests.management.api.fuzzing --examples 500``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from tests.management.api.checked import Api, User, api_client
from tests.management.running import running

ROOT = Path(__file__).parents[3]
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    "use_after_free",
    "ensure_resource_availability",
)
"""Not ``positive_data_acceptance``, since rules such as "a name is taken once" stand in no schema; and not
``missing_required_header``, which has not heard of 428 (RFC 6585 section 3)."""


async def fuzz(api: Api, user: User, examples: int, seed: int, directory: Path, own: bool) -> tuple[int, str]:
    """Run schemathesis as this user; return its exit code and what it says. ``own``: see ``fuzz_hooks.py``."""
    # What would end the run: the token that asks, or the session.
    left_out = "deleteToken" if "Authorization" in user.headers else "signOut"
    headers = [text for name, value in user.headers.items() for text in ("--header", f"{name}: {value}")]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{api.app.url}/api/openapi.json",
        "--checks",
        ",".join(CHECKS),
        f"--max-examples={examples}",
        f"--seed={seed}",
        "--generation-database=none",
        "--generation-with-security-parameters=false",
        f"--exclude-operation-id={left_out}",
        "--continue-on-failure",
        "--suppress-health-check=all",
        "--no-color",
        *headers,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.management.api.fuzz_hooks",
            "PYTHONPATH": str(ROOT),
            "KEYSTILE_FUZZ": "own" if own else "",
        },
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def by_hand(examples: int, seed: int) -> int:
    """Run it as an operator and as somebody else, by token and by session; print what it says."""
    worst = 0
    with tempfile.TemporaryDirectory() as name:
        async with running(Path(name)) as app, api_client() as client:
            api = Api(app, client)
            for number, by_token in enumerate((True, False)):
                for operator in (True, False):
                    who = await api.user(f"{number}{operator}@example.com", operator=operator)
                    who = who if by_token else await api.session(who.account)
                    code, said = await fuzz(api, who, examples, seed, Path(name), own=operator != by_token)
                    print(f"{operator=} {by_token=}\n{said}")
                    worst = max(worst, code)
    return worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(asyncio.run(by_hand(given.examples, given.seed)))
