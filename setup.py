"""Compiles the modules that stand on the way of every request where that is asked for: KEYSTILE_COMPILE=1 pip install .

The compiler is mypyc: the same Python source becomes C, with its types checked where it is entered; whatever is not
compiled, and every module without KEYSTILE_COMPILE, is the source itself. Needs a C compiler and Python's headers, and
about two minutes; KEYSTILE_OPTIMIZE=0 takes half of it, for a first look. What it brings: docs/performance.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).parent
HOT = (
    *(f"src/keystile/{package}/*.py" for package in ("limits", "relay", "routing", "wire")),
    *(f"src/keystile/keys/{module}.py" for module in ("keyring", "networks", "scopes", "secret")),
)
#: What mypyc cannot compile: classes that are ctypes' structures, ssl's contexts, enums with an ``__init__``, or of
#: most built-in types. None of it is on the way of a request that is kept alive.
AS_THEY_ARE = {
    "limits/mutex.py",
    "relay/refusal.py",
    "relay/terms.py",
    "routing/document.py",
    "wire/client_context.py",
    "wire/tls_gate.py",
}
#: gcc looks up the indentation of a file of 48 MB, most of it blanks: 110 s at -O0 with this warning, 20 without it.
QUICKLY = ["-Wno-misleading-indentation"]
#: Functions that nobody outside calls need no detour through a table for it, and small ones are inlined: 5 % less.
DIRECTLY = ["-fvisibility=hidden", "-fno-semantic-interposition", "-fno-plt"]
MYPY = ["--config-file=", "--ignore-missing-imports", "--python-version=3.11"]


def hot_modules() -> list[str]:
    """Their files, from here."""
    found = sorted(file for pattern in HOT for file in HERE.glob(pattern) if file.name != "__init__.py")
    return [str(file.relative_to(HERE)) for file in found if "/".join(file.parts[-2:]) not in AS_THEY_ARE]


def compiled(mypycify: Callable[..., list[Extension]]) -> list[Extension]:
    """What is to be built, optimized as KEYSTILE_OPTIMIZE says (gcc's -O, 2)."""
    extensions = mypycify([*MYPY, *hot_modules()], opt_level=os.environ.get("KEYSTILE_OPTIMIZE", "2"))
    for extension in extensions:
        extension.extra_compile_args = [*extension.extra_compile_args, *QUICKLY, *DIRECTLY]
    return extensions


if os.environ.get("KEYSTILE_COMPILE") == "1":
    try:
        from mypyc.build import mypycify
    except ImportError:
        # pip asks first what this file needs, and installs it; then it comes here again.
        setup(setup_requires=["mypy>=1.13"])
    else:
        setup(
            setup_requires=["mypy>=1.13"],
            ext_modules=compiled(mypycify),
            # The small ones, one for each module, beside the large one that all of it is in.
            options={"build_ext": {"parallel": os.cpu_count()}},
        )
else:
    setup()
