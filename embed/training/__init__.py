"""Recipes that make weights. Serving never imports this package."""
