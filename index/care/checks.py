"""What must hold between the tables of a catalog, as queries that find what breaks it, and as
scripts that mend it.

Each `find` gives rows of (row id or name, what it is called, its collection if it has one). Each
`mend` is given the first of them as `:id`, and as `:seq` the seq of the repair, so that engines
follow what it changes. Nothing here runs anything: `verify.py` finds, `repair.py` mends.
"""

from __future__ import annotations

from dataclasses import dataclass

from embed.types import Modality, Origin
from index.types import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """code: stable, for machines. says: what is wrong with `{}`. remedy: what a repair does.

    mend: None where a repair can do nothing. harmless: what a write that was broken off may leave
    behind; it costs room and nothing else.
    """

    code: str
    says: str
    remedy: str
    find: str
    mend: str | None = None
    harmless: bool = False


def _words(choices: type[Modality | Origin | Storage]) -> str:
    return ", ".join(f"'{choice.value}'" for choice in choices)


SENSIBLE = "typeof(seq) = 'integer' AND seq BETWEEN 0 AND 9007199254740992"


def _seq(table: str) -> Check:
    return Check(
        code="seq",
        says=f"row {{}} of {table} has no sensible seq",
        remedy="give it a new one",
        find=f"SELECT rowid, rowid, NULL FROM {table} WHERE NOT ({SENSIBLE})",  # noqa: S608
        mend=f"UPDATE {table} SET seq = :seq WHERE rowid = :id;",  # noqa: S608
    )


_NOW = "strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')"

# An item whose vectors cannot be trusted loses all of them: half an item would be found by half.
# Without a digest or stamp its file is read again by the next ingest.
FORGET_VECTORS = f"""
    INSERT OR IGNORE INTO deletions (partition, seq, fragment)
    SELECT v.partition, :seq, v.fragment FROM vectors v JOIN fragments f ON f.id = v.fragment
    JOIN partitions p ON p.id = v.partition WHERE f.item = :id;
    UPDATE partitions SET seq = :seq WHERE id IN (SELECT v.partition FROM vectors v
    JOIN fragments f ON f.id = v.fragment WHERE f.item = :id);
    DELETE FROM fragments WHERE item = :id;
    UPDATE items SET digest = CASE WHEN uri IS NULL THEN digest ELSE '' END,
    size = NULL, mtime_ns = NULL, checked_ns = NULL WHERE id = :id;
    INSERT OR REPLACE INTO failures (collection, uri, code, message, at)
    SELECT collection, coalesce(uri, 'upload:' || key), 'needs_embedding',
    'its vectors were damaged and are gone: ' || CASE WHEN uri IS NULL
    THEN 'send it again under its id' ELSE 'ingest its file again' END, {_NOW}
    FROM items WHERE id = :id;
"""  # noqa: S608 - our own expression
# By the size of its vectors.
_STORAGE = """coalesce((SELECT CASE WHEN length(v.vector) = 2 * p.dim THEN 'float16'
    ELSE 'float32' END FROM partitions p JOIN vectors v ON v.partition = p.id
    WHERE p.collection = :id LIMIT 1), 'float32')"""

FORGOTTEN = "forget its vectors, and note that it is to be embedded again"

_FORGET_VECTOR = """
    INSERT OR IGNORE INTO deletions (partition, seq, fragment)
    SELECT v.partition, :seq, :id FROM vectors v JOIN partitions p ON p.id = v.partition
    WHERE v.fragment = :id;
    DELETE FROM vectors WHERE fragment = :id;
"""


def _forgotten(table: str) -> Check:
    return Check(
        code="forgotten",
        says=f"row {{}} of {table} has forgotten more than was written",
        remedy="set it to what was written",
        find=f"""SELECT id, id, NULL FROM {table}
            WHERE typeof(forgotten) != 'integer' OR forgotten NOT BETWEEN 0 AND seq""",  # noqa: S608
        mend=f"UPDATE {table} SET forgotten = seq WHERE id = :id;",  # noqa: S608
    )


