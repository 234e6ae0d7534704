-- What the service remembers of its own: work that goes on in the background.

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,   -- the order of their coming
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,       -- JSON: what was asked
    words TEXT NOT NULL,      -- JSON: the command line that does it
    resume TEXT NOT NULL,     -- JSON: what is added to it when it goes on
    folder TEXT NOT NULL,     -- where it runs
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    pid INTEGER,              -- of the process that watches over it, while it runs
    created TEXT NOT NULL,
    started TEXT,             -- the latest attempt
    ended TEXT,
    progress TEXT,            -- JSON
    result TEXT,              -- JSON: the document that the command printed
    failures TEXT NOT NULL DEFAULT '[]',        -- JSON: of single items, the first ones
    error TEXT                -- JSON: code and message, why it did not end well
);
CREATE INDEX jobs_by_state ON jobs (state, number);

-- What happened, told one by one; the oldest of each kind are forgotten.
CREATE TABLE events (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,       -- JSON
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;
CREATE INDEX events_by_kind ON events (job, kind, seq);
