"""`python -m senet`: the command line."""

from senet.cli import main

main()
