"""The report of a training: text, tables and figures."""
