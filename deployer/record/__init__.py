"""Run records: what each run did on which host, kept on the controller for `--retry` and `history`."""
