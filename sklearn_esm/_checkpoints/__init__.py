"""From a model's name or path to tensors: catalog, download, one reader per layout, fingerprint."""
