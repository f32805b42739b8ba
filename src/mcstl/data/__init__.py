"""Annotations: the checked table, tables in and out, labels, importers and splits."""
