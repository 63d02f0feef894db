"""Removing what no model needs: leftovers of killed writers, dead packs, dead objects of packs in use.

Every step leaves a sound depot: an object is in a new, complete pack before the old one is removed. So a
writer that is killed here has only left more to prune for the next.
"""

from __future__ import annotations

from weightbench.archive.atomic import reported, sync_folder

from .folder import PACKS, Folder, Pack
from .objects import ObjectId, StoredObject
from .pack_writing import NewPacks

__all__ = ["live_objects", "prune"]


def live_objects(folder: Folder) -> set[ObjectId]:
    """Return the objects that a manifest needs, and those that their deltas need."""
    live: set[ObjectId] = set()
    for use in folder.models.values():
        live |= use.objects
    for id in list(live):
        if folder.holds(id):
            live |= {span.object for span in folder.find(id)[1].spans if span.object is not None}
    return live


def prune(folder: Folder) -> None:
    """Remove all that no model needs. The caller is the one writer.

    Raises:
        CorruptDepotError: a manifest, a pack's index or an object that is to be moved is damaged.
        ArchiveError: a file cannot be written or removed.
    """
    with reported(f"cannot prune {folder.path}"):
        for path in folder.leftovers():
            path.unlink()
    folder.refresh()
    with reported(f"cannot prune {folder.path}"):
        for path in folder.incomplete:
            path.unlink()
    live = live_objects(folder)
    kept: dict[Pack, list[StoredObject]] = {}
    for pack in sorted(folder.packs.values(), key=lambda pack: -pack.serial):
        # Of an object that is in two packs the later one is kept: the earlier was being rewritten.
        kept[pack] = [stored for stored in pack.objects if stored.id in live]
        live -= {stored.id for stored in kept[pack]}
    partly = [pack for pack, own in kept.items() if own and len(own) < len(pack.objects)]
    with NewPacks(folder) as new:
        for pack in sorted(partly, key=lambda pack: pack.serial):
            for stored in kept[pack]:
                data = pack.map().read(stored.record)
                new.add(stored.id, stored.kind, stored.exact, stored.overhead, stored.spans, data)
    gone = [*partly, *(pack for pack, own in kept.items() if not own)]
    with reported(f"cannot prune {folder.path}"):
        for pack in gone:
            pack.path.unlink()
        if gone:
            sync_folder(folder.path / PACKS)
    folder.refresh()
