-- Single items that failed in a job: told as they fail, and those that its document names at its
-- end.

CREATE TABLE failures (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    data TEXT NOT NULL,       -- JSON: uri, code, message
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;
INSERT INTO failures (job, seq, data)
    SELECT jobs.id, each.key + 1, each.value FROM jobs, json_each(jobs.failures) AS each;
ALTER TABLE jobs DROP COLUMN failures;
