"""Libraries of networks without PyTorch's compiler, which takes longer to load than all else of them.

torchvision, timm and networks that are made without weights load it for two small functions, one that keeps it from
compiling something and one that asks whether it could; here nothing is compiled (Testing/Benchmarks/bench_import.py).
"""

import contextlib
import sys
import types
from collections.abc import Iterator

COMPILER = "torch._dynamo"


@contextlib.contextmanager
def without_compiler() -> Iterator[None]:
    """While it lasts, stand-ins take the place of the compiler, unless it is loaded; then it can be loaded as ever."""
    if COMPILER in sys.modules:
        yield
        return
    compiler, utils = types.ModuleType(COMPILER), types.ModuleType(f"{COMPILER}.utils")
    vars(compiler).update(__path__=[], utils=utils, disable=_undecorated)  # __path__ marks a package, for import
    vars(utils).update(is_compile_supported=lambda device: False)
    stand_ins = {module.__name__: module for module in (compiler, utils)}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        vars(sys.modules["torch"]).pop("_dynamo", None)  # import may have put it there


def _undecorated(function=None, *_arguments, **_options):
    """As torch._dynamo.disable, with a function or as a decorator with options."""
    return function if function is not None else _undecorated
