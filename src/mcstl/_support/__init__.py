"""What every room leans on: errors, whole files, progress, plugins, pages and arrays."""
