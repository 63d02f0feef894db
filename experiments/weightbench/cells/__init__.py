"""One cell, from weights to numbers: this is what runs in the child process.

Models → units → archive or depot on disk → measured in memory → verified → evaluated → a result for the row,
and a picture.
"""

from .run import run

__all__ = ["run"]
