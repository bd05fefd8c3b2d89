"""The sections of the configuration, one file a subject; `reid.config` puts them together and loads them."""
