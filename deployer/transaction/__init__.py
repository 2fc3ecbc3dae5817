"""What keeps a host whole: a lock with a lease, a journal of the change in flight, and the way back."""
