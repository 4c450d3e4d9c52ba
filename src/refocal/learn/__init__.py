"""How models are made, adapted, judged and exported."""
