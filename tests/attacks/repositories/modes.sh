# Brings files with modes that no repository should have: set-user-id, world-writable, no file at all.
# stopped by: objects are checked as they come, and git knows one bit of a mode, whether a file is a program
# result: passed|could not be fetched
blob=$(printf x | git hash-object -w --stdin)
tree=$({ git ls-tree HEAD; printf '104755 blob %s\tset-user-id\n' "$blob"; } | git mktree --missing 2>/dev/null || git rev-parse 'HEAD^{tree}')
commit_tree "$tree"
