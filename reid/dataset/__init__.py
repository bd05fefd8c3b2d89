"""The work of a build, without Ray: pure functions that read, generate, set aside, write and publish rows."""
