"""A prediction service in FastAPI, as a team that knows its tools would write it today."""
