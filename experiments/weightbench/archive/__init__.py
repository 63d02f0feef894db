"""Archives: the bytes that a decoder needs, in one file on disk.

`write_archive` codes a model into one, `open_archive` reads tensors out of it, restores the files, and
verifies it. The file's layout: `layout`, `index`.
"""

from .errors import ArchiveError, CorruptArchiveError
from .index import Index, StoredFile, StoredUnit, UnitReference
from .reader import ArchiveReader, open_archive
from .summary import ArchiveSummary, Sizes, UnitRecord
from .unpacking import UnpackedFile
from .writer import ArchiveWriting, archive_writing, refused_formats, write_archive

__all__ = [
    "ArchiveError",
    "ArchiveReader",
    "ArchiveSummary",
    "ArchiveWriting",
    "CorruptArchiveError",
    "Index",
    "Sizes",
    "StoredFile",
    "StoredUnit",
    "UnitRecord",
    "UnitReference",
    "UnpackedFile",
    "archive_writing",
    "open_archive",
    "refused_formats",
    "write_archive",
]
