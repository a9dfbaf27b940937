"""The arrows between the folders of the product: a folder imports only what is below it, and no imports are circular.

The rules are checked on the syntax trees of all product files, imports inside functions included.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from locations import REPOSITORY

ENGINE, PANELS = "SpleenSmoothSegLib", "SpleenSmoothSegPanels"
TRAINING, TRAINING_PANEL = "SpleenSmoothSegTrainingLib", "SpleenSmoothSegTrainingPanel"
MODULE, TRAINING_MODULE = "SpleenSmoothSeg", "SpleenSmoothSegTraining"
MODULES = (MODULE, TRAINING_MODULE)

# From the bottom to the top; units in one row do not import each other.
ENGINE_ROWS = (("errors", "callbacks"), ("geometry",), ("io",), ("border", "model", "metrics"), ("inference",))
TRAINING_ROWS = tuple((unit,) for unit in ("outfolder", "recipe", "data", "learning", "measuring", "reporting", "run"))

# Not available when Slicer loads a module, or slow to import: installed later.
LATE_PACKAGES = {
    "albumentations",
    "dask",
    "matplotlib",
    "safetensors",
    "segmentation_models_pytorch",
    "SimpleITK",
    "slicerio",
    "surface_distance",
    "torch",
    "torchvision",
}
SLICER_PACKAGES = {"ctk", "qt", "slicer", "vtk"}


def allowed_imports() -> dict[str, set[str]]:
    """For each unit (a folder, or a file beside folders) the units that it may import."""
    allowed = {}

    def stack(package: str, rows: tuple[tuple[str, ...], ...], below: set[str]) -> set[str]:
        for row in rows:
            units = {f"{package}.{unit}" for unit in row}
            allowed.update(dict.fromkeys(units, below))
            below = below | units
        return below

    engine = stack(ENGINE, ENGINE_ROWS, set())
    allowed[f"{ENGINE}.mrml"] = {f"{ENGINE}.{unit}" for unit in ("errors", "geometry", "io")}
    allowed[f"{ENGINE}.batch"] = engine
    for_panels = engine | {f"{ENGINE}.mrml"}
    panels = stack(PANELS, (("shared",), ("segment", "border", "compare")), for_panels)
    allowed[MODULE] = panels
    for_command_lines = engine | {f"{ENGINE}.batch"}
    training = stack(TRAINING, TRAINING_ROWS, for_command_lines)
    for_training_panel = {f"{TRAINING}.outfolder", f"{TRAINING}.recipe"}
    allowed[TRAINING_PANEL] = panels | {MODULE} | for_training_panel
    allowed[TRAINING_MODULE] = allowed[TRAINING_PANEL] | {TRAINING_PANEL}
    allowed.update({f"CommandLine.{name}": for_command_lines for name in ("segment", "soften")})
    allowed.update({f"CommandLine.{name}": training for name in ("train", "evaluate")})
    return allowed


ALLOWED = allowed_imports()


def product_sources() -> dict[str, str]:
    """Source text of each product file by its dotted module name."""
    sources = {}
    for module in MODULES:
        for path in sorted((REPOSITORY / module).rglob("*.py")):
            name = ".".join(path.relative_to(REPOSITORY / module).with_suffix("").parts)
            sources[name] = path.read_text(encoding="utf-8")
    return sources


SOURCES = product_sources()


def unit_of(name: str) -> str | None:
    """The unit that a dotted name belongs to; None for a package itself and for what is not ours."""
    return next((unit for unit in ALLOWED if name == unit or name.startswith(f"{unit}.")), None)


def imports_of(name: str, source: str, inside_functions: bool = True) -> set[str]:
    """Dotted names that a module imports, and those of what it imports from them."""
    package = name.split(".")[:-1]
    found = set()
    for node in nodes_of(ast.parse(source), inside_functions):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parts, node.module] if node.module else parts)
            found.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
    return found


def nodes_of(tree: ast.AST, inside_functions: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from nodes_of(node, inside_functions)


def forbidden_arrows(sources: dict[str, str]) -> list[str]:
    """Imports from a unit that a module's own unit may not import."""
    return [
        f"{name} imports {imported}"
        for name, source in sources.items()
        for imported in sorted(imports_of(name, source))
        if (unit := unit_of(imported)) and unit != unit_of(name) and unit not in ALLOWED.get(unit_of(name) or "", ())
    ]


