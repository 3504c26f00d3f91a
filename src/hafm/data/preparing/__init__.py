"""The run behind `hafm prepare`: scan, ledger, engines, assembly. `prepare.py` is where to start."""
