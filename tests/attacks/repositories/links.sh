# Brings links that lead out of the tree, to itself, to nowhere, and through which others of its files would be written.
# stopped by: git writes through no link, and whoever follows one stands in the sandbox
# result: passed
ln -s /etc/shadow secret
ln -s /proc/1/root root
ln -s ../../../../../../../../etc up
ln -s self self
ln -s /dev/zero zero
ln -s "$(printf 'x%.0s' $(seq 1 2000))" far
ln -s /run/ostest harness
ln -s /task/suite suite
commit
