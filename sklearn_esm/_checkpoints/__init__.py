"""Find, download, read and identify the checkpoint of a model."""