CHECKS = (
    *map(_seq, ("collections", "partitions", "items", "vectors")),
    *map(_forgotten, ("collections", "partitions")),
    Check(
        code="epoch",
        says="the catalog has no single epoch",
        remedy="draw one",
        find="SELECT 1, '', NULL WHERE (SELECT count(*) FROM meta) != 1",
        mend="""DELETE FROM meta;
            INSERT INTO meta (epoch) VALUES (lower(hex(randomblob(16))));""",
    ),
    Check(
        code="clock",
        says="the clock of the catalog is behind what was written, or there is no single one",
        remedy="set it",
        find="""SELECT 1, '', NULL WHERE (SELECT count(*) FROM clock) != 1
            OR (SELECT typeof(seq) FROM clock) != 'integer'
            OR (SELECT seq FROM clock) < (SELECT max(seq) FROM (SELECT seq FROM partitions
            UNION ALL SELECT max(seq) FROM vectors UNION ALL SELECT max(seq) FROM deletions
            UNION ALL SELECT max(seq) FROM items UNION ALL SELECT max(seq) FROM removals
            UNION ALL SELECT max(seq) FROM collections))""",
        mend="DELETE FROM clock; INSERT INTO clock (seq) VALUES (:seq);",
    ),
    Check(
        code="lost_collection",
        says="items belong to collection {}, which is not there",
        remedy="make a collection `recovered-…` of them, of a space that is not known",
        find="""SELECT collection, collection, collection FROM items UNION
            SELECT collection, collection, collection FROM partitions
            EXCEPT SELECT id, id, id FROM collections""",
        mend=f"""INSERT INTO collections
            (id, name, space, space_id, chunker, engine, created, storage)
            SELECT :id, 'recovered-' || :id, json_object('name', 'unknown', 'revision', :id || '',
            'preprocessing', '', 'precision', 'fp32', 'dim', coalesce((SELECT dim FROM partitions
            WHERE collection = :id AND kind = 'joint'), 1)), '', 'unknown', 'exact', {_NOW},
            {_STORAGE};""",  # noqa: S608
    ),
    Check(
        code="storage",
        says="collection {} keeps its vectors in a way that is not known",
        remedy="tell it from their size",
        find=f"""SELECT id, name, id FROM collections
            WHERE storage NOT IN ({_words(Storage)})""",  # noqa: S608
        mend=f"UPDATE collections SET storage = {_STORAGE} WHERE id = :id;",  # noqa: S608
    ),
    Check(
        code="item_without_record",
        says="item {} has no record",
        remedy="give it one of its own",
        find="""SELECT i.id, i.key, i.collection FROM items i
            LEFT JOIN records r ON r.id = i.record
            WHERE r.id IS NULL OR r.collection != i.collection""",
        mend="""INSERT OR IGNORE INTO records (collection, key)
            SELECT collection, key FROM items WHERE id = :id;
            UPDATE items SET seq = :seq, record = (SELECT r.id FROM records r
            WHERE r.key = items.key AND r.collection = items.collection) WHERE id = :id;""",
    ),
    Check(
        code="record_without_items",
        says="record {} has no items",
        remedy="forget it",
        find="""SELECT id, key, collection FROM records
            WHERE NOT EXISTS (SELECT 1 FROM items WHERE record = records.id)""",
        mend="""DELETE FROM records WHERE id = :id
            AND NOT EXISTS (SELECT 1 FROM items WHERE record = :id);""",
        harmless=True,
    ),
    Check(
        code="metadata",
        says="the metadata of item {} is no JSON object",
        remedy="empty it; what it was goes into the list of failures",
        find="""SELECT id, key, collection FROM items WHERE NOT json_valid(metadata)
            OR json_type(metadata) IS NOT 'object'""",
        mend=f"""INSERT OR REPLACE INTO failures (collection, uri, code, message, at)
            SELECT collection, coalesce(uri, 'upload:' || key), 'metadata',
            'its metadata was damaged: ' || CAST(metadata AS TEXT), {_NOW}
            FROM items WHERE id = :id;
            UPDATE items SET metadata = '{{}}', seq = :seq WHERE id = :id;""",  # noqa: S608
    ),
    Check(
        code="kind",
        says="item {} is of a modality or an origin that is not known",
        remedy="take the modality of its vectors, where it has any; upgrade Crossbind otherwise",
        find=f"""SELECT id, key, collection FROM items
            WHERE modality NOT IN ({_words(Modality)}) OR origin NOT IN ({_words(Origin)})""",  # noqa: S608
        mend=f"""UPDATE items SET seq = :seq, origin = CASE WHEN origin IN ({_words(Origin)})
            THEN origin ELSE 'observed' END, modality = coalesce((SELECT p.modality FROM fragments f
            JOIN vectors v ON v.fragment = f.id JOIN partitions p ON p.id = v.partition
            WHERE f.item = items.id AND p.modality IN ({_words(Modality)})), modality)
            WHERE id = :id;""",  # noqa: S608
    ),
    Check(
        code="partition_kind",
        says="partition {} is of a modality or a kind that is not known",
        remedy="take the modality of its items, and the kind that is missing",
        find=f"""SELECT id, id, collection FROM partitions WHERE kind NOT IN ('joint', 'native')
            OR modality NOT IN ({_words(Modality)})""",  # noqa: S608
        mend=f"""UPDATE OR IGNORE partitions SET modality = coalesce((SELECT i.modality
            FROM vectors v JOIN fragments f ON f.id = v.fragment JOIN items i ON i.id = f.item
            WHERE v.partition = partitions.id AND i.modality IN ({_words(Modality)})), modality)
            WHERE id = :id;
            UPDATE OR IGNORE partitions SET kind = 'joint'
            WHERE id = :id AND kind NOT IN ('joint', 'native');
            UPDATE OR IGNORE partitions SET kind = 'native'
            WHERE id = :id AND kind NOT IN ('joint', 'native');""",  # noqa: S608
    ),
    Check(
        code="orphan_fragment",
        says="fragment {} belongs to no item",
        remedy="forget it",
        find="""SELECT f.id, f.id, NULL FROM fragments f LEFT JOIN items i ON i.id = f.item
            WHERE i.id IS NULL""",
        mend=_FORGET_VECTOR + "DELETE FROM fragments WHERE id = :id;",  # noqa: S608
    ),
    Check(
        code="orphan_vector",
        says="a vector belongs to fragment {}, which is not there",
        remedy="forget it",
        find="""SELECT DISTINCT v.fragment, v.fragment, NULL FROM vectors v
            LEFT JOIN fragments f ON f.id = v.fragment WHERE f.id IS NULL""",
        mend=_FORGET_VECTOR,
    ),
    Check(
        code="span",
        says="a fragment of item {} has a span that cannot be read",
        remedy=FORGOTTEN,
        find="""SELECT i.id, i.key, i.collection FROM fragments f JOIN items i ON i.id = f.item
            WHERE f.span IS NOT NULL AND NOT json_valid(f.span) GROUP BY i.id""",
        mend=FORGET_VECTORS,
    ),
    Check(
        code="foreign_vector",
        says="a vector of item {} lies in a partition of another kind or collection",
        remedy=FORGOTTEN,
        find="""SELECT i.id, i.key, i.collection FROM vectors v
            JOIN fragments f ON f.id = v.fragment JOIN items i ON i.id = f.item
            LEFT JOIN partitions p ON p.id = v.partition WHERE p.id IS NULL
            OR p.collection != i.collection OR p.modality != i.modality GROUP BY i.id""",
        mend=FORGET_VECTORS,
    ),
    Check(
        code="fragment_without_vector",
        says="a fragment of item {} has no vector",
        remedy=FORGOTTEN,
        find="""SELECT i.id, i.key, i.collection FROM fragments f JOIN items i ON i.id = f.item
            WHERE NOT EXISTS (SELECT 1 FROM vectors v JOIN partitions p ON p.id = v.partition
            WHERE v.fragment = f.id AND p.kind = 'joint') GROUP BY i.id""",
        mend=FORGET_VECTORS,
    ),
    Check(
        code="deleted_vector",
        says="fragment {} is noted as deleted, and has a vector",
        remedy="keep the vector, and forget the note",
        find="""SELECT DISTINCT d.fragment, d.fragment, NULL FROM deletions d
            JOIN vectors v ON v.fragment = d.fragment AND v.partition = d.partition""",
        mend="""DELETE FROM deletions WHERE fragment = :id
            AND partition IN (SELECT partition FROM vectors WHERE fragment = :id);
            UPDATE vectors SET seq = :seq WHERE fragment = :id;
            UPDATE partitions SET seq = :seq
            WHERE id IN (SELECT partition FROM vectors WHERE fragment = :id);""",
    ),
    Check(
        code="partition_behind",
        says="partition {} is behind its own vectors, so that searches may miss them",
        remedy="set its seq",
        find="""SELECT p.id, p.id, p.collection FROM partitions p WHERE p.seq < max(
            coalesce((SELECT max(seq) FROM vectors WHERE partition = p.id), 0),
            coalesce((SELECT max(seq) FROM deletions WHERE partition = p.id), 0))""",
        mend="UPDATE partitions SET seq = :seq WHERE id = :id;",
    ),
    Check(
        code="orphan_deletion",
        says="deletions are noted of partition {}, which is not there",
        remedy="forget them",
        find="""SELECT DISTINCT d.partition, d.partition, NULL FROM deletions d
            LEFT JOIN partitions p ON p.id = d.partition WHERE p.id IS NULL""",
        mend="DELETE FROM deletions WHERE partition = :id;",
    ),
    Check(
        code="collection_behind",
        says="collection {} is behind its own items, so that filters may miss them",
        remedy="set its seq",
        find="""SELECT c.id, c.name, c.id FROM collections c WHERE c.seq < max(
            coalesce((SELECT max(seq) FROM items WHERE collection = c.id), 0),
            coalesce((SELECT max(seq) FROM removals WHERE collection = c.id), 0))""",
        mend="UPDATE collections SET seq = :seq WHERE id = :id;",
    ),
    Check(
        code="removed_item",
        says="item {} is noted as removed, and is there",
        remedy="keep the item, and forget the note",
        find="""SELECT DISTINCT i.id, i.key, i.collection FROM removals r
            JOIN items i ON i.id = r.item""",
        mend="""DELETE FROM removals WHERE item = :id; UPDATE items SET seq = :seq WHERE id = :id;
            UPDATE collections SET seq = :seq
            WHERE id = (SELECT collection FROM items WHERE id = :id);""",
    ),
    Check(
        code="orphan_removal",
        says="removals are noted of collection {}, which is not there",
        remedy="forget them",
        find="""SELECT DISTINCT r.collection, r.collection, NULL FROM removals r
            LEFT JOIN collections c ON c.id = r.collection WHERE c.id IS NULL""",
        mend="DELETE FROM removals WHERE collection = :id;",
    ),
    Check(
        code="orphan_failure",
        says="failures are noted of collection {}, which is not there",
        remedy="forget them",
        find="""SELECT DISTINCT f.collection, f.collection, NULL FROM failures f
            LEFT JOIN collections c ON c.id = f.collection WHERE c.id IS NULL""",
        mend="DELETE FROM failures WHERE collection = :id;",
    ),
    Check(
        code="alias",
        says="alias {} points at no collection, or hides one",
        remedy="forget it",
        find="""SELECT a.name, a.name, NULL FROM aliases a
            LEFT JOIN collections c ON c.id = a.collection
            WHERE c.id IS NULL OR a.name IN (SELECT name FROM collections)""",
        mend="DELETE FROM aliases WHERE name = :id;",
    ),
    Check(
        code="shadow",
        says="{} was to take the place of a collection that is not there",
        remedy="forget it",
        find="""SELECT id, name, id FROM collections WHERE name LIKE '%~migrating'
            AND substr(name, 1, length(name) - 10) NOT IN (SELECT name FROM collections)""",
        mend="DELETE FROM collections WHERE id = :id;",
        harmless=True,
    ),
)
