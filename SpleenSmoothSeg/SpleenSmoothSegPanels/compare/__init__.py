"""The Compare section: its panel, its logic, and its scene."""
