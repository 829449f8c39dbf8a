"""What tests start and ask: processes, reference servers, the gateway as a real process."""
