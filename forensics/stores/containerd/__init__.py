"""containerd: its own store, what Kubernetes' CRI plugin and nerdctl add to it."""
