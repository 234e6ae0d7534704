-- What records that lack a modality are supposed to have there. Hypotheses, never items: no search,
-- no count, no calibration and no training meets one.

CREATE TABLE completions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    record INTEGER NOT NULL REFERENCES records ON DELETE CASCADE,
    modality TEXT NOT NULL,
    method TEXT NOT NULL,
    origin TEXT NOT NULL,     -- retrieved or generated
    p REAL NOT NULL,
    space_id TEXT NOT NULL,   -- where it was worked out
    fit TEXT,                 -- names the curve that p is by; NULL without one
    own TEXT NOT NULL,        -- digest of what the record held then
    created TEXT NOT NULL,
    value TEXT,
    vector BLOB,              -- float32, little-endian, unit length
    UNIQUE (record, modality, method)
);
CREATE INDEX completions_by_modality ON completions (collection, modality, p);

-- Items by their public ids: a completion outlives its sources, and is stale then.
CREATE TABLE completion_sources (
    completion INTEGER NOT NULL REFERENCES completions ON DELETE CASCADE,
    place INTEGER NOT NULL,
    item TEXT NOT NULL,
    record TEXT NOT NULL,
    digest TEXT NOT NULL,     -- of the item then
    share REAL NOT NULL,
    PRIMARY KEY (completion, place)
) WITHOUT ROWID;

-- How sure completions are, fitted on what the collection has observed.
CREATE TABLE completion_fits (
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    modality TEXT NOT NULL,
    method TEXT NOT NULL,
    space_id TEXT NOT NULL,
    pairs INTEGER NOT NULL,   -- records that held several modalities then, this one among them
    fit TEXT NOT NULL,        -- JSON
    created TEXT NOT NULL,
    PRIMARY KEY (collection, modality, method)
) WITHOUT ROWID;
