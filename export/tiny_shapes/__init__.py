"""A CLIP of under 2 MB that knows coloured shapes: the whole text-to-picture line can be asserted where no model hub is reachable."""
