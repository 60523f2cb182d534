"""Look results up, run the model for what is missing, and store that: threads and workers."""
