"""The page that a person reads: words, tables, figures."""
