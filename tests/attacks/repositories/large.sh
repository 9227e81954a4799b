# A file of zeros: little on the way, 200 MiB in the tree.
# stopped by: the disk limit of the work tree
# result: larger than the disk limit
head -c 200M /dev/zero >zeros
commit
rm zeros
