"""Mistakes that only sometimes show when the program runs."""

import ast

import pytest

from locations import REPOSITORY

ROOT = REPOSITORY
FOLDERS = ("SpleenSmoothSeg", "SpleenSmoothSegTraining", "Testing")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def views_of_passing_images(source: str) -> list[int]:
    """Lines where an array looks into an image that nobody holds: its memory is free before the array is read."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "GetArrayViewFromImage"
        and not isinstance(node.args[0], ast.Name | ast.Attribute)
    ]


def test_a_view_of_a_passing_image_is_found():
    assert views_of_passing_images("sitk.GetArrayViewFromImage(image)\nsitk.GetArrayViewFromImage(f(image))") == [2]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_array_looks_into_an_image_that_nobody_holds(path):
    assert views_of_passing_images(path.read_text(encoding="utf-8")) == []
