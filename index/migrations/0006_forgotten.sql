-- What is noted as gone is not noted for ever: up to this seq the older notes are forgotten, and who
-- holds something of the time before reads all anew.
ALTER TABLE partitions ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;   -- of `deletions`
ALTER TABLE collections ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;  -- of `removals`
