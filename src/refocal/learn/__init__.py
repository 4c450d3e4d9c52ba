"""How models are made, adapted, scored and exported."""
