"""Depots: a set of models in a folder, with the objects that they share stored once.

`create_depot` makes one, `open_depot` opens it; `Depot.add` codes a model into it, `Depot.open` reads
tensors out of it again, restores its files and verifies it. The files' layouts: `pack`, `manifest`.
"""

from .added import Added, DepotSizes
from .adding import IN_DEPOT
from .base_objects import Base
from .depot import MEMORY_BYTES, Depot, create_depot, open_depot
from .errors import CorruptDepotError, DepotError, DepotLockedError, NoSuchModelError, UnfitBaseError
from .stored_model import StoredModel

__all__ = [
    "IN_DEPOT",
    "MEMORY_BYTES",
    "Added",
    "Base",
    "CorruptDepotError",
    "Depot",
    "DepotError",
    "DepotLockedError",
    "DepotSizes",
    "NoSuchModelError",
    "StoredModel",
    "UnfitBaseError",
    "create_depot",
    "open_depot",
]
