-- What those need to know who keep what is said about items, in columns or elsewhere.

-- seq: of the last change of what is said about any of its items.
ALTER TABLE collections ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;

-- Items that are gone, for readers that still hold them.
CREATE TABLE removals (
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    item INTEGER NOT NULL,
    PRIMARY KEY (collection, seq, item)
) WITHOUT ROWID;

-- The words of all titles and texts, and in how many items each of them is.
CREATE VIRTUAL TABLE terms USING fts5vocab (words, row);
