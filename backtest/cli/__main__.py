"""Lets `python -m backtest.cli` run the command."""

from backtest.cli import main

raise SystemExit(main())
