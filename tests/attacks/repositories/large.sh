# A file of zeros: a megabyte on the way, a gigabyte in the tree.
# stopped by: the disk limit of the work tree
# result: larger than the disk limit
head -c 1G /dev/zero >zeros
commit
rm zeros