def cycle(sources: dict[str, str]) -> list[str]:
    """A cycle of modules that import each other; empty if none."""
    graph = {name: imports_of(name, source) & (sources.keys() - {name}) for name, source in sources.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def importers_of(package: str, sources: dict[str, str]) -> set[str]:
    """Modules that import an external package, at file scope or in a function."""
    return {name for name, source in sources.items() if package in top_levels(imports_of(name, source))}


def late_packages_loaded_by(module: str, sources: dict[str, str]) -> dict[str, set[str]]:
    """The late packages that importing a module would load, by the module that imports them at file scope."""
    loaded, todo = {}, [module]
    while todo:
        name = todo.pop()
        if name in sources and name not in loaded:
            imported = imports_of(name, sources[name], inside_functions=False)
            loaded[name] = top_levels(imported) & LATE_PACKAGES
            todo += imported
    return {name: packages for name, packages in loaded.items() if packages}


def top_levels(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


# ---- the product


def test_every_product_file_belongs_to_a_unit():
    packages = {name for name in SOURCES if name.endswith("__init__")}
    assert [name for name in SOURCES.keys() - packages if unit_of(name) is None] == []


def test_packages_import_nothing():
    packages = {name: source for name, source in SOURCES.items() if name.endswith("__init__")}
    assert packages
    assert [name for name, source in packages.items() if imports_of(name, source)] == []


def test_every_import_follows_the_arrows():
    assert forbidden_arrows(SOURCES) == []


def test_no_imports_are_circular():
    assert cycle(SOURCES) == []


def test_only_mrml_imports_slicer_in_the_engine_and_the_training():
    headless = {name: source for name, source in SOURCES.items() if name.startswith((f"{ENGINE}.", f"{TRAINING}."))}
    for package in SLICER_PACKAGES:
        assert importers_of(package, headless) <= {f"{ENGINE}.mrml"}


def test_only_the_console_imports_argparse_in_the_engine():
    engine = {name: source for name, source in SOURCES.items() if name.startswith(f"{ENGINE}.")}
    assert importers_of("argparse", engine) <= {f"{ENGINE}.batch.console"}


@pytest.mark.parametrize(
    "module", [name for name in SOURCES if name.partition(".")[0] in (PANELS, TRAINING_PANEL, *MODULES)]
)
def test_module_file_or_panel_loads_no_late_package(module):
    assert late_packages_loaded_by(module, SOURCES) == {}


# ---- violations are detected


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (f"{ENGINE}.geometry.grid", "from ..io.images import read_image"),
        (f"{ENGINE}.border.kernels", "from ..metrics import overlap"),
        (f"{ENGINE}.inference.ensemble", "def f():\n    from ..batch.console import Console"),
        (f"{ENGINE}.mrml", "from .inference.ensemble import segment_image"),
        (f"{ENGINE}.model.folder", "from .. import mrml"),
        (f"{ENGINE}.io.images", f"import {PANELS}.segment.panel"),
        (f"{ENGINE}.io.images", f"from {TRAINING}.data import pairs"),
        (f"{PANELS}.segment.logic", f"from {ENGINE}.batch.console import Console"),
        (f"{PANELS}.border.logic", "from ..segment.logic import SegmentLogic"),
        (f"{PANELS}.shared.widgets", f"from {MODULE} import SpleenSmoothSegLogic"),
        (f"{TRAINING}.recipe.recipe", "from ..run import training"),
        (f"{TRAINING}.run.training", f"from {PANELS}.shared import models"),
        (f"{TRAINING_PANEL}.logic", f"from {TRAINING}.learning import fold"),
        ("CommandLine.segment", f"from {TRAINING}.run import training"),
    ],
)
def test_forbidden_arrow_is_detected(name, source):
    assert forbidden_arrows({name: source})


def test_allowed_arrow_is_not_detected():
    sources = {
        f"{ENGINE}.io.images": "from ..geometry.grid import Grid\nfrom . import nifti\nimport SimpleITK",
        f"{TRAINING}.run.training": f"from {ENGINE}.batch.jobs import Job\nfrom ..data import pairs",
    }
    assert forbidden_arrows(sources) == []


def test_circular_import_is_detected():
    first, second = f"{ENGINE}.io.images", f"{ENGINE}.io.dicom"
    assert cycle({first: "from .dicom import read", second: "def f():\n    from . import images"})
    assert not cycle({first: "from .dicom import read", second: ""})


def test_late_package_is_detected_through_other_modules():
    panel, kernels = f"{PANELS}.border.panel", f"{ENGINE}.border.kernels"
    sources = {panel: f"from {kernels} import Border", kernels: "import SimpleITK as sitk\nimport numpy"}
    assert late_packages_loaded_by(panel, sources) == {kernels: {"SimpleITK"}}
    sources[panel] = f"def f():\n    from {kernels} import Border\n    import torch"
    assert late_packages_loaded_by(panel, sources) == {}


def test_external_import_is_detected():
    assert importers_of("slicer", {"a": "def f():\n    import slicer.util", "b": "import slicerio"}) == {"a"}
