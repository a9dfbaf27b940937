"""Mistakes in the source that do not fail on every run."""

import ast

import pytest

from locations import REPOSITORY

FOLDERS = ("SpleenSmoothSeg", "SpleenSmoothSegTraining", "Testing")
FILES = sorted(path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py"))


def views_of_temporary_images(source: str) -> list[int]:
    """Lines that view the memory of a temporary image, which is freed before the array is read."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "GetArrayViewFromImage"
        and not isinstance(node.args[0], ast.Name | ast.Attribute)
    ]


def test_view_of_temporary_image_is_detected():
    assert views_of_temporary_images("sitk.GetArrayViewFromImage(image)\nsitk.GetArrayViewFromImage(f(image))") == [2]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_array_views_a_temporary_image(path):
    assert views_of_temporary_images(path.read_text(encoding="utf-8")) == []
