# Brings a directory of git's own, under names that some file systems take for it.
# stopped by: objects are checked as they come (transfer.fsckObjects)
# result: git refuses (contains '.git')
blob=$(printf '[core]\n\tfsmonitor = touch %s\n' "$MARK" | git hash-object -w --stdin)
inner=$(printf '100644 blob %s\tconfig\n' "$blob" | git mktree)
tree=$({ git ls-tree HEAD; printf '040000 tree %s\t.git\n' "$inner"; } | git mktree)
commit_tree "$tree"
