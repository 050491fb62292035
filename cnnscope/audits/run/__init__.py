"""Running an audit: jobs, shards, ranks, resuming, merging."""
