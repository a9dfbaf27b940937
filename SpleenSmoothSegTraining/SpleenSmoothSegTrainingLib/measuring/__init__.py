"""Evaluation of a trained model: masks against labels, and statistics."""
