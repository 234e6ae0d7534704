-- Conversations: what was asked and answered, in turns. Media are named, never kept.

CREATE TABLE sessions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    collection TEXT NOT NULL,
    created TEXT NOT NULL,
    used TEXT NOT NULL        -- when its latest turn came
);
CREATE INDEX sessions_by_use ON sessions (used, number);

CREATE TABLE turns (
    session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    role TEXT NOT NULL,
    parts TEXT NOT NULL,      -- JSON: words, item ids, and digests of media from outside
    answer TEXT,              -- JSON: what an assistant's turn rests on
    created TEXT NOT NULL,
    PRIMARY KEY (session, seq)
) WITHOUT ROWID;
