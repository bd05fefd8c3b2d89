"""Planning a build: records on disk in order, plans of shards, and the tasks that are left to do."""
