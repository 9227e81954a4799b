# Brings directories in directories, far beyond the longest path.
# stopped by: paths are opened one part after the other, or are an error that the student reads
# result: because it is too long
tree=$(printf '100644 blob %s\tf\n' "$(printf x | git hash-object -w --stdin)" | git mktree)
name=$(printf 'd%.0s' $(seq 1 255))
for _ in $(seq 1 40); do tree=$(printf '040000 tree %s\t%s\n' "$tree" "$name" | git mktree); done
tree=$({ git ls-tree HEAD; printf '040000 tree %s\tdeep\n' "$tree"; } | git mktree)
commit_tree "$tree"
