"""A worked example of a codec in a package of its own; see README.md."""
