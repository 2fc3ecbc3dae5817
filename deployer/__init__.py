"""Take one native binary and its .env to a fleet over SSH, and never leave a host broken."""

__version__ = "0.1.0"
