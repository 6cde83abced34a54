"""containers/storage, the store of Podman, Buildah and CRI-O, and what libpod and CRI-O keep beside it."""
