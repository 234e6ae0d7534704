-- What a collection holds: record > item > fragment > vector.
-- Ids are never used twice (AUTOINCREMENT), so an engine can never mistake one vector for another.
-- `seq` counts committed writes; whoever remembers one replays what came after it.

CREATE TABLE clock (seq INTEGER NOT NULL);
INSERT INTO clock (seq) VALUES (0);

CREATE TABLE collections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    space TEXT NOT NULL,      -- JSON: the fields of embed.types.Space
    space_id TEXT NOT NULL,
    chunker TEXT NOT NULL,
    engine TEXT NOT NULL,     -- an address for index.factory
    created TEXT NOT NULL
);

CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    key TEXT NOT NULL,        -- the public id
    UNIQUE (collection, key)
);

-- `text` and `metadata` may be long and come last, so that scans of the rest can skip them.
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    record INTEGER NOT NULL REFERENCES records,
    key TEXT NOT NULL,        -- the public id
    modality TEXT NOT NULL,
    origin TEXT NOT NULL,
    digest TEXT NOT NULL,
    uri TEXT,
    size INTEGER,
    mtime_ns INTEGER,
    checked_ns INTEGER,
    created TEXT NOT NULL,
    updated TEXT NOT NULL,
    title TEXT,
    metadata TEXT NOT NULL,   -- JSON
    text TEXT,
    UNIQUE (collection, key),
    UNIQUE (collection, uri)
);
CREATE INDEX items_by_modality ON items (collection, modality);
CREATE INDEX items_by_record ON items (record);
CREATE INDEX items_by_digest ON items (digest);
CREATE INDEX items_in_order ON items (collection);

CREATE TABLE fragments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,
    span TEXT                 -- JSON: embed.types.span_to_json; NULL is the whole item
);
CREATE INDEX fragments_by_item ON fragments (item);

-- One row for each set of vectors that may be searched together; `seq` is of its last change.
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    modality TEXT NOT NULL,
    kind TEXT NOT NULL,
    dim INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    UNIQUE (collection, modality, kind)
);

CREATE TABLE vectors (
    fragment INTEGER NOT NULL REFERENCES fragments ON DELETE CASCADE,
    partition INTEGER NOT NULL REFERENCES partitions ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    vector BLOB NOT NULL,     -- float32, little-endian, unit length
    UNIQUE (fragment, partition)
);
CREATE INDEX vectors_by_seq ON vectors (partition, seq, fragment);

-- Vectors that are gone, for readers that still hold them.
CREATE TABLE deletions (
    partition INTEGER NOT NULL REFERENCES partitions ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    fragment INTEGER NOT NULL,
    PRIMARY KEY (partition, seq, fragment)
) WITHOUT ROWID;

CREATE TABLE failures (
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    uri TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (collection, uri)
) WITHOUT ROWID;
