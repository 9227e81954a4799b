#!/bin/sh
# Makes submissions as a course's students would hand them in:
#
#     examples/make-submissions.sh DIR
#
# For each folder NAME in submissions/, DIR/NAME is a complete project and DIR/NAME.git a bare repository of it with one
# commit on the branch main. A submission is the good one with the files of its own folder laid over it, so a folder
# shows nothing but its mistake.
#
# The repositories are the same, commit ids included, wherever and however often they are made: no name, date,
# template, hook or setting of the user's git goes into them. Nothing is built or run here; what a few of these programs
# do is for the sandbox only.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 2
fi
submissions=$(cd -- "$(dirname -- "$0")/submissions" && pwd)
mkdir -p -- "$1"
target=$(cd -- "$1" && pwd)
umask 022

# Variables of a surrounding git (a hook, `git rebase --exec`) would make the commands below work on its repository.
for variable in $(git rev-parse --local-env-vars); do
    unset "$variable"
done
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TEMPLATE_DIR='' LC_ALL=C
export GIT_AUTHOR_NAME=Student GIT_AUTHOR_EMAIL=student@course.example GIT_AUTHOR_DATE='2024-09-02T08:00:00Z'
export GIT_COMMITTER_NAME=Student GIT_COMMITTER_EMAIL=student@course.example GIT_COMMITTER_DATE='2024-09-02T08:00:00Z'

for folder in "$submissions"/*/; do
    name=$(basename -- "$folder")
    tree=$target/$name

    # Only what this script made before is replaced: a folder with a mark of ours, inside the repository beside it.
    for old in "$tree" "$tree.git"; do
        if [ -e "$old" ] && [ ! -e "$tree.git/made-by-make-submissions" ]; then
            echo "$0: $old is there and was not made by this script; give another DIR" >&2
            exit 1
        fi
    done
    rm -rf -- "$tree"

    # What a build by hand may have left in submissions/ is no part of a submission.
    mkdir -- "$tree"
    for layer in "$submissions/good" "${folder%/}"; do
        (cd -- "$layer" && tar -cf - --exclude=./bin --exclude=./bin-san .) | tar -xf - -C "$tree" --no-same-owner
    done
    printf 'bin/\nbin-san/\n' > "$tree/.gitignore"
    # The modes are part of a commit: those of the checkout that this runs in shall not be.
    find "$tree" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +

    rm -rf -- "$tree.git"
    git -c init.defaultBranch=main init --quiet --bare -- "$tree.git"
    : > "$tree.git/made-by-make-submissions"
    (
        cd -- "$tree"
        export GIT_DIR="$tree.git" GIT_WORK_TREE="$tree"
        git add --all
        git commit --quiet --message="My solution"
        rm -f -- "$GIT_DIR/index" # belongs to a work tree; the repository has none
    )
done
echo "made $(ls -d "$target"/*.git | wc -l) submissions in $target"
