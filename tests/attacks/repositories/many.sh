# A directory with ten directories, each the same one, and so on: a few objects, ten million files.
# stopped by: the memory limit of the stage, and the number of inodes of the work tree
# result: could not be fetched
blob=$(printf x | git hash-object -w --stdin)
tree=$(for i in 0 1 2 3 4 5 6 7 8 9; do printf '100644 blob %s\t%s\n' "$blob" "$i"; done | git mktree)
for _ in 1 2 3 4 5 6; do tree=$(for i in 0 1 2 3 4 5 6 7 8 9; do printf '040000 tree %s\t%s\n' "$tree" "$i"; done | git mktree); done
commit_tree "$tree"
