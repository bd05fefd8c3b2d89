"""The work of a build without Ray: functions that read, generate, reject, write and publish rows."""
