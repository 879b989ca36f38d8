"""The manager's side of the plugin contract: plugin processes, the client that speaks to them, their inventories."""
