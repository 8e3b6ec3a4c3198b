"""What the tests of whole runs are written with: hosts, controllers, runs and what they did, restless clients."""
