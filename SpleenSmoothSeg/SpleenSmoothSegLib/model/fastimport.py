"""Imports network libraries without PyTorch's compiler, which takes longer to import than everything else together.

torchvision and timm import it for two small functions, one that disables it and one that checks whether it is
supported; nothing is compiled here (Testing/Benchmarks/bench_import.py).
"""

import contextlib
import sys
import types
from collections.abc import Iterator

COMPILER = "torch._dynamo"


@contextlib.contextmanager
def without_compiler() -> Iterator[None]:
    """Context in which stubs replace the compiler, unless already imported; afterwards it can be imported."""
    if COMPILER in sys.modules:
        yield
        return
    compiler, utils = types.ModuleType(COMPILER), types.ModuleType(f"{COMPILER}.utils")
    vars(compiler).update(__path__=[], utils=utils, disable=_undecorated)  # __path__ marks a package, for import
    vars(utils).update(is_compile_supported=lambda device: False)
    stubs = {module.__name__: module for module in (compiler, utils)}
    sys.modules.update(stubs)
    try:
        yield
    finally:
        for name, module in stubs.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        vars(sys.modules["torch"]).pop("_dynamo", None)  # set by the import


def _undecorated(function=None, *_arguments, **_options):
    """Like torch._dynamo.disable, called with a function or as a decorator with options."""
    return function if function is not None else _undecorated
