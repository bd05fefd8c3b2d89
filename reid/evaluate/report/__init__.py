"""An evaluation for people and programs: JSON, Markdown, HTML, figures, comparisons."""
