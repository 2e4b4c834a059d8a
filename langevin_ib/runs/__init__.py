"""A run from prepared laws and draws to its result: the contract of a process, the judge, the records."""
