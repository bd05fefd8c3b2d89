"""AnyReID's library: PyTorch + Arrow + Pillow. Never imports ray, pipelines or jobs."""

__version__ = "0.1.0"
