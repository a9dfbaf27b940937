"""The Soft border preview section: its panel, its logic, and its scene."""
