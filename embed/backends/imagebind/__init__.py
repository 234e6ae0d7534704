"""ImageBind, our own: six towers that load the official checkpoint by its own key names."""
