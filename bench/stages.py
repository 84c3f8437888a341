"""Stages: so many keys and operations, with every gateway prepared for them, in a folder of their own.

Law: set-up alone. A gateway that cannot be prepared for a stage is unready there; the others and its other cases go on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.api import read_calls, write_more
from bench.cases import Case
from bench.gateways.gateway import Gateway, Scene
from bench.keyset import make_keys
from bench.load import Load
from bench.rounds import FAULTS
from bench.run import Stage, stage_of

from keystile.wire.certificates import self_signed


def make_stages(
    chosen: argparse.Namespace, cases: Sequence[Case], gateways: Sequence[Gateway], port: int, directory: Path
) -> dict[tuple[int, int], Stage]:
    """A stage for each size that ``cases`` ask for; ``port``: the backend's."""
    return {size: _stage(chosen, gateways, port, size, directory) for size in dict.fromkeys(map(stage_of, cases))}


def _stage(
    chosen: argparse.Namespace, gateways: Sequence[Gateway], port: int, size: tuple[int, int], directory: Path
) -> Stage:
    keys, routes = make_keys(size[0] or chosen.keys), size[1]
    folder = directory / f"{size[0]}-{routes}"
    folder.mkdir(mode=0o755)
    certificate = folder / "bench.pem"
    certificate.write_bytes(b"".join(self_signed(["localhost", "127.0.0.1"], 5)))
    document = chosen.document
    if routes:
        document = folder / "document.yaml"
        write_more(chosen.document, document, routes)
    scene = Scene(document, read_calls(document), keys, port, chosen.gateway_core, certificate, chosen.spare)
    unready = {}
    for gateway in gateways:
        try:
            gateway.prepare(scene, folder)
        except FAULTS as fault:
            unready[gateway.name] = f"could not be prepared: {fault!r}"
            print(f"bench: {gateway.name} {unready[gateway.name]}", file=sys.stderr)
    return Stage(scene, Load(keys, folder, chosen.load_core, chosen.rate), folder, unready)
