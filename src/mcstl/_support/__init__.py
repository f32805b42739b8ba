"""What every room uses: errors, files, CSV, progress, plugins, HTML pages and array types."""
