"""The worker: hosts the workflows and every store's activities. Wires clients into them; nothing imports it."""
