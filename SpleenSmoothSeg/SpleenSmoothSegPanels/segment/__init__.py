"""The Segment section: its panel, its logic, and what it adds to the scene."""
