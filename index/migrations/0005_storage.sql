-- How the numbers of a collection's vectors are kept: float32, as those from before are, or float16;
-- little-endian, and of unit length within what rounding does to it.
ALTER TABLE collections ADD COLUMN storage TEXT NOT NULL DEFAULT 'float32';
