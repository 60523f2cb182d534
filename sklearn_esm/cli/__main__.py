"""The command as ``python -m sklearn_esm.cli``."""

from sklearn_esm.cli import main

if __name__ == "__main__":
    main()
