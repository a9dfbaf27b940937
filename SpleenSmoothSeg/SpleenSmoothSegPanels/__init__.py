"""What a person sees: one panel and one logic for each part of the module. Panel -> logic -> SpleenSmoothSegLib."""
