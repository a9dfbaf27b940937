"""Every number of a training: the recipe, its file, and the variants of one run."""
