"""Load generators of our own: processes that print one line of JSON, the fields of LoadResult."""
