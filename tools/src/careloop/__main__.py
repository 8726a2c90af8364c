"""`python -m careloop`."""

from careloop.cli import main

if __name__ == "__main__":
    main()
