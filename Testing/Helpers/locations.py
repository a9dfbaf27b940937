"""Paths of the repository, its sample, and the larger data that only developers have."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "SpleenSmoothSeg"
TRAINING_MODULE = REPOSITORY / "SpleenSmoothSegTraining"
SAMPLE_DATA = MODULE / "Resources" / "SampleData"
STARTER_MODEL = MODULE / "Resources" / "Models" / "Starter"
SHARED_DATA = REPOSITORY.parent / "shared" / "data" / "Task09_SpleenOpen"
SMALL_ENCODER = "tu-mobilenetv3_small_050"
