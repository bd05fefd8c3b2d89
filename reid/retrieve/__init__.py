"""Queries to hits: the retriever, how sure it is, and auxiliary inputs of what is asked."""
