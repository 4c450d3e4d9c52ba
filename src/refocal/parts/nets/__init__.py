"""Nets. Each part is an `nn.Module` with JSON-able arguments that declares its `reach`."""
