"""How good answers are: questions whose answers are known, and what is measured of what came."""
