"""Level crossings and signed distances, on shapes whose geometry is known."""

import numpy as np
import pytest

from SpleenSmoothSegLib.border.contour import IN_SLICES, IN_SPACE, MaskBorder, crossings


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.8, 0.8), (1.0, 0.5, 2.0)])
def test_crossings_areas_sum_to_the_projected_surface(spacing):
    index = np.indices([round(50 / step) for step in spacing]).T * spacing
    values = 20 - np.linalg.norm(index - 24.3, axis=-1).T  # level 0 is a sphere of radius 20 mm
    points, areas = crossings(values, 0.0, spacing)
    np.testing.assert_allclose(np.linalg.norm(points * spacing - 24.3, axis=1), 20, atol=0.1)
    assert areas.sum() == pytest.approx(1.5 * 4 * np.pi * 20**2, rel=0.02)  # projected along each axis, on both sides


@pytest.mark.parametrize("away", [-5.0, -2.0, 2.0, 8.0])
def test_signed_distance_to_a_ball_has_subvoxel_accuracy(away):
    index = np.indices((71,) * 3) - 71 // 2 + 0.2
    mask = (index**2).sum(axis=0) <= 20**2
    directions = np.random.default_rng(0).normal(size=(2000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points = 100 + mask.shape[0] // 2 - 0.2 + (20 + away) * directions
    found = MaskBorder(mask, (100, 100, 100), (1.0, 1.0, 1.0), IN_SPACE).signed_distance(points)
    assert np.abs(found - away).mean() < 0.25
    assert np.all(np.sign(found) == np.sign(away))


def test_signed_distance_in_slices_ignores_other_slices():
    mask = np.zeros((5, 20, 20), bool)
    mask[2, 5:15, 5:15] = True
    points = np.array([[2.0, 10, 17], [3.0, 10, 17], [2.0, 10, 13]])
    found = MaskBorder(mask, (0, 0, 0), (0.5, 1.0, 2.0), IN_SLICES).signed_distance(points)
    np.testing.assert_allclose(found, [5, np.inf, -3])
