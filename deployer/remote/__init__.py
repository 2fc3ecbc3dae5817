"""The SSH edge: what the stages may ask of a host, and the one module that knows Fabric."""
