
-- What searching needs besides vectors: words, what is said about items, other names.

-- epoch: drawn anew when a catalog is restored, so that caches of another history are dropped.
CREATE TABLE meta (epoch TEXT NOT NULL);
INSERT INTO meta (epoch) VALUES (lower(hex(randomblob(16))));

-- Of the last change of what is said about an item (metadata, title, text, record). Items that were
-- there before this script have 0 and are read by whoever starts from the beginning.
ALTER TABLE items ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
CREATE INDEX items_by_seq ON items (collection, seq);

-- Another name for a collection; a name is either of a collection or of an alias.
CREATE TABLE aliases (
    name TEXT PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    created TEXT NOT NULL
) WITHOUT ROWID;

-- Full text of titles and texts. The words lie in `items`; triggers keep both the same.
CREATE VIRTUAL TABLE words USING fts5(
    title, text, content='items', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
);
CREATE TRIGGER words_of_new_items AFTER INSERT ON items BEGIN
    INSERT INTO words (rowid, title, text) VALUES (new.id, new.title, new.text);
END;
CREATE TRIGGER words_of_old_items AFTER DELETE ON items BEGIN
    INSERT INTO words (words, rowid, title, text) VALUES ('delete', old.id, old.title, old.text);
END;
CREATE TRIGGER words_of_changed_items AFTER UPDATE OF title, text ON items
WHEN old.title IS NOT new.title OR old.text IS NOT new.text BEGIN
    INSERT INTO words (words, rowid, title, text) VALUES ('delete', old.id, old.title, old.text);
    INSERT INTO words (rowid, title, text) VALUES (new.id, new.title, new.text);
END;
INSERT INTO words (words) VALUES ('rebuild');
