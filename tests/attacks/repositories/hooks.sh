# Brings hooks in every place from which a git might run them.
# stopped by: hooks are off (core.hooksPath), no template is used, and git's own directory is not the repository's
# result: passed
mkdir -p hooks .githooks template/hooks
for hook in post-checkout post-merge post-index-change fsmonitor-watchman reference-transaction pre-auto-gc; do
    for place in hooks .githooks template/hooks "$GIT_DIR/hooks"; do
        mkdir -p "$place"
        printf '#!/bin/sh\ntouch "%s"\n' "$MARK" >"$place/$hook"
        chmod +x "$place/$hook"
    done
done
commit
