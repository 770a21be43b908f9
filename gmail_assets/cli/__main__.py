"""`python -m gmail_assets.cli`: the console script where it is not on the PATH."""

import sys

from gmail_assets.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
