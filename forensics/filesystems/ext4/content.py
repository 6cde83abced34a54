"""File content, assembled from runs of blocks; and whether a symlink has any."""

from __future__ import annotations

from parsers.ext4 import Incompat, Superblock
from parsers.ext4_inode import IN_INODE


def is_fast_link(size: int, sectors: int, file_acl: int, superblock: Superblock) -> bool:
    """Whether a symlink's target stands in i_block and has no blocks; inode.c ext4_inode_is_fast_symlink."""
    if not 0 < size < IN_INODE:
        return False
    of_xattrs = superblock.cluster_size // 512 if file_acl else 0
    return bool(superblock.incompat & Incompat.EA_INODE) or sectors == of_xattrs
