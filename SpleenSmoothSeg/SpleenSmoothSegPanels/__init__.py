"""The sections of the module: a panel and a logic for each. Panel -> logic -> SpleenSmoothSegLib."""
