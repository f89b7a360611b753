"""`python -m ptaudit`: the same as the command."""

from ptaudit.cli import main

if __name__ == "__main__":
    main()
