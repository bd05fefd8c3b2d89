"""The endpoint: FastAPI over the retriever, deployed by Ray Serve."""
