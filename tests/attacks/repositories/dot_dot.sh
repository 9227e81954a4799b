# Brings a file called `..`, and one whose name has a slash in it.
# stopped by: objects are checked as they come (transfer.fsckObjects)
# result: git refuses (contains '..')
blob=$(printf owned | git hash-object -w --stdin)
inner=$(printf '100644 blob %s\towned\n' "$blob" | git mktree)
tree=$({ git ls-tree HEAD; printf '040000 tree %s\t..\n' "$inner"; } | git mktree)
commit_tree "$tree"
