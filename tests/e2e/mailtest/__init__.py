"""What the end-to-end tests are written with: clients of the protocols that a mail host speaks, and its inventory."""
