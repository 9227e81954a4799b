# One name twice in a tree, as a link out of it and as a directory with a file in it: whoever writes both, writes where the link
# leads (CVE-2024-32002 and its kin, on file systems that know no case).
# stopped by: objects are checked as they come (transfer.fsckObjects), and git writes through no link
# result: git refuses (contains duplicate file entries)
blob=$(printf owned | git hash-object -w --stdin)
link=$(printf /tmp | git hash-object -w --stdin)
inner=$(printf '100644 blob %s\towned\n' "$blob" | git mktree)
tree=$(printf '120000 blob %s\ta\n040000 tree %s\ta\n' "$link" "$inner" | git mktree --missing)
commit_tree "$tree"
